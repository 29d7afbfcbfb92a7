import { basename, join } from 'node:path';
import type { Bench } from './bench.ts';
import { median, type Job, type Sample } from './measure.ts';
import { watchMemory } from './own-memory.ts';
import type { BenchVolume } from './storage.ts';
import { writeZvolStream } from './zvol-stream.ts';

/** MiB a second of compressible data at the least: below that the source would wait for us. */
const SPEED = 250;
const RSS = 256;

/** The first backup of a volume on a storage, whose tool prints as fast as it is read. */
export async function benchFull(bench: Bench, volume: BenchVolume): Promise<void> {
  const name = `full ${volume.storage}`;
  if (!bench.wants(name)) return;
  const tool = { ...volume.send('first'), env: volume.env, stdout: { pipe: true } } as const;
  await measureFull(bench, name, volume.backupArguments('first'), { env: volume.env, tool });
}

/** The first backup of a zvol, whose send stream comes through a pipe as fast as it is read. */
export async function benchFullZvol(bench: Bench): Promise<void> {
  const name = 'full zvol';
  if (!bench.wants(name)) return;
  const stream = join(bench.scratch, 'zvol-stream');
  try {
    writeZvolStream(bench.volume('mixed'), stream);
    await measureFull(bench, name, ['--stdin', '--as', 'zvol'], { stdin: stream });
  } finally {
    await bench.remove(stream);
  }
}

interface Source {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** The storage's own tool alone, for comparison. */
  readonly tool?: Job;
}

async function measureFull(
  bench: Bench,
  name: string,
  source: readonly string[],
  { env, stdin, tool }: Source,
): Promise<void> {
  const { ours } = bench.contenders;
  const { size, rounds } = bench.settings;
  const place = { location: join(bench.scratch, 'full-repository'), ...(env && { env }) };
  const backup = ours.backup(place, { path: '', mode: 'image' });
  const samples: Sample[] = [];
  const alone: Sample[] = [];
  const own: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (tool !== undefined) alone.push(await bench.measure(tool));
    await bench.measure(ours.init(place));
    const args = ['backup', '-q', ...source, '--volume', 'bench/full'];
    const job = { file: backup.file, args, env: backup.env, ...(stdin !== undefined && { stdin }) };
    const { result, peaks } = await watchMemory(() => bench.measure(job));
    samples.push(result);
    // Of the process with the most; the storage's tool is another program.
    own.push(peaks.get(basename(process.execPath)) ?? Number.NaN);
    await bench.remove(place.location);
  }
  const speed = (of: readonly Sample[]): number => size / 2 ** 20 / median(of.map(({ wall }) => wall));
  const rss = median(own);
  const toolRss = median(alone.map((sample) => sample.rss)).toFixed(0);
  const beside =
    alone.length === 0 ? '' : `, the tool alone ${speed(alone).toFixed(0)} MiB/s and ${toolRss} MiB`;
  bench.add({
    ...{ kind: 'fact', name },
    ours: `${speed(samples).toFixed(0)} MiB/s${beside}, ${rss.toFixed(0)} MiB at its peak`,
    ...{ bound: `${SPEED} MiB/s, ${RSS} MiB`, kept: speed(samples) >= SPEED && rss <= RSS },
  });
}
