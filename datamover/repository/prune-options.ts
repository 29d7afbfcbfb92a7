/** How much unused data may stay behind in partly used packs: a share of what is stored, or bytes. */
export type UnusedLimit = { readonly percent: number } | { readonly bytes: number } | 'unlimited';

export interface PruneOptions {
  /** Packs are repacked until no more than this is unused. Everything else costs transfer and frees little. */
  readonly maxUnused: UnusedLimit;
  /** At most this many bytes are read for repacking; the rest is left to a later prune. */
  readonly maxRepackBytes: number;
  /** Rewrite blobs that are stored uncompressed (format version 2 only). */
  readonly repackUncompressed: boolean;
  /**
   * Packs far below the target size come from every backup's last pack. `auto` merges packs below a quarter of the target as soon as there
   * are ten of a kind, `merge` all below 80 % of the target (restic's --repack-small), `leave` none.
   */
  readonly smallPacks: 'auto' | 'merge' | 'leave';
  /**
   * How long a mark stands before the pack may be swept, in milliseconds. That no backup older than the mark lives is checked as well; the
   * grace covers clocks that disagree.
   */
  readonly graceMs: number;
  /** The size that new packs get, in bytes. */
  readonly packSize: number;
}

export const DEFAULT_PRUNE_OPTIONS: PruneOptions = {
  maxUnused: { percent: 5 },
  maxRepackBytes: Infinity,
  repackUncompressed: false,
  smallPacks: 'auto',
  graceMs: 23 * 60 * 60 * 1000,
  packSize: 16 * 1024 * 1024,
};

/**
 * A mark carries the time just before it was written. A save of marks that takes longer than the first figure is repeated with a new time;
 * a backup counts as having seen a mark if it began the second figure later: by then the mark was there to be listed.
 */
export const SAVE_MARKS_WITHIN_MS = 5 * 60_000;
export const MARK_SETTLES_MS = 10 * 60_000;

const SUFFIXES: Record<string, number> = { '': 0, k: 1, m: 2, g: 3, t: 4 };

/** Reads restic's `--max-unused`: `5%`, `unlimited`, or bytes with k, m, g or t (powers of 1024). Throws RangeError. */
export function parseUnusedLimit(text: string): UnusedLimit {
  const word = text.trim().toLowerCase();
  if (word === 'unlimited') return 'unlimited';
  const share = /^(\d+(?:\.\d+)?)%$/.exec(word);
  if (share !== null && Number(share[1]) < 100) return { percent: Number(share[1]) };
  const size = /^(\d+)([kmgt]?)$/.exec(word);
  if (size !== null) return { bytes: Number(size[1]) * 1024 ** (SUFFIXES[size[2] ?? ''] ?? 0) };
  throw new RangeError(`"${text}" is no limit for unused data: write 5%, 200M or unlimited`);
}

/** The limit in bytes when `used` bytes are in use. A share is one of the whole, so that 50 % allows as much unused as used. */
export function unusedAllowance(limit: UnusedLimit, used: number): number {
  if (limit === 'unlimited') return Infinity;
  if ('bytes' in limit) return limit.bytes;
  return (limit.percent / (100 - limit.percent)) * used;
}
