import { describeCause } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import { BlobProof } from '../repository/blob-proof.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id, MasterKey } from '../repository/types.ts';
import type { ChangeKnowledge, HeldRead, ReadPlan, VolumeDriver } from '../volumes/driver.ts';
import type { BackupPlan } from './backup-plan.ts';
import type { VolumeRecord } from './layout.ts';
import type { TransferOptions } from './progress.ts';
import { compareSample, drawSample, type SampleReport } from './sample.ts';
import { saveFeed, type SavedContent } from './volume-content.ts';

/** How a driver's volume was read, for the summary. */
export interface ReadReport {
  readonly changes: ChangeKnowledge;
  /** The backup that gave what was not read. */
  readonly base?: Id;
  /** Bytes of the volume that were not taken over from the base. */
  readonly changedBytes?: number;
  readonly estimateBytes?: number;
  /** Unchanged cells that were compared with the source; absent where there were none, or the storage cannot read at random. */
  readonly sample?: SampleReport;
  /** What was said of changes, and was wrong: `changes` is of the full read after it. */
  readonly distrusted?: NonNullable<VolumeRecord['distrusted']>;
}

/** A driver's volume while it is backed up: held from its first byte to the snapshot that names it. */
export class HeldSource {
  readonly #driver: VolumeDriver;
  #read: ReadPlan;
  readonly #held: HeldRead[] = [];
  readonly #warnings: string[] = [];
  #found: Pick<ReadReport, 'changedBytes' | 'sample' | 'distrusted'> = {};
  #estimateBytes: number | undefined;

  constructor({ driver, read }: { readonly driver: VolumeDriver; readonly read: ReadPlan }) {
    this.#driver = driver;
    this.#read = read;
  }

  async save(
    repository: Repository,
    session: BackupSession,
    plan: BackupPlan,
    options: TransferOptions,
    started: number,
  ): Promise<SavedContent> {
    const readAll = async (): Promise<{ held: HeldRead; content: SavedContent }> => {
      const held = await this.#driver.hold(this.#read, options.signal);
      this.#held.push(held);
      this.#noteEstimate(held);
      const content = await saveFeed(repository, session, plan, this.#read, held.feed, options, started);
      const changed = await held.changedMeanwhile?.();
      if (changed !== undefined) this.#warnings.push(changed);
      return { held, content };
    };
    const { held, content } = await readAll();
    const { base, changes, source } = this.#read;
    const sample = base && (await this.#compare(plan, repository.key, content, held, options.signal));
    held.done?.();
    if (base === undefined) return content;
    if (sample?.differsAt === undefined) {
      this.#found = {
        changedBytes: content.record.bytes - content.keptBytes,
        ...(sample && { sample }),
      };
      return content;
    }
    const distrusted = {
      mechanism: changes.mechanism,
      base: base.snapshotId,
      differsAt: sample.differsAt,
    };
    this.#found = { sample, distrusted };
    this.#warnings.push(
      `what ${changes.mechanism} says of ${source.location} cannot be trusted: byte ${sample.differsAt} and what follows ` +
        `changed since backup ${base.snapshotId.slice(0, 8)} and was not named; all of the volume was read instead`,
    );
    const request = { bases: [], distrusted: true };
    this.#read = await this.#driver.planRead(source, request, options.signal);
    const { held: heldAgain, content: again } = await readAll();
    heldAgain.done?.();
    const { read } = content.counters;
    return {
      ...again,
      record: { ...again.record, distrusted },
      counters: { ...again.counters, read: again.counters.read + read },
    };
  }

  /** After the snapshot is there. A backup is whole without it: what goes wrong is a warning. */
  async keepBase(): Promise<void> {
    try {
      await this.#driver.keepBase(this.#read);
    } catch (error) {
      this.#warnings.push(`the next backup may have to read everything: ${describeCause(error)}`);
    }
  }

  /** Never throws: a backup that is stored is whole, and the next clean-up lets go what stays. */
  async release(): Promise<void> {
    for (const released of await Promise.allSettled(this.#held.map((held) => held.release()))) {
      if (released.status === 'fulfilled') continue;
      this.#warnings.push(
        `the next backup has to let go what this one held: ${describeCause(released.reason)}`,
      );
    }
  }

  report(): ReadReport {
    const { base, changes, estimateBytes = this.#estimateBytes } = this.#read;
    return {
      changes,
      ...(base && { base: base.snapshotId }),
      ...(estimateBytes !== undefined && { estimateBytes }),
      ...this.#found,
    };
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /** Where it comes late: with the last read's, not with that of one before. */
  #noteEstimate({ feed }: HeldRead): void {
    this.#estimateBytes = undefined;
    if (!('estimate' in feed)) return;
    void feed.estimate.then((bytes) => {
      if (this.#held.at(-1)?.feed === feed) this.#estimateBytes = bytes;
    });
  }

  /** Undefined where nothing can be compared. That nothing could be read is a warning: the list of changes may well be right. */
  async #compare(
    { sample }: BackupPlan,
    key: MasterKey,
    { kept }: SavedContent,
    { readRanges }: HeldRead,
    signal?: AbortSignal,
  ): Promise<SampleReport | undefined> {
    if (kept === undefined || readRanges === undefined) return undefined;
    const chosen = drawSample(kept.cells, sample);
    if (chosen.length === 0) return undefined;
    try {
      return await compareSample(readRanges, kept, chosen, new BlobProof(key), signal);
    } catch (error) {
      signal?.throwIfAborted();
      this.#warnings.push(`no unchanged part could be compared with the source: ${describeCause(error)}`);
      return undefined;
    }
  }
}
