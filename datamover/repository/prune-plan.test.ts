import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sha256, toBytes } from './id.ts';
import { HAS_DATA, HAS_PLAIN, HAS_TREES, INDEXED, LISTED, PackTable } from './pack-table.ts';
import {
  DEFAULT_PRUNE_OPTIONS,
  parseUnusedLimit,
  unusedAllowance,
  type PruneOptions,
} from './prune-options.ts';
import { decidePrune, type Company, type PruneFacts, type PrunePlan } from './prune-plan.ts';

const MIB = 1024 * 1024;
const HOUR = 3_600_000;
const NOW = Date.parse('2024-06-01T12:00:00Z');

interface Row {
  used?: number;
  duplicate?: number;
  unused?: number;
  kind?: number;
  marked?: number | undefined;
  listed?: boolean;
  indexed?: boolean;
  wrongSize?: boolean;
  file?: number;
}

/** Sizes are MiB. */
function table(rows: Record<string, Row>): PackTable {
  const packs = new PackTable(4);
  for (const [name, row] of Object.entries(rows)) {
    const at = packs.add(toBytes(sha256(Buffer.from(name))));
    const { used = 0, duplicate = 0, unused = 0, kind = HAS_DATA, listed = true, indexed = true } = row;
    const blobs = (size: number): number => (size > 0 ? Math.max(1, Math.round(size)) : 0);
    packs.usedBlobs[at] = blobs(used);
    packs.duplicateBlobs[at] = blobs(duplicate);
    packs.unusedBlobs[at] = blobs(unused);
    packs.usedBytes[at] = used * MIB;
    packs.duplicateBytes[at] = duplicate * MIB;
    packs.unusedBytes[at] = unused * MIB;
    const size = (used + duplicate + unused) * MIB;
    packs.size[at] = listed ? size - (row.wrongSize ? 1 : 0) : 0;
    packs.indexedSize[at] = indexed ? size : 0;
    if (row.marked !== undefined) packs.markedAt[at] = row.marked;
    if (row.marked !== undefined) packs.markFile[at] = 1;
    if (indexed) packs.indexFile[at] = row.file ?? 0;
    packs.set(at, kind | (listed ? LISTED : 0) | (indexed ? INDEXED : 0));
  }
  return packs;
}

const FILES = ['index0', 'index1', 'index2'];

function plan(
  rows: Record<string, Row>,
  company: Company = 'nobody',
  options: Partial<PruneOptions> = {},
  facts: Partial<PruneFacts> = {},
): Record<keyof Omit<PrunePlan, 'statistics' | 'company'>, string[]> & Pick<PrunePlan, 'statistics'> {
  const names = new Map([...Object.keys(rows), ...FILES].map((name) => [sha256(Buffer.from(name)), name]));
  const made = decidePrune(
    {
      packs: table(rows),
      indexFiles: FILES.map((name) => ({ id: sha256(Buffer.from(name)), size: MIB, untidy: false })),
      obstacles: [],
      company,
      oldestLock: company === 'nobody' ? Infinity : NOW - HOUR,
      now: NOW,
      ...facts,
    },
    { ...DEFAULT_PRUNE_OPTIONS, ...options },
  );
  const named = (ids: readonly string[]): string[] => ids.map((id) => names.get(id) ?? id);
  return {
    obstacles: [...made.obstacles],
    repack: named(made.repack),
    remove: named(made.remove),
    mark: named(made.mark),
    unmark: named(made.unmark),
    orphans: named(made.orphans),
    orphansLeft: named(made.orphansLeft),
    vanished: named(made.vanished),
    indexFiles: named(made.indexFiles),
    statistics: made.statistics,
  };
}

const nothing = {
  obstacles: [],
  repack: [],
  remove: [],
  mark: [],
  unmark: [],
  orphans: [],
  orphansLeft: [],
  vanished: [],
  indexFiles: [],
};

describe('a pack without anything in use', () => {
  const rows = { full: { used: 16 }, empty: { unused: 16 } };
  const old = { ...rows, empty: { unused: 16, marked: NOW - 30 * HOUR } };

  test('goes at once when nobody else is there, marked or not, however new the mark is', () => {
    expect(plan(rows)).toMatchObject({ ...nothing, remove: ['empty'], indexFiles: ['index0'] });
    expect(plan({ ...rows, empty: { unused: 16, marked: NOW } })).toMatchObject({
      remove: ['empty'],
      mark: [],
    });
  });

  test.each<Company>(['own', 'foreign'])(
    'is marked beside %s locks, and no index file goes for it',
    (company) => {
      expect(plan(rows, company)).toMatchObject({ ...nothing, mark: ['empty'] });
    },
  );

  test('is swept beside our own backups when the mark is older than the grace and than every lock', () => {
    expect(plan(old, 'own')).toMatchObject({
      ...nothing,
      remove: ['empty'],
      indexFiles: ['index0', 'index1'],
    });
  });

  test('is not swept while a backup runs that began before the mark', () => {
    const oldestLock = NOW - 31 * HOUR;
    expect(plan(old, 'own', {}, { oldestLock })).toMatchObject({ ...nothing });
  });

  test('is not swept within the grace, nor beside foreign locks, nor marked twice', () => {
    expect(plan(old, 'own', { graceMs: 31 * HOUR })).toMatchObject(nothing);
    expect(plan(old, 'foreign')).toMatchObject(nothing);
  });

  test('a mark from the future is not old', () => {
    expect(plan({ ...rows, empty: { unused: 1, marked: NOW + HOUR } }, 'own', { graceMs: 0 })).toMatchObject(
      nothing,
    );
    expect(plan({ ...rows, empty: { unused: 1, marked: Infinity } }, 'own', { graceMs: 0 })).toMatchObject(
      nothing,
    );
  });
});

test('a marked pack that is used again is unmarked, but nothing is taken from the index beside foreign locks', () => {
  const rows = { back: { used: 16, marked: NOW - 99 * HOUR } };
  expect(plan(rows)).toMatchObject({ ...nothing, unmark: ['back'], indexFiles: ['index0', 'index1'] });
  expect(plan(rows, 'own')).toMatchObject({ ...nothing, unmark: ['back'], indexFiles: ['index0', 'index1'] });
  expect(plan(rows, 'foreign')).toMatchObject(nothing);
});

test('orphans go when nobody else is there, else they are left: they may belong to a running backup', () => {
  const rows = { orphan: { indexed: false, unused: 3 } };
  expect(plan(rows)).toMatchObject({ ...nothing, orphans: ['orphan'] });
  expect(plan(rows, 'own')).toMatchObject({ ...nothing, orphansLeft: ['orphan'] });
});

describe('what is missing', () => {
  test('a missing pack that is needed is an obstacle, one that is not leaves the index', () => {
    expect(plan({ lost: { used: 5, listed: false } }).obstacles).toEqual([
      expect.stringMatching(/is missing and holds 5/),
    ]);
    expect(plan({ lost: { unused: 5, listed: false, file: 2 } })).toMatchObject({
      ...nothing,
      vanished: ['lost'],
      indexFiles: ['index2'],
    });
  });

  test('a pack of the wrong size that is needed is an obstacle, one that is not just goes', () => {
    expect(plan({ cut: { used: 5, wrongSize: true } }).obstacles).toEqual([
      expect.stringMatching(/bytes instead of/),
    ]);
    expect(plan({ cut: { unused: 5, wrongSize: true } })).toMatchObject({ remove: ['cut'], obstacles: [] });
  });
});

describe('repacking', () => {
  test('takes the most wasteful packs until the rest is within the limit', () => {
    const rows = {
      good: { used: 160 },
      a: { used: 15, unused: 1 },
      b: { used: 4, duplicate: 6, unused: 6 },
      c: { used: 10, unused: 6 },
    };
    expect(plan(rows, 'nobody', { maxUnused: { percent: 5 } }).repack).toEqual(['b']);
    expect(plan(rows, 'nobody', { maxUnused: { bytes: 0 } }).repack).toEqual(['b', 'c', 'a']);
    expect(plan(rows, 'nobody', { maxUnused: 'unlimited' }).repack).toEqual([]);
    expect(plan(rows, 'nobody', { maxUnused: { bytes: 0 }, maxRepackBytes: 20 * MIB }).repack).toEqual(['b']);
  });

  test('takes trees and mixed packs whatever the limit', () => {
    const rows = {
      trees: { used: 15, unused: 1, kind: HAS_TREES },
      mixed: { used: 16, kind: HAS_TREES | HAS_DATA },
      whole: { used: 16, kind: HAS_TREES },
    };
    expect(plan(rows, 'nobody', { maxUnused: 'unlimited' }).repack).toEqual(['mixed', 'trees']);
  });

  test('takes plain blobs when asked to', () => {
    const rows = { plain: { used: 16, kind: HAS_DATA | HAS_PLAIN }, packed: { used: 16 } };
    expect(plan(rows, 'nobody', { repackUncompressed: true }).repack).toEqual(['plain']);
    expect(plan(rows).repack).toEqual([]);
  });

  test('merges small packs when there are enough of a kind', () => {
    const small = (count: number, row: Row): Record<string, Row> =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`small${row.kind ?? 0}-${i}`, row]));
    const nine = small(9, { used: 1 });
    expect(plan(nine).repack).toEqual([]);
    expect(plan(nine, 'nobody', { smallPacks: 'merge' }).repack).toHaveLength(9);
    expect(
      plan({ ...small(10, { used: 1 }), ...small(9, { used: 1, kind: HAS_TREES }) }).repack,
    ).toHaveLength(10);
    expect(plan(small(20, { used: 1 }), 'nobody', { smallPacks: 'leave' }).repack).toEqual([]);
    // Packs of 10 MiB do not become fewer by merging when each needs most of a pack.
    expect(plan(small(2, { used: 12.5 }), 'nobody', { smallPacks: 'merge' }).repack).toEqual([]);
  });

  test('beside others the emptied packs stay, so the index files that list them stay too', () => {
    const rows = { b: { used: 4, unused: 12, file: 1 } };
    expect(plan(rows)).toMatchObject({ repack: ['b'], indexFiles: ['index1'] });
    expect(plan(rows, 'own')).toMatchObject({ repack: ['b'], indexFiles: [] });
  });
});

test('index files: untidy ones and many small ones are rewritten, but not beside foreign locks', () => {
  const indexFiles = FILES.map((name, i) => ({ id: sha256(Buffer.from(name)), size: MIB, untidy: i === 1 }));
  expect(plan({}, 'nobody', {}, { indexFiles }).indexFiles).toEqual(['index1']);
  expect(plan({}, 'foreign', {}, { indexFiles }).indexFiles).toEqual([]);
  const many = Array.from({ length: 10 }, (_, i) => ({
    id: sha256(Buffer.from([i])),
    size: 1000,
    untidy: false,
  }));
  expect(plan({}, 'nobody', {}, { indexFiles: many }).indexFiles).toHaveLength(10);
  expect(plan({}, 'nobody', {}, { indexFiles: many.slice(1) }).indexFiles).toEqual([]);
});

test('every pack has one fate, and the figures add up', () => {
  const row = fc.record({
    used: fc.nat(3),
    duplicate: fc.nat(3),
    unused: fc.nat(3),
    marked: fc.option(fc.integer({ min: NOW - 99 * HOUR, max: NOW }), { nil: undefined }),
    indexed: fc.boolean(),
    kind: fc.constantFrom(HAS_DATA, HAS_TREES, HAS_DATA | HAS_TREES),
  });
  const rows = fc.array(row, { maxLength: 30 });
  fc.assert(
    fc.property(rows, fc.constantFrom<Company>('nobody', 'own', 'foreign'), (list, company) => {
      const made = plan(Object.fromEntries(list.map((one, i) => [`p${i}`, prune(one)])), company);
      const fates = [
        made.repack,
        made.remove,
        made.mark,
        made.unmark,
        made.orphans,
        made.orphansLeft,
        made.vanished,
      ].flat();
      expect(new Set(fates).size).toBe(fates.length);
      const { statistics } = made;
      const total = list
        .map(prune)
        .reduce((sum, one) => sum + (one.used ?? 0) + (one.duplicate ?? 0) + (one.unused ?? 0), 0);
      expect(statistics.remaining.bytes).toBeCloseTo(
        total * MIB - statistics.removed.bytes + statistics.repack.copied,
      );
      for (const name of [...made.remove, ...made.mark])
        expect(prune(list[Number(name.slice(1))] ?? {}).used ?? 0).toBe(0);
      if (company === 'nobody') expect(statistics.waiting.packs).toBe(0);
      else expect(made.orphans).toEqual([]);
    }),
  );

  /** Orphans hold nothing that is known. */
  function prune(one: Row): Row {
    if (one.indexed === false) return { indexed: false, unused: one.unused ?? 0 };
    return (one.used ?? 0) + (one.duplicate ?? 0) + (one.unused ?? 0) === 0 ? { ...one, unused: 1 } : one;
  }
});

describe('--max-unused', () => {
  test.each([
    ['5%', 95, 5],
    ['50%', 100, 100],
    ['0%', 100, 0],
    ['0', 100, 0],
    ['200', 100, 200],
    ['2k', 100, 2048],
    ['1G', 100, 1024 ** 3],
    ['unlimited', 100, Infinity],
  ])('%s of %d bytes in use allows %d', (text, used, allowed) => {
    expect(unusedAllowance(parseUnusedLimit(text), used)).toBeCloseTo(allowed);
  });

  test.each(['', '100%', '-1', '5 %', '1e3', 'some'])('refuses "%s"', (text) => {
    expect(() => parseUnusedLimit(text)).toThrow(RangeError);
  });
});
