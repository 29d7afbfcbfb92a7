import { HAS_DATA, HAS_PLAIN, HAS_TREES, INDEXED, LISTED, type PackTable } from './pack-table.ts';
import { MARK_SETTLES_MS, unusedAllowance, type PruneOptions } from './prune-options.ts';
import type { Id } from './types.ts';

/**
 * Who else holds a live lock. It decides how far prune may go (docs/adr/0003): `nobody`: all at once; `own`: our backups run, packs are
 * marked, and old marks are swept; `foreign`: a program without marks runs, so nothing is taken away, not even an index file.
 */
export type Company = 'nobody' | 'own' | 'foreign';

/** What the planner decides from. It does no I/O and asks no clock. */
export interface PruneFacts {
  readonly packs: PackTable;
  readonly indexFiles: readonly IndexFileFacts[];
  /** Used blobs that no pack holds, as sentences. With any of them prune refuses. */
  readonly obstacles: readonly string[];
  readonly company: Company;
  /** When the oldest live lock of others was first taken, in milliseconds since 1970; Infinity without any. */
  readonly oldestLock: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface IndexFileFacts {
  readonly id: Id;
  /** Bytes as stored. */
  readonly size: number;
  /** It lists a pack that another file lists too, or is otherwise better rewritten. */
  readonly untidy: boolean;
}

export interface Amount {
  readonly blobs: number;
  readonly bytes: number;
}

export interface PackAmount {
  readonly packs: number;
  readonly bytes: number;
}

export interface PruneStatistics {
  readonly used: Amount;
  /** Further copies of used blobs. */
  readonly duplicate: Amount;
  readonly unused: Amount;
  /** Packs that hold nothing unused, something unused, nothing used. */
  readonly packs: { readonly whole: number; readonly partlyUsed: number; readonly unused: number };
  /** Used data that moves into new packs. */
  readonly repack: PackAmount & { readonly copied: number };
  /** Packs that go now, orphans and emptied ones included. */
  readonly removed: PackAmount;
  /** Packs that wait for a sweep, newly marked ones included. */
  readonly waiting: PackAmount;
  /** Bytes of packs when this prune is done, and the part of it that nobody needs. */
  readonly remaining: { readonly bytes: number; readonly unusedBytes: number };
}

export interface PrunePlan {
  readonly company: Company;
  /** Reasons not to prune at all: something needed is missing or damaged. */
  readonly obstacles: readonly string[];
  /** Used blobs of these packs are copied into new ones; then they go as `remove` or are marked as `mark` do. */
  readonly repack: readonly Id[];
  /** Packs of the index that go: unused with nobody else there, or marked and due. */
  readonly remove: readonly Id[];
  readonly mark: readonly Id[];
  /** Marked packs that are used again. */
  readonly unmark: readonly Id[];
  /** Packs that no index file lists, left over from a crash: deleted. */
  readonly orphans: readonly Id[];
  /** The same, but they may belong to a backup that runs. */
  readonly orphansLeft: readonly Id[];
  /** Packs that the index lists and the store does not have; nothing needs them. They leave the index. */
  readonly vanished: readonly Id[];
  /** Index files that are replaced by new ones without the packs that go. */
  readonly indexFiles: readonly Id[];
  readonly statistics: PruneStatistics;
}

/** Packs below this share of the target size count as small. */
const SMALL_SHARE = { auto: 0.25, merge: 0.8, leave: 0 } as const;
/** So many small packs of a kind make merging worth its transfer; for `merge`, two do. */
const SMALL_COUNT = { auto: 10, merge: 2, leave: Infinity } as const;
const SMALL_INDEX_BYTES = 256 * 1024;
const SMALL_INDEX_COUNT = 10;

/** Decides the fate of every pack. Pure: the same facts give the same plan, in the order of the table. */
export function decidePrune(facts: PruneFacts, options: PruneOptions): PrunePlan {
  const sorted = sortByUse(facts, options);
  const repack = chooseRepacks(facts.packs, sorted, options);
  const { packs, company } = facts;
  const ids = (rows: readonly number[]): Id[] => rows.map((row) => packs.id(row));
  const alone = company === 'nobody';
  if (alone) {
    const emptied = new Set(repack);
    for (const row of [...sorted.whole, ...sorted.partly]) {
      if (packs.isMarked(row) && !emptied.has(row)) sorted.unmark.push(row);
    }
  }
  const going = [...sorted.remove, ...sorted.vanished, ...sorted.unmark, ...(alone ? repack : [])];
  return {
    company,
    obstacles: [...facts.obstacles, ...sorted.obstacles],
    repack: ids(repack),
    remove: ids(sorted.remove),
    mark: ids(sorted.mark),
    unmark: ids(sorted.unmark),
    orphans: ids(alone ? sorted.orphans : []),
    orphansLeft: ids(alone ? [] : sorted.orphans),
    vanished: ids(sorted.vanished),
    indexFiles: company === 'foreign' ? [] : indexFilesToRewrite(facts, going),
    statistics: statistics(facts, sorted, repack),
  };
}

interface Sorted {
  readonly remove: number[];
  readonly mark: number[];
  readonly unmark: number[];
  readonly waiting: number[];
  readonly orphans: number[];
  readonly vanished: number[];
  readonly whole: number[];
  readonly partly: number[];
  readonly obstacles: string[];
}

function sortByUse(facts: PruneFacts, options: PruneOptions): Sorted {
  const { packs, company } = facts;
  const sorted: Sorted = {
    remove: [],
    mark: [],
    unmark: [],
    waiting: [],
    orphans: [],
    vanished: [],
    whole: [],
    partly: [],
    obstacles: [],
  };
  for (let row = 0; row < packs.length; row++) {
    const used = (packs.usedBlobs[row] ?? 0) > 0;
    if (!packs.has(row, INDEXED | LISTED)) {
      // A mark that outlived its pack.
      if (company !== 'foreign') sorted.vanished.push(row);
    } else if (!packs.has(row, INDEXED)) sorted.orphans.push(row);
    else if (!packs.has(row, LISTED)) {
      // Nothing is forgotten of a pack that may be back tomorrow while others work here.
      if (used)
        sorted.obstacles.push(`pack ${packs.id(row)} is missing and holds ${describeUse(packs, row)}`);
      else if (company !== 'foreign') sorted.vanished.push(row);
    } else if (used) {
      if (packs.size[row] !== packs.indexedSize[row]) {
        sorted.obstacles.push(
          `pack ${packs.id(row)} has ${packs.size[row] ?? 0} bytes instead of ${packs.indexedSize[row] ?? 0} and holds ${describeUse(packs, row)}`,
        );
      }
      // Alone a mark means nothing: a marked pack that is used again stays or is repacked like any other.
      if (!packs.isMarked(row) || company === 'nobody') {
        const waste = (packs.unusedBlobs[row] ?? 0) + (packs.duplicateBlobs[row] ?? 0);
        (waste > 0 ? sorted.partly : sorted.whole).push(row);
      } else if (company === 'foreign') sorted.waiting.push(row);
      else sorted.unmark.push(row);
    } else if (company === 'nobody' || isDue(facts, row, options)) sorted.remove.push(row);
    else if (packs.isMarked(row)) sorted.waiting.push(row);
    else sorted.mark.push(row);
  }
  return sorted;
}

/** A marked pack may go when its mark is old and every backup that lives began after it: each of them has seen the mark. */
function isDue(facts: PruneFacts, row: number, options: PruneOptions): boolean {
  const markedAt = facts.packs.markedAt[row] ?? NaN;
  const seen = markedAt + MARK_SETTLES_MS < facts.oldestLock;
  return facts.company === 'own' && markedAt + options.graceMs <= facts.now && seen;
}

function describeUse(packs: PackTable, row: number): string {
  return `${packs.usedBlobs[row] ?? 0} blobs in use`;
}

/** What to repack: first packs that must be (mixed, trees), then the ones with the largest unused share, then small ones. */
function chooseRepacks(packs: PackTable, sorted: Sorted, options: PruneOptions): number[] {
  const wasted = (row: number): number => (packs.unusedBytes[row] ?? 0) + (packs.duplicateBytes[row] ?? 0);
  const size = (row: number): number => packs.size[row] ?? 0;
  const isMixed = (row: number): boolean => packs.has(row, HAS_DATA) && packs.has(row, HAS_TREES);
  const mustGo = (row: number): boolean =>
    isMixed(row) || (options.repackUncompressed && packs.has(row, HAS_PLAIN));

  const small = sorted.whole.filter((row) => size(row) < options.packSize * SMALL_SHARE[options.smallPacks]);
  const merge = new Set([HAS_DATA, HAS_TREES].flatMap((kind) => mergeable(packs, small, kind, options)));
  const must = [...sorted.whole, ...sorted.partly].filter(mustGo);
  const trees = sorted.partly.filter((row) => !mustGo(row) && packs.has(row, HAS_TREES));
  const data = sorted.partly.filter((row) => !mustGo(row) && !packs.has(row, HAS_TREES));
  data.sort((a, b) => wasted(b) / size(b) - wasted(a) / size(a));

  const inUse = [...sorted.whole, ...sorted.partly].reduce(
    (sum, row) => sum + (packs.usedBytes[row] ?? 0),
    0,
  );
  const allowance = unusedAllowance(options.maxUnused, inUse);
  let waste = sorted.partly.reduce((sum, row) => sum + wasted(row), 0);
  let reading = 0;
  const chosen: number[] = [];
  const choose = (row: number): void => {
    if (reading + size(row) > options.maxRepackBytes) return;
    reading += size(row);
    waste -= wasted(row);
    chosen.push(row);
  };
  for (const row of [...must, ...trees]) choose(row);
  for (const row of data) if (waste > allowance) choose(row);
  for (const row of merge) if (!mustGo(row)) choose(row);
  return chosen;
}

/** Small packs of one kind, if there are enough of them and fewer packs come out than go in. */
function mergeable(
  packs: PackTable,
  small: readonly number[],
  kind: number,
  options: PruneOptions,
): number[] {
  const rows = small.filter((row) => packs.has(row, kind));
  const bytes = rows.reduce((sum, row) => sum + (packs.size[row] ?? 0), 0);
  const worthwhile =
    rows.length >= SMALL_COUNT[options.smallPacks] && Math.ceil(bytes / options.packSize) < rows.length;
  return worthwhile ? rows : [];
}

function indexFilesToRewrite(facts: PruneFacts, going: readonly number[]): Id[] {
  const touched = new Set<number>();
  for (const row of going) {
    touched.add(facts.packs.indexFile[row] ?? -1);
    touched.add(facts.packs.markFile[row] ?? -1);
  }
  for (const [number, file] of facts.indexFiles.entries()) if (file.untidy) touched.add(number);
  const small = [...facts.indexFiles.keys()].filter(
    (number) => (facts.indexFiles[number]?.size ?? 0) < SMALL_INDEX_BYTES,
  );
  if (small.length >= SMALL_INDEX_COUNT) for (const number of small) touched.add(number);
  return facts.indexFiles.filter((_file, number) => touched.has(number)).map((file) => file.id);
}

function statistics(facts: PruneFacts, sorted: Sorted, repack: readonly number[]): PruneStatistics {
  const { packs } = facts;
  const alone = facts.company === 'nobody';
  const sum = (column: Float64Array | Uint32Array, rows?: readonly number[]): number => {
    if (rows !== undefined) return rows.reduce((total, row) => total + (column[row] ?? 0), 0);
    let total = 0;
    for (let row = 0; row < packs.length; row++) total += column[row] ?? 0;
    return total;
  };
  const amount = (rows: readonly number[]): PackAmount => ({
    packs: rows.length,
    bytes: sum(packs.size, rows),
  });
  const removed = amount([...sorted.remove, ...(alone ? [...repack, ...sorted.orphans] : [])]);
  const waiting = amount([...sorted.waiting, ...sorted.mark, ...(alone ? [] : repack)]);
  const copied = sum(packs.usedBytes, repack);
  const wasted = sum(packs.unusedBytes) + sum(packs.duplicateBytes);
  const gone = [...sorted.remove, ...repack, ...sorted.vanished];
  const unusedLeft = wasted - sum(packs.unusedBytes, gone) - sum(packs.duplicateBytes, gone);
  return {
    used: { blobs: sum(packs.usedBlobs), bytes: sum(packs.usedBytes) },
    duplicate: { blobs: sum(packs.duplicateBlobs), bytes: sum(packs.duplicateBytes) },
    unused: { blobs: sum(packs.unusedBlobs), bytes: sum(packs.unusedBytes) },
    packs: {
      whole: sorted.whole.length,
      partlyUsed: sorted.partly.length,
      unused: sorted.remove.length + sorted.mark.length + sorted.waiting.length,
    },
    repack: { ...amount(repack), copied },
    removed,
    waiting,
    remaining: {
      bytes: sum(packs.size) - removed.bytes + copied,
      unusedBytes:
        Math.max(0, unusedLeft) + (alone ? 0 : amount(repack).bytes + amount(sorted.orphans).bytes),
    },
  };
}
