import { describe, expect, test } from '@jest/globals';
import { BitSet } from './bit-set.ts';
import { sha256, toBytes } from './id.ts';
import { encodeIndexFile, type IndexFile } from './index-file.ts';
import { MemoryIndex } from './memory-index.ts';
import { entryLength, packLength } from './pack-header.ts';
import { INDEXED, LISTED } from './pack-table.ts';
import { measureUsage, type PackUsage } from './prune-usage.ts';
import type { BlobType, Id, Pack } from './types.ts';

const id = (name: string): Id => sha256(Buffer.from(name));

/** Blobs are letters: capitals are trees; each is 100 bytes long, and stored plain where a dot follows. */
function pack(name: string, blobs: string): Pack {
  let offset = 0;
  return {
    id: id(`pack ${name}`),
    blobs: [...blobs.matchAll(/(\w)(\.?)/g)].map(([, letter = '', plain]) => {
      const type: BlobType = letter < 'a' ? 'tree' : 'data';
      const blob = { id: id(letter), type, offset, length: 100, uncompressedLength: plain === '' ? 300 : 0 };
      offset += 100;
      return blob;
    }),
  };
}

const bytes = 100 + entryLength({ uncompressedLength: 300 });

async function measure(
  files: readonly Partial<IndexFile>[],
  used: string,
  absent: readonly string[] = [],
  unlisted: Record<string, Pack> = {},
): Promise<PackUsage> {
  const index = new MemoryIndex();
  const documents = files.map((file, i) => {
    const json = encodeIndexFile(file);
    index.addIndexFile(json, 'index');
    return { id: id(`index ${i}`), size: json.length, json };
  });
  const bits = new BitSet(index.entryCount);
  for (const letter of used) bits.add(index.ordinal(letter < 'a' ? 'tree' : 'data', toBytes(id(letter))));
  const packs = [...files.flatMap((file) => file.packs ?? []), ...Object.values(unlisted)];
  const listed = new Map(packs.map((one) => [one.id, packLength(one.blobs)]));
  for (const name of absent) listed.delete(id(`pack ${name}`));
  const list = [...listed].map(([name, size]) => ({ name, size }));
  return measureUsage(index, bits, from(list), () => from(documents));
}

async function* from<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

/** used/duplicate/unused blobs of a pack. */
function counts({ packs }: PackUsage, name: string): string {
  const row = packs.find(toBytes(id(`pack ${name}`)));
  return [packs.usedBlobs[row], packs.duplicateBlobs[row], packs.unusedBlobs[row]].join('/');
}

describe('measureUsage', () => {
  test('counts blobs and bytes, and knows the size that a pack must have', async () => {
    const usage = await measure([{ packs: [pack('p', 'abC.')] }], 'aC');
    const row = usage.packs.find(toBytes(id('pack p')));
    expect(counts(usage, 'p')).toBe('2/0/1');
    expect(usage.packs.usedBytes[row]).toBe(bytes + bytes - 4);
    expect(usage.packs.unusedBytes[row]).toBe(bytes);
    expect(usage.packs.indexedSize[row]).toBe(usage.packs.size[row]);
    expect(usage.contradictions).toEqual([]);
  });

  test('of two copies the one in a pack that stays anyway counts', async () => {
    const usage = await measure([{ packs: [pack('p', 'ax'), pack('q', 'ab')] }], 'ab');
    expect(counts(usage, 'p')).toBe('0/1/1');
    expect(counts(usage, 'q')).toBe('2/0/0');
  });

  test('of two packs with the same blobs one is wholly used and one wholly duplicate', async () => {
    const usage = await measure([{ packs: [pack('p', 'ab')] }, { packs: [pack('q', 'abx')] }], 'ab');
    expect([counts(usage, 'p'), counts(usage, 'q')]).toEqual(['2/0/0', '0/2/1']);
  });

  test('a copy in an unmarked pack goes before one in a marked pack, one in a missing pack comes last', async () => {
    const [p, q, r] = [pack('p', 'abc'), pack('q', 'ax'), pack('r', 'bcy')];
    const marks = [{ ...p, time: '2024-01-01T00:00:00Z' }];
    const usage = await measure([{ packs: [p, q, r], packsToDelete: marks }], 'abc', ['r']);
    expect([counts(usage, 'p'), counts(usage, 'q'), counts(usage, 'r')]).toEqual(['2/1/0', '1/0/1', '0/2/1']);
    expect(usage.packs.isMarked(usage.packs.find(toBytes(p.id)))).toBe(true);
  });

  test('a data blob and a tree with the same bytes are two blobs', async () => {
    const twin: Pack = {
      id: id('pack p'),
      blobs: pack('p', 'A').blobs.map((blob) => ({ ...blob, type: 'data' })),
    };
    const usage = await measure([{ packs: [twin, pack('q', 'A')] }], 'A');
    expect([counts(usage, 'p'), counts(usage, 'q')]).toEqual(['0/0/1', '1/0/0']);
  });

  test('a pack that two index files list counts once, and both files are untidy', async () => {
    const p = pack('p', 'ab');
    const usage = await measure(
      [{ packs: [p] }, { packs: [pack('q', 'c')] }, { packs: [p, pack('r', 'a')] }],
      'abc',
    );
    expect([counts(usage, 'p'), counts(usage, 'r')]).toEqual(['2/0/0', '0/1/0']);
    expect(usage.indexFiles.map((file) => file.untidy)).toEqual([true, false, true]);
    expect(usage.contradictions).toEqual([]);
  });

  test('a pack that two index files describe differently is a contradiction', async () => {
    const usage = await measure([{ packs: [pack('p', 'ab')] }, { packs: [pack('p', 'abc')] }], 'ab');
    expect(usage.contradictions).toEqual([expect.stringContaining(id('pack p'))]);
  });

  test('of several marks the latest counts, one without a time as new', async () => {
    const [p, q] = [pack('p', 'a'), pack('q', 'b')];
    const usage = await measure(
      [
        { packs: [p, q], packsToDelete: [{ ...p, time: '2024-01-02T00:00:00Z' }] },
        {
          packsToDelete: [
            { ...p, time: '2024-01-01T00:00:00Z' },
            { ...q, time: 'soon' },
          ],
        },
      ],
      'a',
    );
    expect(usage.packs.markedAt[usage.packs.find(toBytes(p.id))]).toBe(Date.parse('2024-01-02T00:00:00Z'));
    expect(usage.packs.markedAt[usage.packs.find(toBytes(q.id))]).toBe(Infinity);
  });

  test('a pack that is listed as marked alone, as rustic does, is a marked pack', async () => {
    const [p, q] = [pack('p', 'ab'), pack('q', 'bc')];
    const time = '2024-01-01T00:00:00Z';
    const usage = await measure([{ packsToDelete: [{ ...p, time }] }, { packs: [q] }], 'ab', [], { p });
    const row = usage.packs.find(toBytes(p.id));
    expect([counts(usage, 'p'), counts(usage, 'q')]).toEqual(['1/1/0', '1/0/1']);
    expect([usage.packs.isMarked(row), usage.packs.has(row, INDEXED), usage.packs.indexFile[row]]).toEqual([
      true,
      true,
      0,
    ]);
    expect(usage.packs.indexedSize[row]).toBe(packLength(p.blobs));
  });

  test('a used blob that is in no index file any more is a contradiction', async () => {
    const index = new MemoryIndex();
    index.addPack(pack('gone', 'a'));
    const used = new BitSet(1);
    used.add(0);
    const usage = await measureUsage(index, used, from([]), () => from([]));
    expect(usage.contradictions).toEqual(['1 blobs in use are in no index file any more']);
  });

  test('packs that no index file lists, and packs that the store does not list', async () => {
    const index = new MemoryIndex();
    const json = encodeIndexFile({ packs: [pack('p', 'a')] });
    index.addIndexFile(json, 'index');
    const usage = await measureUsage(index, new BitSet(1), from([{ name: id('orphan'), size: 5 }]), () =>
      from([{ id: id('i'), size: 1, json }]),
    );
    const [orphan, gone] = [usage.packs.find(toBytes(id('orphan'))), usage.packs.find(toBytes(id('pack p')))];
    expect([
      usage.packs.flags[orphan],
      usage.packs.has(gone, LISTED),
      usage.packs.has(gone, INDEXED),
    ]).toEqual([LISTED, false, true]);
  });
});
