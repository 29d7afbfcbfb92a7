import { beforeAll, describe, expect, test } from '@jest/globals';
import { sealBlob } from '../blob.ts';
import { sha256 } from '../id.ts';
import { newMasterKey } from '../key-file.ts';
import { PackBuilder } from '../packer.ts';
import { noise, prose, seededRandom } from '../testing/bytes.ts';
import type { Pack } from '../types.ts';
import { LARGEST_READ, loadReads, READ_LIMITS, type PackSource } from './loader.ts';
import { planReads, plainLength, type PackRead, type WantedBlob } from './read-plan.ts';

const key = newMasterKey();
const blobs = new Map<string, Uint8Array>();
let pack: Pack;
let file: Uint8Array;

beforeAll(() => {
  const builder = new PackBuilder();
  const random = seededRandom(3);
  for (let i = 0; i < 24; i++) {
    const length = 1 + random.below(1 << 20);
    const plain = i % 2 === 0 ? noise(i, length) : prose(i, length);
    const id = sha256(plain);
    blobs.set(id, plain);
    builder.add('data', id, sealBlob(key, 'data', plain, i % 3 === 0 ? 'off' : 'auto'));
  }
  ({ pack, bytes: file } = builder.finish(key));
});

function wanted(): WantedBlob[] {
  return pack.blobs.map((blob, i) => ({ id: blob.id, location: { ...blob, pack: pack.id }, positions: [i] }));
}

/** Serves the pack from memory; `change` may spoil what it serves. */
function source(
  change: (into: Uint8Array, offset: number) => void | Promise<void> = () => undefined,
): PackSource {
  return {
    key,
    downloads: 4,
    loadPackRange: async (_, offset, into) => {
      into.set(file.subarray(offset, offset + into.length));
      await change(into, offset);
    },
  };
}

function compareDelivered(read: PackRead, plain: Uint8Array): string[] {
  let at = 0;
  return read.blobs.map(({ id, location }) => {
    const length = plainLength(location);
    expect(Buffer.compare(plain.subarray(at, at + length), blobs.get(id) ?? Buffer.alloc(0))).toBe(0);
    at += length;
    return id;
  });
}

describe('loadReads', () => {
  test.each([true, false])('delivers every blob as it was (ordered: %s)', async (ordered) => {
    const random = seededRandom(9);
    const reads = planReads(wanted(), { bytes: 1 << 20, gap: 0 });
    expect(reads.length).toBeGreaterThan(8);
    const seen: string[] = [];
    let busy = 0;
    await loadReads(
      // Answers come in any order.
      source(() => new Promise((resolve) => setTimeout(resolve, random.below(8)))),
      reads,
      {
        ordered,
        deliver: async (read, plain) => {
          busy++;
          await new Promise((resolve) => setTimeout(resolve, random.below(3)));
          seen.push(...compareDelivered(read, plain));
          if (ordered) expect(busy).toBe(1);
          busy--;
        },
      },
    );
    const ids = pack.blobs.map(({ id }) => id);
    if (ordered) expect(seen).toEqual(ids);
    else expect(seen.toSorted()).toEqual(ids.toSorted());
  });

  test('never delivers a damaged blob: one flipped bit anywhere in nonce, ciphertext or, where bytes are parsed, MAC', async () => {
    const random = seededRandom(11);
    for (let round = 0; round < 24; round++) {
      const victim = pack.blobs[round];
      if (victim === undefined) throw new Error('too few blobs');
      // The MAC of a plain blob says nothing that its SHA-256 does not say.
      const checked = victim.uncompressedLength > 0 ? victim.length : victim.length - 16;
      const bit = 8 * victim.offset + random.below(8 * checked);
      const flip = (into: Uint8Array, offset: number): void => {
        const at = (bit >> 3) - offset;
        if (at >= 0 && at < into.length) into[at] = (into[at] ?? 0) ^ (1 << (bit & 7));
      };
      const delivered: string[] = [];
      const loading = loadReads(source(flip), planReads(wanted(), READ_LIMITS), {
        ordered: round % 2 === 0,
        deliver: async (read, plain) => {
          delivered.push(...compareDelivered(read, plain));
        },
      });
      await expect(loading).rejects.toMatchObject({ kind: 'incomplete', operation: 'read blob' });
      await loading.catch((error: unknown) => expect(String(error)).toContain(victim.id.slice(0, 12)));
      expect(delivered).not.toContain(victim.id);
    }
  });

  test('refuses a blob under another name', async () => {
    const [first, second] = wanted();
    if (first === undefined || second === undefined) throw new Error('too few blobs');
    const reads = planReads([{ ...first, id: second.id }], READ_LIMITS);
    let delivered = 0;
    const loading = loadReads(source(), reads, {
      ordered: true,
      deliver: async () => {
        delivered++;
      },
    });
    await expect(loading).rejects.toThrow(/SHA-256/);
    expect(delivered).toBe(0);
  });

  test('refuses lengths that no blob has before any memory is touched', async () => {
    const [first] = wanted();
    if (first === undefined) throw new Error('too few blobs');
    for (const change of [{ uncompressedLength: LARGEST_READ + 1 }, { length: LARGEST_READ + 1 }]) {
      let asked = 0;
      const reads = planReads([{ ...first, location: { ...first.location, ...change } }], READ_LIMITS);
      const loading = loadReads(
        source(() => {
          asked++;
        }),
        reads,
        { ordered: true, deliver: async () => undefined },
      );
      await expect(loading).rejects.toThrow(/no blob of restic's format/);
      expect(asked).toBe(0);
    }
  });

  test('refuses a blob that is too short to be one, whose plain length would be below zero', async () => {
    const [first] = wanted();
    if (first === undefined) throw new Error('too few blobs');
    const location = { ...first.location, length: 10, uncompressedLength: 0 };
    const reads = planReads([{ ...first, id: sha256(new Uint8Array(0)), location }], READ_LIMITS);
    let delivered = 0;
    const deliver = async (): Promise<void> => {
      delivered++;
    };
    await expect(loadReads(source(), reads, { ordered: true, deliver })).rejects.toThrow(/gives it 10 bytes/);
    expect(delivered).toBe(0);
  });

  test("a failing store ends it with the store's error, after everything has stopped", async () => {
    let busy = 0;
    const loading = loadReads(
      source(async (_, offset) => {
        if (offset > 3 << 20) throw new Error('the store has gone');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }),
      planReads(wanted(), { bytes: 1 << 20, gap: 0 }),
      {
        ordered: false,
        deliver: async () => {
          busy++;
          await new Promise((resolve) => setTimeout(resolve, 10));
          busy--;
        },
      },
    );
    await expect(loading).rejects.toThrow('the store has gone');
    expect(busy).toBe(0);
  });

  test('a plan that fails in the middle ends it after everything has stopped', async () => {
    let busy = 0;
    const reads = function* (): Generator<PackRead> {
      yield* planReads(wanted(), { bytes: 1 << 20, gap: 0 }).slice(0, 5);
      throw new Error('the index lacks a blob');
    };
    const loading = loadReads(source(), reads(), {
      ordered: false,
      deliver: async () => {
        busy++;
        await new Promise((resolve) => setTimeout(resolve, 20));
        busy--;
      },
    });
    await expect(loading).rejects.toThrow('the index lacks a blob');
    expect(busy).toBe(0);
  });

  test('a thread that dies ends it', async () => {
    // A key that no thread can start with.
    const slow = source(() => new Promise((resolve) => setTimeout(resolve, 500)));
    const broken = { ...slow, key: { ...key, macR: null as unknown as Uint8Array } };
    const loading = loadReads(broken, planReads(wanted(), READ_LIMITS), {
      ordered: true,
      deliver: async () => undefined,
    });
    await expect(loading).rejects.toThrow();
  });

  test("a target that fails ends it with the target's error", async () => {
    const loading = loadReads(source(), planReads(wanted(), { bytes: 1 << 20, gap: 0 }), {
      ordered: true,
      deliver: async () => {
        throw new Error('no space left');
      },
    });
    await expect(loading).rejects.toThrow('no space left');
  });

  test('a signal ends it as cancelled, also one that fired before', async () => {
    const early = AbortSignal.abort();
    const reads = planReads(wanted(), { bytes: 1 << 20, gap: 0 });
    await expect(
      loadReads(source(), reads, { ordered: true, signal: early, deliver: async () => undefined }),
    ).rejects.toMatchObject({ kind: 'cancelled' });
    const controller = new AbortController();
    let delivered = 0;
    const loading = loadReads(source(), reads, {
      ordered: true,
      signal: controller.signal,
      deliver: async () => {
        if (++delivered === 2) controller.abort();
      },
    });
    await expect(loading).rejects.toMatchObject({ kind: 'cancelled' });
    expect(delivered).toBe(2);
  });
});
