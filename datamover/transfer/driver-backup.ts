import type { BackupSession } from '../repository/backup-session.ts';
import type { Repository } from '../repository/repository.ts';
import type { ChangeKnowledge, HeldRead, ReadPlan, VolumeDriver } from '../volumes/driver.ts';
import type { BackupPlan } from './backup-plan.ts';
import type { TransferOptions } from './progress.ts';
import { saveFeed, type SavedContent } from './volume-content.ts';

/** How a driver's volume was read, for the summary. */
export interface ReadReport {
  readonly changes: ChangeKnowledge;
  /** The backup that gave what was not read. */
  readonly base?: string;
  readonly estimateBytes?: number;
}

/** A driver's volume while it is backed up: held from its first byte to the snapshot that names it. */
export class HeldSource {
  readonly #driver: VolumeDriver;
  readonly #read: ReadPlan;
  readonly #held: HeldRead[] = [];

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
    const held = await this.#driver.hold(this.#read, options.signal);
    this.#held.push(held);
    return saveFeed(repository, session, plan, this.#read, held.feed, options, started);
  }

  /** After the snapshot is there. A backup is whole without it: what goes wrong is a warning. */
  async keepBase(): Promise<string[]> {
    try {
      await this.#driver.keepBase(this.#read);
      return [];
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return [`the next backup may have to read everything: ${reason}`];
    }
  }

  async release(): Promise<void> {
    await Promise.all(this.#held.map((held) => held.release()));
  }

  report(): ReadReport {
    const { base, changes, estimateBytes } = this.#read;
    return {
      changes,
      ...(base && { base: base.snapshotId }),
      ...(estimateBytes !== undefined && { estimateBytes }),
    };
  }
}
