import { hash, randomUUID } from 'node:crypto';
import type { BitSet } from '../repository/bit-set.ts';
import type { BlobProof } from '../repository/blob-proof.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import type { HeldRead } from '../volumes/driver.ts';
import type { SampleRequest } from './backup-plan.ts';
import type { ContentList } from './content-list.ts';
import type { FingerprintList } from './fingerprints.ts';

/** The cells of a new image that nobody read: they are its base's, because the storage says that they did not change. */
export interface KeptCells {
  /** Of all cells of the base those that were taken over. */
  readonly cells: BitSet;
  /** The new image's. */
  readonly content: ContentList;
  readonly fingerprints: FingerprintList;
  readonly imageBytes: number;
}

/** What came of comparing unchanged cells with the source. */
export interface SampleReport {
  readonly cells: number;
  /** The first byte of a cell that differs. */
  readonly differsAt?: number;
}

const SHARE = 0.01;
const FEWEST = 16;
const MOST = 64;

/**
 * How many cells to compare: one in a hundred, at least 16, at most 64. A list of changes that misses a tenth of the image is
 * found out by 16 cells in four of five backups and by 64 in 999 of 1000; one that misses a hundredth by 64 in every other backup,
 * so within a week of nightly ones almost surely. 64 MiB of reading is what a tiny increment may cost.
 */
export function sampleSize(kept: number, asked?: number): number {
  return Math.min(kept, asked ?? Math.min(MOST, Math.max(FEWEST, Math.ceil(kept * SHARE))));
}

/** Chooses among the kept cells as `drawNumbers` does; ascending. */
export function drawSample(kept: BitSet, request?: SampleRequest): number[] {
  const ranks = new Set(drawNumbers(kept.size, request));
  const chosen: number[] = [];
  let rank = 0;
  for (const cell of kept) if (ranks.has(rank++)) chosen.push(cell);
  return chosen;
}

/** Chooses among the numbers below `count`, each with the same chance; ascending. The same seed chooses the same. */
export function drawNumbers(
  count: number,
  { cells: asked, seed = randomUUID() }: SampleRequest = {},
): number[] {
  const wanted = sampleSize(count, asked);
  // Floyd's: as many draws as are wanted, none twice.
  const chosen = new Set<number>();
  for (let last = count - wanted; last < count; last++) {
    const drawn = below(last + 1, `${seed}/${last}`);
    chosen.add(chosen.has(drawn) ? last : drawn);
  }
  return [...chosen].sort((a, b) => a - b);
}

/**
 * Reads cells from the held snapshot, and says of each whether it is what `of` names in its place. That is looked up before this
 * function first waits.
 */
export async function sameCells(
  readRanges: NonNullable<HeldRead['readRanges']>,
  { content, fingerprints, imageBytes }: Omit<KeptCells, 'cells'>,
  cells: readonly number[],
  proof: BlobProof,
  signal?: AbortSignal,
): Promise<ReadonlyMap<number, boolean>> {
  const same = new Map<number, boolean>();
  if (cells.length === 0) return same;
  const expected = cells.map((cell) => ({
    cell,
    offset: cell * CELL_BYTES,
    length: Math.min(CELL_BYTES, imageBytes - cell * CELL_BYTES),
    id: Uint8Array.from(content.at(cell)),
    fingerprint: Uint8Array.from(fingerprints.at(cell)),
  }));
  for await (const { offset, bytes } of readRanges(expected, signal)) {
    const next = expected[same.size];
    if (next?.offset !== offset) throw new Error(`byte ${offset} was not asked for`);
    same.set(next.cell, proof.fits(bytes, next.id, next.fingerprint));
  }
  if (same.size !== cells.length) throw new Error(`${same.size} of ${cells.length} ranges were read`);
  return same;
}

/** A number from 0 up to `limit`, without it. 48 bits: the bias is nothing. */
function below(limit: number, seed: string): number {
  return parseInt(hash('sha256', seed, 'hex').slice(0, 12), 16) % limit;
}
