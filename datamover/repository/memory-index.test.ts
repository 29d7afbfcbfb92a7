import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toBytes } from './id.ts';
import { BLOBS_PER_INDEX_FILE, decodeIndexFile, encodeIndexFile, splitForIndexFiles } from './index-file.ts';
import { MemoryIndex } from './memory-index.ts';
import type { BlobType, Id, MarkedPack, Pack, PackedBlob } from './types.ts';

const id = (): Id => randomBytes(32).toString('hex');
const ids = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const blobs: fc.Arbitrary<PackedBlob> = fc.record({
  id: ids,
  type: fc.constantFrom<BlobType>('data', 'tree'),
  offset: u32,
  length: u32,
  uncompressedLength: u32,
});
const packs: fc.Arbitrary<Pack> = fc.record({ id: ids, blobs: fc.array(blobs, { maxLength: 8 }) });
const marked: fc.Arbitrary<MarkedPack> = fc.record({
  id: ids,
  blobs: fc.array(blobs, { maxLength: 8 }),
  time: fc.constantFrom('2026-11-20T12:00:00Z', 'with "quotes" and \\ and ü'),
});

function pack(count: number, type: BlobType = 'data'): Pack {
  const list = Array.from({ length: count }, (_, i) => ({
    id: id(),
    type,
    offset: i * 100,
    length: 100,
    uncompressedLength: i,
  }));
  return { id: id(), blobs: list };
}

/** The same JSON with fields in another order, white space and fields of nobody's. */
function disguise(json: Uint8Array): Uint8Array {
  const shuffle = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffle);
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([name, inner]) => [name, shuffle(inner)] as const);
    return Object.fromEntries([
      ['unknown', { id: [1, 'x', null, { blobs: 'no' }], e: -1.5e3 }],
      ...entries.reverse(),
      ['size', true],
    ]);
  };
  return Buffer.from(JSON.stringify(shuffle(JSON.parse(Buffer.from(json).toString())), undefined, '\t \n'));
}

describe('index files', () => {
  test('F-14 come back, in any spelling of the same JSON', () => {
    const files = fc.record({
      packs: fc.array(packs, { maxLength: 6 }),
      packsToDelete: fc.array(marked, { maxLength: 3 }),
      supersedes: fc.array(ids, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(files, (file) => {
        const json = encodeIndexFile(file);
        expect(decodeIndexFile(json, 'index')).toEqual(file);
        const { packs: known, packsToDelete, supersedes } = decodeIndexFile(disguise(json), 'index');
        expect({ packs: known, packsToDelete, supersedes }).toEqual(file);
      }),
    );
  });

  test('F-14 are written with the fields of the design document alone', () => {
    const [packId, blobId] = ['ab'.repeat(32), 'cd'.repeat(32)];
    const blob: PackedBlob = { id: blobId, type: 'data', offset: 0, length: 38, uncompressedLength: 0 };
    const file = {
      packs: [
        {
          id: packId,
          blobs: [blob, { ...blob, type: 'tree' as const, offset: 38, uncompressedLength: 511 }],
        },
      ],
    };
    expect(Buffer.from(encodeIndexFile(file)).toString()).toBe(
      `{"packs":[{"id":"${packId}","blobs":[{"id":"${blobId}","type":"data","offset":0,"length":38},` +
        `{"id":"${blobId}","type":"tree","offset":38,"length":38,"uncompressed_length":511}]}]}`,
    );
  });

  test('are read where Go wrote null for an empty list, and as the bare array of old times', () => {
    expect(decodeIndexFile(Buffer.from('{"supersedes":null,"packs":null}'), 'x').packs).toEqual([]);
    expect(decodeIndexFile(Buffer.from(`[{"id":"${'ab'.repeat(32)}","blobs":null}]`), 'x').packs.length).toBe(
      1,
    );
    expect(decodeIndexFile(Buffer.from(' { } '), 'x').packs).toEqual([]);
  });

  test('F-14 are read with null for a length that is not there, as rustic writes it', () => {
    const json = Buffer.from(encodeIndexFile({ packs: [pack(3)] })).toString();
    const nulls = json
      .replaceAll(/,"uncompressed_length":\d+/g, '')
      .replaceAll('"length":100', '"length":100,"uncompressed_length":null');
    for (const text of [nulls, Buffer.from(disguise(Buffer.from(nulls))).toString()]) {
      const [one] = decodeIndexFile(Buffer.from(text), 'x').packs;
      expect(one?.blobs.map((blob) => blob.uncompressedLength)).toEqual([0, 0, 0]);
    }
  });

  const good = (): string => Buffer.from(encodeIndexFile({ packs: [pack(2)] })).toString();

  test.each([
    ['cut short', (text: string) => text.slice(0, -3)],
    ['empty', () => ''],
    ['followed by something', (text: string) => `${text}x`],
    ['an id of 63 digits', (text: string) => text.replace(/"id":"./, '"id":"')],
    ['an id in capitals', (text: string) => text.replace(/"id":".{64}/, `"id":"${'AB'.repeat(32)}`)],
    ['an unknown type', (text: string) => text.replace('"data"', '"date"')],
    ['no offset', (text: string) => text.replace('"offset":0,', '')],
    ['a negative length', (text: string) => text.replace('"length":100', '"length":-100')],
    ['a fraction', (text: string) => text.replace('"length":100', '"length":1.5')],
    ['a length beyond 32 bits', (text: string) => text.replace('"length":100', '"length":4294967296')],
    ['packs that are none', (text: string) => text.replace(/"packs":.*/, '"packs":7}')],
    ['a pack without id', () => '{"packs":[{"blobs":[]}]}'],
    ['nested without end', () => `{"x":${'['.repeat(100_000)}`],
    ['an unclosed string', () => '{"packs'],
  ])('F-33 one that is damaged is refused with its name: %s', (_, damage) => {
    expect(() => decodeIndexFile(Buffer.from(damage(good())), 'index file 1a2b3c4d')).toThrow(
      /^read index file 1a2b3c4d: /,
    );
  });

  test('F-33 any bytes are read or refused', () => {
    const json = Buffer.from(good());
    fc.assert(
      fc.property(fc.nat(json.length - 1), fc.nat(255), (at, byte) => {
        const changed = Buffer.from(json);
        changed[at] = byte;
        try {
          expect(decodeIndexFile(changed, 'x').packs.length).toBeLessThanOrEqual(1);
        } catch (error) {
          expect(String(error)).toContain('read x: ');
        }
      }),
      { numRuns: 500 },
    );
  });

  test('are cut at 50,000 blobs, never within a pack', () => {
    const many = Array.from({ length: 7 }, () => pack(20_000));
    const parts = [...splitForIndexFiles(many)];
    expect(parts.map((part) => part.length)).toEqual([2, 2, 2, 1]);
    expect(parts.flat()).toEqual(many);
    expect([...splitForIndexFiles([pack(BLOBS_PER_INDEX_FILE + 1)])].length).toBe(1);
    expect([...splitForIndexFiles([])]).toEqual([]);
  });
});

describe('the index in memory', () => {
  test('F-16 agrees with a map of maps for any packs, marked or not, in any order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(packs, fc.boolean()), { maxLength: 12 }),
        fc.boolean(),
        (list, fromFile) => {
          const index = new MemoryIndex();
          const live = new Map<string, PackedBlob & { pack: Id }>();
          const any = new Map<string, PackedBlob & { pack: Id }>();
          for (const [one, isMarked] of list) {
            if (fromFile) {
              const marks = isMarked ? [{ ...one, time: 'x' }] : [];
              index.addIndexFile(
                encodeIndexFile({ packs: isMarked ? [] : [one], packsToDelete: marks }),
                'x',
              );
            } else index.addPack(one, { marked: isMarked });
            for (const blob of one.blobs) {
              const name = blob.type + blob.id;
              if (!isMarked && !live.has(name)) live.set(name, { ...blob, pack: one.id });
              if (!any.has(name)) any.set(name, { ...blob, pack: one.id });
            }
          }
          expect(index.blobCount).toBe(any.size);
          for (const [name, first] of any) {
            const { type, pack: packId, offset, length, uncompressedLength } = live.get(name) ?? first;
            const raw = toBytes(first.id);
            expect(index.lookup(type, raw)).toEqual({
              type,
              pack: packId,
              offset,
              length,
              uncompressedLength,
            });
            expect(index.isLive(type, raw)).toBe(live.has(name));
          }
          expect(index.lookup('data', randomBytes(32))).toBeUndefined();
          const data = [...any.values()]
            .filter(({ type }) => type === 'data')
            .map((blob) => toBytes(blob.id));
          expect(index.missing('data', [randomBytes(32), ...data, randomBytes(32)])).toEqual([
            0,
            data.length + 1,
          ]);
        },
      ),
    );
  });

  test('grows far beyond its first size and still finds everything', () => {
    const index = new MemoryIndex();
    const list = Array.from({ length: 200 }, () => pack(500));
    for (const one of list) index.addPack(one);
    expect(index.blobCount).toBe(100_000);
    expect(index.packCount).toBe(200);
    const ordinals = new Set<number>();
    for (const one of list) {
      expect(index.hasPack(toBytes(one.id))).toBe(true);
      for (const blob of one.blobs) {
        expect(index.lookup('data', toBytes(blob.id))?.pack).toBe(one.id);
        ordinals.add(index.ordinal('data', toBytes(blob.id)));
      }
    }
    expect(ordinals.size).toBe(100_000);
    expect(Math.max(...[...ordinals].slice(0, 1000))).toBeLessThan(index.entryCount);
    expect(index.hasPack(randomBytes(32))).toBe(false);
    expect(index.ordinal('tree', toBytes(list[0]?.blobs[0]?.id ?? ''))).toBe(-1);
  });

  test('takes at most 64 bytes a blob at a size that fits worst', () => {
    // Just over a doubling of the slots: 16 blobs a pack, as packs of 16 MiB have.
    const count = 100_000;
    const index = new MemoryIndex();
    index.reserve(count);
    const raw = randomBytes(count * 32);
    for (let at = 0; at < count; at += 16) {
      const list = Array.from({ length: 16 }, (_, i) => ({
        id: raw.toString('hex', (at + i) * 32, (at + i + 1) * 32),
        type: 'data' as const,
        offset: 0,
        length: 1,
        uncompressedLength: 0,
      }));
      index.addPack({ id: id(), blobs: list });
    }
    expect(index.byteLength / count).toBeLessThan(69);
    // At 10 million the slots are at 60 %: what counts there.
    const atTenMillion = (index.byteLength - 2 ** 18 * 4) / count + (2 ** 24 * 4) / 1e7;
    expect(atTenMillion).toBeLessThanOrEqual(64);
  });

  test('F-15 a mark in the same file wins over the listing before it, and a live copy over both', () => {
    const [twice, once] = [pack(1), pack(1)];
    const copy: Pack = { id: id(), blobs: twice.blobs };
    const index = new MemoryIndex();
    const marks = [twice, once].map((one) => ({ ...one, time: '2026-11-20T00:00:00Z' }));
    index.addIndexFile(encodeIndexFile({ packs: [twice, once, copy], packsToDelete: marks }), 'x');
    const [shared, alone] = [twice, once].map((one) => toBytes(one.blobs[0]?.id ?? ''));
    if (shared === undefined || alone === undefined) throw new Error('no blobs');
    expect(index.lookup('data', shared)?.pack).toBe(copy.id);
    expect(index.isLive('data', shared)).toBe(true);
    expect(index.lookup('data', alone)?.pack).toBe(once.id);
    expect(index.isLive('data', alone)).toBe(false);
  });

  test('F-15 a mark in one file and the live copy in another find each other, in whatever order the files come', () => {
    const old = pack(3);
    const copy: Pack = { id: id(), blobs: old.blobs };
    const files = [
      { packs: [old] },
      { packs: [copy] },
      { packsToDelete: [{ ...old, time: '2026-11-20T00:00:00Z' }] },
    ];
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ];
    for (const order of orders) {
      const index = new MemoryIndex();
      for (const at of order) index.addIndexFile(encodeIndexFile(files[at] ?? {}), 'x');
      index.settleMarks();
      for (const blob of old.blobs) {
        expect(index.lookup('data', toBytes(blob.id))?.pack).toBe(copy.id);
        expect(index.isLive('data', toBytes(blob.id))).toBe(true);
      }
    }
  });

  test('F-15 blobs of a marked pack are claimed for storing again', () => {
    const one = pack(1);
    const raw = toBytes(one.blobs[0]?.id ?? '');
    const index = new MemoryIndex();
    index.addPack(one, { marked: true });
    expect([index.claim(raw), index.claim(raw)]).toEqual([true, false]);
    expect(index.lookup('data', raw)?.pack).toBe(one.id);
    const again: Pack = { id: id(), blobs: one.blobs };
    index.addPack(again);
    expect(index.lookup('data', raw)?.pack).toBe(again.id);
    expect(index.claim(raw)).toBe(false);
    expect(index.blobCount).toBe(1);
  });

  test('a claim is for one type, shows no place and can be given back', () => {
    const index = new MemoryIndex();
    const raw = randomBytes(32);
    expect([index.claim(raw), index.claim(raw), index.claim(raw, 'tree')]).toEqual([true, false, true]);
    expect(index.lookup('data', raw)).toBeUndefined();
    expect(index.missing('data', [raw])).toEqual([0]);
    expect([index.isLive('data', raw), index.blobCount]).toEqual([false, 0]);
    index.releaseClaims();
    expect([index.claim(raw), index.claim(raw)]).toEqual([true, false]);
  });

  test('threads claim each blob once and see what the others add', async () => {
    const index = new MemoryIndex();
    const script = `
      const { workerData, parentPort } = require('node:worker_threads');
      import(workerData.module).then(({ openSharedIndex }) => {
        const index = openSharedIndex(workerData.handle);
        let won = 0;
        for (let i = 0; i < 20000; i++) {
          const id = new Uint8Array(32);
          new DataView(id.buffer).setUint32(0, Math.imul(i, 2654435761));
          new DataView(id.buffer).setUint32(4, i);
          if (index.claim(id)) won++;
        }
        parentPort.postMessage({ won, known: index.lookup('data', workerData.known)?.offset });
      });`;
    const known = randomBytes(32);
    index.addPack({
      id: id(),
      blobs: [{ id: known.toString('hex'), type: 'data', offset: 77, length: 1, uncompressedLength: 0 }],
    });
    const module = new URL('./memory-index.js', import.meta.url).href;
    const run = (): Promise<{ won: number; known: number }> =>
      new Promise((resolve, reject) => {
        const worker = new Worker(script, {
          eval: true,
          workerData: { module, handle: index.share(), known: Uint8Array.from(known) },
        });
        worker.once('message', resolve);
        worker.once('error', reject);
      });
    const results = await Promise.all([run(), run(), run()]);
    expect(results.reduce((sum, { won }) => sum + won, 0)).toBe(20_000);
    expect(results.map((result) => result.known)).toEqual([77, 77, 77]);
    expect(index.entryCount).toBe(20_001);
  });
});
