import { describeCause } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import { BlobProof } from '../repository/blob-proof.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id, MasterKey } from '../repository/types.ts';
import type { ChangeKnowledge, HeldRead, ReadPlan, VolumeDriver } from '../volumes/driver.ts';
import type { BackupPlan } from './backup-plan.ts';
import type { VolumeRecord } from './layout.ts';
import type { TransferOptions } from './progress.ts';
import { EarlySample } from './early-sample.ts';
import { loadBaseImage } from './fed-image.ts';
import type { SampleReport } from './sample.ts';
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
    const first = await this.#readAll(repository, session, plan, options, started);
    const { content, sample } = first;
    const { base, changes, source } = this.#read;
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
    const { content: again } = await this.#readAll(repository, session, plan, options, started);
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

  /** Reads what the plan says, and a sample of the rest at the same time. */
  async #readAll(
    repository: Repository,
    session: BackupSession,
    plan: BackupPlan,
    options: TransferOptions,
    started: number,
  ): Promise<{ readonly content: SavedContent; readonly sample: SampleReport | undefined }> {
    const read = this.#read;
    const { signal } = options;
    const preparing = prepareBase(repository, read, signal);
    // That the source cannot be held is told first.
    preparing.catch(() => undefined);
    const held = await this.#driver.hold(read, signal);
    this.#held.push(held);
    this.#noteEstimate(held);
    const base = await preparing;
    const early = base && beginSample(repository.key, plan, read, base, held, signal);
    try {
      const content = await saveFeed(repository, session, plan, { read, base }, held.feed, options, started);
      const changed = await held.changedMeanwhile?.();
      if (changed !== undefined) this.#warnings.push(changed);
      const sample = early && (await this.#outcome(early, content, signal));
      return { content, sample };
    } finally {
      await early?.end();
      held.done?.();
    }
  }

  /** Undefined where nothing was taken over. That nothing could be read is a warning: the list of changes may well be right. */
  async #outcome(
    early: EarlySample,
    { kept }: SavedContent,
    signal?: AbortSignal,
  ): Promise<SampleReport | undefined> {
    if (kept === undefined) return undefined;
    try {
      return await early.report(kept);
    } catch (error) {
      signal?.throwIfAborted();
      this.#warnings.push(`no unchanged part could be compared with the source: ${describeCause(error)}`);
      return undefined;
    }
  }
}

/** Loads the image that the changes are of; undefined where everything is read, and of streams. */
async function prepareBase(
  repository: Repository,
  { base, source }: ReadPlan,
  signal?: AbortSignal,
): ReturnType<typeof loadBaseImage> {
  if (base === undefined || source.format !== 'image') return undefined;
  return loadBaseImage(repository, base.snapshotId, signal);
}

/** Undefined where the storage cannot read at random. */
function beginSample(
  key: MasterKey,
  { sample }: BackupPlan,
  { source }: ReadPlan,
  { record, loaded }: NonNullable<Awaited<ReturnType<typeof loadBaseImage>>>,
  { readRanges }: HeldRead,
  signal?: AbortSignal,
): EarlySample | undefined {
  if (readRanges === undefined) return undefined;
  const proof = new BlobProof(key);
  const from = { base: loaded, baseBytes: record.bytes, bytes: source.bytes, readRanges, proof };
  return new EarlySample(from, sample, signal);
}
