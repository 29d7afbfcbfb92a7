import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Fingerprinter } from '../crypto/fingerprint.ts';
import { chunkLengths } from '../chunker-plain.ts';
import { fromBytes, sha256, toBytes } from '../id.ts';
import { newMasterKey } from '../key-file.ts';
import { formatPolynomial, randomPolynomial } from '../polynomial.ts';
import { noise, seededRandom } from '../testing/bytes.ts';
import { CELL_BYTES, layoutArena, MAX_CHUNK } from './arena.ts';
import { Control } from './control.ts';
import { KnownChunks } from './known-chunks.ts';
import type { ReaderStart } from './messages.ts';
import { SlabCutter } from './slab-cutter.ts';

interface Cut {
  readonly length: number;
  readonly id: string;
}

/** Which known chunk each blob was taken for. */
interface Recognized {
  readonly chunks: number[];
}

/** A worker goes on while the reader waits for a slab. Here one thread is both, and would wait for itself for ever. */
class OneThreadControl extends Control {
  /** A worker's turn; false where nothing waits for it. */
  take: () => boolean = () => false;

  override acquireSlab(slab: number): boolean {
    while (!this.isFree(slab)) if (!this.take()) throw new Error(`nobody gives slab ${slab} back`);
    return super.acquireSlab(slab);
  }
}

/**
 * Feeds a stream in pieces of these lengths (again and again) and takes each blob from the queue as a worker would, though
 * later: up to `delayed` blobs wait, so that slabs are still in use when the reader wants them.
 */
function cut(
  stream: Uint8Array,
  kind: ReaderStart['cut'],
  pieces: readonly number[],
  delayed = 0,
  recognized?: Recognized,
): Cut[] {
  const arena = layoutArena({ workers: 1, packSlots: 1, input: 'content' });
  const control = new OneThreadControl();
  const cutter = new SlabCutter(arena, control, kind);
  const bytes = Buffer.from(arena.memory.buffer);
  const cuts: Cut[] = [];
  const take = (): boolean => {
    if (control.room === 4096) return false;
    const blob = control.pop();
    if (blob === undefined) return false;
    expect(blob.sequence).toBe(cuts.length);
    cuts.push({
      length: blob.length,
      id: sha256(bytes.subarray(blob.address, blob.address + blob.length)),
    });
    recognized?.chunks.push(blob.known);
    control.releaseSlab(blob.slab);
    return true;
  };
  control.take = take;
  let fed = 0;
  for (let turn = 0; fed < stream.length; turn++) {
    const space = cutter.space();
    if (space === undefined) throw new Error('stopped');
    const count = Math.min(space.length, pieces[turn % pieces.length] ?? 1, stream.length - fed);
    space.set(stream.subarray(fed, fed + count));
    cutter.filled(count);
    fed += count;
    while (4096 - control.room > delayed) take();
  }
  cutter.end();
  while (take());
  expect(cutter.bytes).toBe(stream.length);
  expect(cutter.blobs).toBe(cuts.length);
  expect(control.pop()).toBeUndefined();
  return cuts;
}

function pieces(stream: Uint8Array, lengths: readonly number[]): Cut[] {
  let at = 0;
  return lengths.map((length) => {
    const id = sha256(stream.subarray(at, at + length));
    at += length;
    return { length, id };
  });
}

describe('content-defined cuts', () => {
  const polynomial = randomPolynomial();
  const kind = { kind: 'content', polynomial: formatPolynomial(polynomial) } as const;

  test('equal the plain twin, however the stream arrives', () => {
    // Long enough to go round the slabs; noise, repeats, zeros.
    const random = seededRandom(7);
    const parts: Buffer[] = [];
    for (let i = 0; i < 24; i++) {
      const length = 1 + random.below(5 << 20);
      parts.push(random.below(4) === 0 ? Buffer.alloc(length) : noise(random.below(8), length));
    }
    const stream = Buffer.concat(parts);
    const expected = pieces(stream, chunkLengths(stream, polynomial));
    expect(cut(stream, kind, [65536])).toEqual(expected);
    expect(cut(stream, kind, [1 << 20, 3, 4096, 12 << 20], 3)).toEqual(expected);
    expect(cut(stream, kind, [50 << 20], 2)).toEqual(expected);
  });

  test('equal the plain twin for any polynomial and short streams', () => {
    fc.assert(
      fc.property(
        fc.nat(3 << 20),
        fc.nat(1000),
        fc.array(fc.integer({ min: 1, max: 200_000 }), { minLength: 1, maxLength: 5 }),
        (length, seed, lengths) => {
          const p = randomPolynomial();
          const stream = noise(seed, length);
          // One byte at a time is slow, and tests nothing more.
          const arriving = lengths.map((piece) => Math.max(piece, 2000));
          expect(cut(stream, { kind: 'content', polynomial: formatPolynomial(p) }, arriving)).toEqual(
            pieces(stream, chunkLengths(stream, p)),
          );
        },
      ),
      { numRuns: 8 },
    );
  });

  test('are made at the maximum where the content suggests none', () => {
    // Found by search: noise has a cut every 1.5 MiB; a short period has none or very many.
    const period = noise('period', 64);
    const stream = Buffer.alloc(20 << 20);
    for (let at = 0; at < stream.length; at += period.length) period.copy(stream, at);
    const lengths = chunkLengths(stream, 0x3da3358b4dc173n);
    expect(lengths[0]).toBe(MAX_CHUNK);
    const cuts = cut(stream, { kind: 'content', polynomial: '3da3358b4dc173' }, [777_777]);
    expect(cuts).toEqual(pieces(stream, lengths));
  });
});

const NOTHING = { id: Buffer.of(), length: 0, fingerprint: Buffer.of() };

describe('F-55 a stream that is known in parts', () => {
  // The same cuts in each run: how many of a base's chunks a part of it still has depends on where they end.
  const polynomial = 0x3da3358b4dc173n;
  const key = newMasterKey();
  const fingerprints = new Fingerprinter(key);

  function known(base: Buffer): { kind: ReaderStart['cut']; ids: string[] } {
    let at = 0;
    const chunks = chunkLengths(base, polynomial).map((length) => {
      const bytes = base.subarray(at, (at += length));
      return { id: toBytes(sha256(bytes)), length, fingerprint: fingerprints.of(bytes) };
    });
    const { shared } = KnownChunks.of(chunks.length, (i) => chunks[i] ?? NOTHING);
    return {
      kind: { kind: 'content', polynomial: formatPolynomial(polynomial), known: { chunks: shared, key } },
      ids: chunks.map(({ id }) => fromBytes(id)),
    };
  }

  /** Cuts `stream` beside `base`; the cuts must be those of the plain twin, and what is recognized what it is taken for. */
  function recognize(base: Buffer, stream: Buffer, arriving: number[]): number[] {
    const { kind, ids } = known(base);
    const recognized: Recognized = { chunks: [] };
    const cuts = cut(stream, kind, arriving, 0, recognized);
    expect(cuts).toEqual(pieces(stream, chunkLengths(stream, polynomial)));
    const taken = recognized.chunks.map((chunk) => (chunk < 0 ? undefined : ids[chunk]));
    cuts.forEach(({ id }, i) => expect([undefined, id]).toContain(taken[i]));
    // What the base has is found wherever it is now.
    cuts.forEach(({ id }, i) => expect(taken[i] !== undefined).toBe(ids.includes(id)));
    return recognized.chunks;
  }

  const base = noise('known', 30 << 20);

  test('is cut as without it, and unchanged all of it is recognized', () => {
    const chunks = recognize(base, base, [1 << 20]);
    expect(chunks).toEqual(chunks.map((_, i) => i));
  });

  test('goes on where it is found again: bytes changed, put in, taken out, moved', () => {
    const at = 11 << 20;
    const changed = Buffer.from(base);
    changed.fill(1, at, at + 5);
    const streams = [
      changed,
      Buffer.concat([base.subarray(0, at), noise('new', 3_000_000), base.subarray(at)]),
      Buffer.concat([base.subarray(0, at), base.subarray(at + 4_000_000)]),
      Buffer.concat([base.subarray(at), base.subarray(0, at)]),
      base.subarray(0, at),
      Buffer.concat([base, noise('more', 5 << 20)]),
      Buffer.concat([Buffer.of(0), base]),
      // Ends within a chunk that began as the base's did: what is there has cuts of its own.
      ...Array.from({ length: 4 }, (_, i) =>
        Buffer.concat([base.subarray(0, (14 << 20) + i * 1_200_000), noise(`tail ${i}`, i * 1_000_000)]),
      ),
    ];
    for (const stream of streams) {
      const chunks = recognize(base, stream, [777_777, 65536]);
      expect(chunks.filter((chunk) => chunk >= 0).length).toBeGreaterThan(3);
    }
  });

  test('another base, an empty one and the first half of a cut prove nothing', () => {
    expect(recognize(noise('other', 9 << 20), base, [1 << 20]).every((chunk) => chunk < 0)).toBe(true);
    recognize(Buffer.alloc(0), base, [1 << 20]);
    // The base's last chunk ended with it: here the same bytes go on.
    recognize(base.subarray(0, (20 << 20) + 99), base, [1 << 20]);
  });
});

describe('the grid', () => {
  test('cuts every MiB; what is left is the last blob', () => {
    fc.assert(
      fc.property(
        fc.nat(4 << 20),
        fc.array(fc.integer({ min: 1000, max: 3 << 20 }), { minLength: 1 }),
        (length, arriving) => {
          const stream = noise(length, length);
          const lengths = Array.from({ length: Math.ceil(length / CELL_BYTES) }, (_, i) =>
            Math.min(CELL_BYTES, length - i * CELL_BYTES),
          );
          expect(cut(stream, { kind: 'grid' }, arriving)).toEqual(pieces(stream, lengths));
        },
      ),
      { numRuns: 12 },
    );
  });

  test('goes round the slabs', () => {
    const stream = noise('round', (60 << 20) + 17);
    const cuts = cut(stream, { kind: 'grid' }, [300_000], 5);
    expect(cuts.length).toBe(61);
    expect(cuts.at(-1)?.length).toBe(17);
  });

  test('an empty stream has no blobs', () => {
    expect(cut(Buffer.alloc(0), { kind: 'grid' }, [1])).toEqual([]);
  });
});
