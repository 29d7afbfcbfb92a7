import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { contenders, type Contender } from './contenders.ts';
import { writeTestData, type DataKind } from './data.ts';
import { cpu, measure, type Job, type Sample } from './measure.ts';
import { missed, ratios, type Comparison, type Result, type Targets } from './results.ts';
import type { Settings } from './settings.ts';

const KINDS: readonly DataKind[] = ['random', 'mixed'];

/** How one contender does the compared job once. */
export interface Trial {
  /** Before the clock starts. */
  readonly before?: (contender: Contender) => Promise<void>;
  readonly job: (contender: Contender) => Job;
  /** After the clock has stopped; gives the size of the repository where it is of interest. */
  readonly after?: (contender: Contender) => Promise<number | undefined>;
}

/** A run of the benchmark: its settings, its scratch folder, its results so far. */
export class Bench {
  readonly settings: Settings;
  /** In memory where the machine has that, so that disks play no part. */
  readonly scratch: string;
  readonly contenders: Record<Contender['name'], Contender>;
  readonly results: Result[] = [];

  constructor(settings: Settings, scratch: string) {
    this.settings = settings;
    this.scratch = scratch;
    this.contenders = contenders(scratch);
  }

  wants(name: string): boolean {
    const { only } = this.settings;
    return only.length === 0 || only.some((start) => name.startsWith(start) || start.startsWith(name));
  }

  /** A test volume, made when it is first asked for. */
  volume(kind: DataKind): string {
    const path = join(this.scratch, kind);
    if (!existsSync(path)) writeTestData(kind, this.settings.size, path);
    return path;
  }

  /** The paths of all test volumes, made or not. */
  volumes(): string[] {
    return KINDS.map((kind) => join(this.scratch, kind));
  }

  async remove(...paths: readonly string[]): Promise<void> {
    for (const path of paths) await rm(path, { recursive: true, force: true });
  }

  async measure(job: Job): Promise<Sample> {
    return measure(job, this.scratch);
  }

  /** Lets both do the job, turn and turn about, and who begins changes too. */
  async compare(name: string, bytes: number, targets: Targets, trial: Trial): Promise<void> {
    if (!this.wants(name)) return;
    const samples: Record<Contender['name'], Sample[]> = { ours: [], restic: [] };
    const sizes: Partial<Record<Contender['name'], number>> = {};
    const { ours, restic } = this.contenders;
    for (let round = 0; round < this.settings.rounds; round++) {
      for (const contender of round % 2 === 0 ? [ours, restic] : [restic, ours]) {
        await trial.before?.(contender);
        samples[contender.name].push(await this.measure(trial.job(contender)));
        const size = await trial.after?.(contender);
        if (size !== undefined) sizes[contender.name] = size;
      }
    }
    this.add({
      ...{ kind: 'comparison', name, bytes, targets, ...samples },
      ...(sizes.ours !== undefined && sizes.restic !== undefined
        ? { size: { ours: sizes.ours, restic: sizes.restic } }
        : {}),
    });
  }

  add(result: Result): void {
    this.results.push(result);
    const misses = missed(result);
    const verdict = misses.length === 0 ? '' : `   missed: ${misses.join(', ')}`;
    console.error(
      `${result.name.padEnd(34)} ${result.kind === 'fact' ? result.ours : describe(result)}${verdict}`,
    );
  }
}

function describe(comparison: Comparison): string {
  const { cpu: cpuRatio, wall, size } = ratios(comparison);
  const seconds = (samples: readonly Sample[]): string =>
    samples.map((sample) => cpu(sample).toFixed(2)).join(' ');
  return (
    `CPU ${cpuRatio.toFixed(2)}x (${seconds(comparison.ours)} / ${seconds(comparison.restic)} s), ` +
    `wall ${wall.toFixed(2)}x${size === undefined ? '' : `, size ${size.toFixed(3)}`}`
  );
}
