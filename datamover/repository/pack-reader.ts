import type { Store } from '../store/store.ts';
import type { Id, PackedBlob } from './types.ts';

/** Ranges closer than this are read in one go: a request costs more than so many bytes. */
const GAP = 256 * 1024;
/** Longer ranges are read in parts, so that packs of any size fit in memory. */
const MAX_RANGE = 16 * 1024 * 1024;

export interface SealedPackBlob {
  readonly blob: PackedBlob;
  /** Part of what was read: copy it to keep it alone. */
  readonly sealed: Uint8Array;
}

/** Reads these blobs of one pack in the order of their offsets, neighbours together, no byte twice. Nothing is verified here. */
export async function* readBlobs(
  store: Store,
  pack: Id,
  blobs: readonly PackedBlob[],
  signal?: AbortSignal,
): AsyncGenerator<SealedPackBlob> {
  for (const run of runsOf(blobs)) {
    const range = { offset: run.offset, length: run.length };
    const bytes = await store.load({ type: 'data', name: pack }, { range, ...(signal && { signal }) });
    for (const blob of run.blobs) {
      const at = blob.offset - run.offset;
      yield { blob, sealed: bytes.subarray(at, at + blob.length) };
    }
  }
}

/** A range of a pack worth one request. */
export interface BlobRun {
  readonly offset: number;
  length: number;
  readonly blobs: PackedBlob[];
}

/** Groups blobs of one pack into ranges. Entries that overlap, which cannot both be true, share a range. */
export function runsOf(blobs: readonly PackedBlob[], maxRange = MAX_RANGE): BlobRun[] {
  const runs: BlobRun[] = [];
  for (const blob of [...blobs].sort((a, b) => a.offset - b.offset)) {
    const run = runs.at(-1);
    const end = blob.offset + blob.length;
    if (run !== undefined && joins(run, blob.offset, end, maxRange)) {
      run.blobs.push(blob);
      run.length = Math.max(run.length, end - run.offset);
    } else runs.push({ offset: blob.offset, length: blob.length, blobs: [blob] });
  }
  return runs;
}

function joins(run: BlobRun, offset: number, end: number, maxRange: number): boolean {
  const runEnd = run.offset + run.length;
  return offset < runEnd || (offset - runEnd <= GAP && end - run.offset <= maxRange);
}
