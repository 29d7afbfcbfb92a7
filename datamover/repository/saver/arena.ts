import { compressBound } from '../compression.ts';
import { SEAL_OVERHEAD } from '../crypto/cipher.ts';
import { allocateAgain, RESERVED } from '../wasm/core.ts';

/** Blobs of the fixed grid, and the unit in which images are compared and deduplicated. */
export const CELL_BYTES = 1 << 20;
/** A worker hashes two blobs at once (crypto/sha256.ts). */
export const CELLS_AT_ONCE = 2;
/** The longest that a cell is in a pack: restic keeps a compressed form that is longer than the blob. */
export const SEALED_CELL_BYTES = compressBound(CELL_BYTES) + SEAL_OVERHEAD;
/** restic's chunker bounds. */
export const MIN_CHUNK = 512 << 10;
export const MAX_CHUNK = 8 << 20;
/** A pack is closed once it holds this much, as restic does, so it may be one blob larger. */
export const PACK_BYTES = 16 << 20;

/** A slab must hold a largest blob that began in the one before, and fresh input: else the reader only copies. */
const SLAB_BYTES = { grid: 4 << 20, content: 9 << 20, watched: 9 << 20, fed: CELL_BYTES } as const;
/** Cells that are fed wait for their base in a slab each: so many requests for it are under way at once. */
const SLABS = { grid: 3, content: 3, watched: 3, fed: 12 } as const;
/** What a thread of the caller's has for itself: a feeding one reads its input there, with room for what it computes beside. */
const INPUT_BYTES = {
  cells: 0,
  grid: 0,
  content: 0,
  watched: 128 << 10,
  fed: CELL_BYTES + (128 << 10),
} as const;
/** Slabs of CELL_BYTES each for a file beside a watched stream: one is filled while another is stored. */
const SIDE_SLABS = { cells: 0, grid: 0, content: 0, watched: 2, fed: 0 } as const;
/** Places of that file's blobs begin here; those of the stream are below. */
export const SIDE_PLACES = 2 ** 31;
/** Room behind a pack for its encrypted header, 41 bytes a blob. A pack of very small blobs is closed when it is used up. */
export const HEADER_ROOM = 1 << 20;

/**
 * Where everything lies in the shared memory of one backup. Plain numbers: it is sent to every thread as it is. Untouched
 * parts cost no RAM, so the room for the largest blob behind every pack is free until one comes.
 */
export interface Arena {
  readonly memory: WebAssembly.Memory;
  /** Input of a stream: addresses of slabs that the reader fills one after the other; empty for cells. */
  readonly slabs: readonly number[];
  readonly slabBytes: number;
  /** For each slab of cells that are fed, where a blob of the base is put, sealed; of SEALED_CELL_BYTES. */
  readonly bases: readonly number[];
  /** Slabs for the file beside a watched stream; empty for all others. */
  readonly side: readonly number[];
  /** A feeding or watching thread's own, of INPUT_BYTES; 0 where there is none. */
  readonly input: number;
  readonly inputBytes: number;
  /** Where workers read their cells, CELLS_AT_ONCE each; empty for a stream. */
  readonly cells: readonly number[];
  readonly packs: readonly number[];
  readonly packBytes: number;
  /** Bytes. */
  readonly longestBlob: number;
}

export interface ArenaNeeds {
  readonly workers: number;
  readonly packSlots: number;
  /**
   * Cells of a file or device that workers read themselves, a stream cut on the grid or by its content (watched: by a thread
   * that reads it, too), or cells that a thread makes of something else.
   */
  readonly input: 'cells' | 'grid' | 'content' | 'watched' | 'fed';
}

/** One worker is in one slab at a time: long ones need not be more than that one and the one that is filled. */
function slabCount(input: ArenaNeeds['input'], workers: number): number {
  if (input === 'cells') return 0;
  return workers === 1 && (input === 'content' || input === 'watched') ? 2 : SLABS[input];
}

export function layoutArena({ workers, packSlots, input }: ArenaNeeds): Arena {
  let next = RESERVED;
  const take = (count: number, bytes: number): number[] =>
    Array.from({ length: count }, () => {
      const at = next;
      next += (bytes + 63) & ~63;
      return at;
    });
  const longestBlob = input === 'content' || input === 'watched' ? MAX_CHUNK : CELL_BYTES;
  const slabBytes = input === 'cells' ? 0 : SLAB_BYTES[input];
  const packBytes = PACK_BYTES + longestBlob + HEADER_ROOM;
  const cells = take(input === 'cells' ? workers * CELLS_AT_ONCE : 0, CELL_BYTES);
  const slabs = take(slabCount(input, workers), slabBytes);
  const bases = take(input === 'fed' ? SLABS.fed : 0, SEALED_CELL_BYTES);
  const side = take(SIDE_SLABS[input], CELL_BYTES);
  const packs = take(packSlots, packBytes);
  const inputBytes = INPUT_BYTES[input];
  const [inputAt = 0] = take(inputBytes > 0 ? 1 : 0, inputBytes);
  return {
    memory: allocateAgain(next - RESERVED),
    input: inputAt,
    inputBytes,
    slabs,
    slabBytes,
    bases,
    side,
    cells,
    packs,
    packBytes,
    longestBlob,
  };
}
