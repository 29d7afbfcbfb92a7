import type { BitSet } from './bit-set.ts';
import type { IndexFile } from './index-file.ts';
import type { LockHandle } from './locks.ts';
import { MARK_ONLY, type PackTable } from './pack-table.ts';
import type { PruneOptions } from './prune-options.ts';
import type { PrunePlan } from './prune-plan.ts';
import { toBytes } from './id.ts';
import type { Id, Pack } from './types.ts';

/** A prune that is planned and holds its lock; `Repository.close` gives the lock back. `plan` is what there is to show. */
export interface PruneJob {
  readonly plan: PrunePlan;
  readonly options: PruneOptions;
  readonly lock: LockHandle;
  /** What to add to our clock for the store's, by which marks are dated. */
  readonly storeClockAhead: number;
  readonly packs: PackTable;
  /** The names behind `PackTable.indexFile` and `markFile`. */
  readonly indexFiles: readonly Id[];
  /** Ordinals of the blobs that a snapshot needs. */
  readonly used: BitSet;
}

export interface PruneProgress {
  /** `repack` counts packs to repack, `index` index files to replace, `delete` packs to delete. */
  readonly step: 'repack' | 'index' | 'delete';
  readonly done: number;
  readonly total: number;
}

export interface PruneRun {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PruneProgress) => void;
}

/** The packs that an index file stands for: those it lists, and those that rustic lists as marked alone. */
export function effectivePacks(file: IndexFile, packs: PackTable): Pack[] {
  const markedOnly = file.packsToDelete.filter((pack) => packs.has(packs.find(toBytes(pack.id)), MARK_ONLY));
  return [...file.packs, ...markedOnly];
}
