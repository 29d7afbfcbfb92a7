import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  compress,
  compressBlob,
  compressBound,
  decompress,
  decompressBlob,
  MAX_UNCOMPRESSED,
} from './compression.ts';
import { decodeConfig, encodeConfig, newConfig } from './config.ts';
import { parseDocument } from './document.ts';
import { digest, fromBytes, isId, sha256, toBytes } from './id.ts';
import { decodeNodeName, decodeTree, encodeFileTree, encodeTree, fileNode, folderNode } from './tree.ts';
import { decodeSnapshot, encodeSnapshot, rewriteSnapshot, type Snapshot } from './snapshot.ts';
import { compareTimes, epochMilliseconds, parseTime } from './time.ts';
import { decodeUnpacked, encodeUnpacked } from './unpacked.ts';

const bytes = (value: unknown): Uint8Array =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const ID = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);

describe('ids', () => {
  test('are SHA-256 as hex and as bytes', () => {
    const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    expect(sha256(new Uint8Array(0))).toBe(empty);
    expect(fromBytes(digest(new Uint8Array(0)))).toBe(empty);
    expect(fromBytes(toBytes(empty))).toBe(empty);
  });

  test('refuse what is none', () => {
    for (const text of ['', 'ab', ID.toUpperCase(), `${ID}0`, `${ID.slice(1)}g`, 7, null])
      expect(isId(text)).toBe(false);
    for (const text of ['', 'ab', `${ID}00`, `${ID.slice(2)}zz`])
      expect(() => toBytes(text)).toThrow('not an id');
    expect(() => fromBytes(new Uint8Array(31))).toThrow('32 bytes');
  });
});

describe('compression', () => {
  test('comes back, at every level, for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.constantFrom(1, 2, 9), (plain, level) => {
        const packed = compress(plain, level);
        expect(packed.length).toBeLessThanOrEqual(compressBound(plain.length));
        expect(decompress(packed, 'x', plain.length)).toEqual(Buffer.from(plain));
      }),
    );
  });

  test('stores plain what does not shrink, and with `off` everything', () => {
    expect(compressBlob(Buffer.from('short'), 'auto')).toBeUndefined();
    expect(compressBlob(new Uint8Array(0), 'max')).toBeUndefined();
    expect(compressBlob(new Uint8Array(1000), 'off')).toBeUndefined();
    const packed = compressBlob(new Uint8Array(1000), 'auto');
    expect(packed?.length).toBeLessThan(50);
    expect(decompressBlob(packed ?? new Uint8Array(0), 1000)).toEqual(Buffer.alloc(1000));
  });

  test('F-17 a declared length is the limit, whatever the frame holds or says', () => {
    const bomb = compress(new Uint8Array(5_000_000), 1);
    expect(() => decompress(bomb, 'blob 1234', 1000)).toThrow(/^decompress blob 1234: /);
    expect(() => decompress(bomb, 'x', 5_000_001)).toThrow(
      '5000000 bytes after decompression where 5000001 were declared',
    );
    expect(() => decompress(bomb, 'x', MAX_UNCOMPRESSED + 1)).toThrow('beyond the limit');
    expect(() => decompress(bomb.subarray(0, bomb.length - 3), 'x', 5_000_000)).toThrow(/^decompress x: /);
    expect(() => decompress(Buffer.from('no zstd at all'), 'x', 5)).toThrow(/^decompress x: /);
    expect(() => decompress(new Uint8Array(0), 'x', 5)).toThrow(/^decompress x: /);
  });
});

describe('unpacked files', () => {
  const json = bytes({ packs: [] });

  test('F-09 are the JSON itself in version 1, and byte 2 with a zstd frame in version 2', () => {
    expect(encodeUnpacked(json, 1)).toEqual(json);
    const encoded = encodeUnpacked(json, 2);
    expect(encoded[0]).toBe(2);
    expect(Buffer.from(decompress(encoded.subarray(1), 'x')).equals(json)).toBe(true);
  });

  test('F-09 are read in either form whatever the version, and refused in any other', () => {
    for (const version of [1, 2] as const) {
      expect(Buffer.from(decodeUnpacked(encodeUnpacked(json, version), 'x')).equals(json)).toBe(true);
    }
    expect(Buffer.from(decodeUnpacked(bytes('[]'), 'x')).toString()).toBe('[]');
    expect(() => decodeUnpacked(Uint8Array.of(3, 1, 2), 'index file 12345678')).toThrow(
      /^read index file 12345678: its encoding 3 is unknown/,
    );
  });
});

describe('config', () => {
  test('goes out and comes back, with an id and a polynomial of its own', () => {
    const [one, two] = [newConfig(), newConfig()];
    expect(decodeConfig(encodeConfig(one), 'config')).toEqual(one);
    expect(one.version).toBe(2);
    expect(one.id).not.toBe(two.id);
    expect(one.chunker_polynomial).not.toBe(two.chunker_polynomial);
  });

  test('F-32 takes no polynomial but an irreducible one of degree 53', () => {
    expect(newConfig(2, '25b468838dcb75').chunker_polynomial).toBe('25b468838dcb75');
    for (const bad of ['25b468838dcb74', '0', 'xyz', '11', '-25b468838dcb75', 'ffffffffffffffffff']) {
      expect(() => newConfig(2, bad)).toThrow('not an irreducible polynomial');
      expect(() =>
        decodeConfig(bytes({ version: 2, id: ID, chunker_polynomial: bad }), 'config of x'),
      ).toThrow('read config of x: field chunker_polynomial');
    }
  });

  test('F-03 of a later version is refused in a sentence', () => {
    expect(() => decodeConfig(bytes({ version: 3 }), '/srv/repo')).toThrow(
      'open repository /srv/repo: it has format version 3, this program knows 1 and 2 (use a newer datamover)',
    );
  });

  test.each([
    ['{'],
    ['[]'],
    ['null'],
    ['{"version":"2"}'],
    ['{"version":2,"chunker_polynomial":"25b468838dcb75"}'],
    [''],
  ])('refuses %s', (text) => {
    expect(() => decodeConfig(bytes(text), 'config')).toThrow(/^read config: /);
  });
});

test('a document is never quoted in an error', () => {
  expect(() => parseDocument(bytes('{"secret":"geheim" oops'), 'key 1234')).toThrow(
    /^(?!.*geheim).*not a JSON document/,
  );
  expect(() => parseDocument(Uint8Array.of(0x7b, 0xff, 0x7d), 'x')).toThrow('not a JSON document');
});

describe('times', () => {
  test('are read to the nanosecond, with any offset', () => {
    expect(parseTime('1970-01-01T00:00:00Z')).toBe(0n);
    expect(parseTime('2015-01-02T18:10:50.895208559+01:00')).toBe(1420218650895208559n);
    expect(parseTime('2026-11-20T00:00:00.5-05:30')).toBe(
      BigInt(Date.parse('2026-11-20T05:30:00.500Z')) * 1_000_000n,
    );
    expect(parseTime('0001-01-01T00:00:00Z')).toBe(-62135596800n * 1_000_000_000n);
    expect(epochMilliseconds('1969-12-31T23:59:59.9999Z')).toBe(-1);
  });

  test.each([
    '',
    'yesterday',
    '2026-02-30T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01 00:00:00Z',
    '2026-01-01T00:00:00',
  ])('are none: %s', (text) => {
    expect(parseTime(text)).toBeUndefined();
    expect(epochMilliseconds(text)).toBeNaN();
  });

  test('agree with Date for every millisecond that it knows', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), max: new Date('9999-01-01'), noInvalidDate: true }), (date) => {
        expect(epochMilliseconds(date.toISOString())).toBe(date.getTime());
      }),
    );
  });

  test('order by moment, not by text', () => {
    const sorted = [
      '2026-01-01T02:00:00+02:00',
      '2026-01-01T00:00:00.000000001Z',
      '2025-12-31T23:59:00Z',
    ].sort(compareTimes);
    expect(sorted).toEqual([
      '2025-12-31T23:59:00Z',
      '2026-01-01T02:00:00+02:00',
      '2026-01-01T00:00:00.000000001Z',
    ]);
    expect(compareTimes('2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z')).toBe(0);
  });
});

describe('snapshots', () => {
  const snapshot: Snapshot = {
    time: '2026-11-20T12:00:00.123456789+01:00',
    tree: ID,
    paths: ['/ns/pvc'],
    tags: ['a'],
  };

  test('F-20 keep every field that we do not know, and time to the nanosecond', () => {
    const stored = { ...snapshot, label: 'rustic', delete: 'Never', nested: { deep: [1, null] } };
    const again = decodeSnapshot(bytes(stored), 'snapshot');
    const rewritten: unknown = JSON.parse(Buffer.from(encodeSnapshot({ ...again, tags: ['b'] })).toString());
    expect(rewritten).toEqual({ ...stored, tags: ['b'] });
  });

  test('F-21 name the first of their line as `original`, for ever', () => {
    const once = rewriteSnapshot(OTHER, snapshot, { tags: ['b'] });
    expect(once).toEqual({ ...snapshot, tags: ['b'], original: OTHER });
    expect(rewriteSnapshot(ID, once, { tags: [] }).original).toBe(OTHER);
  });

  test('are written without empty lists, as restic does', () => {
    const text = Buffer.from(encodeSnapshot({ ...snapshot, tags: [], excludes: [] })).toString();
    expect(text).toBe(`{"time":"${snapshot.time}","tree":"${ID}","paths":["/ns/pvc"]}`);
  });

  test('are read with nulls where Go writes them', () => {
    const read = decodeSnapshot(
      bytes({ time: snapshot.time, tree: ID, paths: null, tags: null, parent: null }),
      'x',
    );
    expect(read).toEqual({ time: snapshot.time, tree: ID, paths: [] });
  });

  test.each([
    ['tree', { tree: 'abc' }],
    ['tree', { tree: undefined }],
    ['time', { time: 'noon' }],
    ['time', { time: 12 }],
    ['paths', { paths: '/x' }],
    ['paths', { paths: [1] }],
    ['tags', { tags: [{}] }],
    ['hostname', { hostname: 7 }],
    ['uid', { uid: -1 }],
    ['parent', { parent: 'x' }],
    ['original', { original: 1 }],
  ])('F-33 a bad %s is named with the file', (field, change) => {
    expect(() => decodeSnapshot(bytes({ ...snapshot, ...change }), 'snapshot 1a2b3c4d')).toThrow(
      new RegExp(`^read snapshot 1a2b3c4d: field ${field} `),
    );
  });
});

describe('trees', () => {
  test("F-22 have sorted names and restic's fields in restic's order", () => {
    const text = Buffer.from(
      encodeTree([fileNode('volume.json', 0, []), folderNode('image', ID)]),
    ).toString();
    const fixed =
      '"mtime":"1970-01-01T00:00:00Z","atime":"1970-01-01T00:00:00Z","ctime":"1970-01-01T00:00:00Z","uid":0,"gid":0';
    expect(text).toBe(
      `{"nodes":[{"name":"image","type":"dir","mode":2147484096,${fixed},"content":null,"subtree":"${ID}"},` +
        `{"name":"volume.json","type":"file","mode":384,${fixed},"links":1,"content":[]}]}\n`,
    );
  });

  test('F-22 the same content gives the same blob, in whatever order it came', () => {
    const [a, b] = [fileNode('a', 5, [ID]), fileNode('b', 6, [OTHER])];
    expect(encodeTree([a, b])).toEqual(encodeTree([b, a]));
    for (const count of [0, 1, 2, 5000]) {
      const ids = Array.from({ length: count }, (_, i) => sha256(Buffer.from(String(i))));
      const raw = ids.map((id) => Buffer.from(id, 'hex'));
      const expected = encodeTree([fileNode('send', count * 3, ids)]);
      expect(Buffer.compare(encodeFileTree('send', count * 3, raw), expected)).toBe(0);
    }
  });

  test('come back', () => {
    const nodes = [folderNode('image', OTHER), fileNode('volume.json', 12, [ID, OTHER])];
    const decoded = decodeTree(encodeTree(nodes), 'tree');
    expect(
      decoded.map(({ mtime, ...node }) => ({ ...node, known: mtime === '1970-01-01T00:00:00Z' })),
    ).toEqual(nodes.map((node) => ({ ...node, known: true })));
  });

  test.each(['', '.', '..', 'a/b', 'a b', 'ü', 'a"b'])('are not written with a node named %j', (name) => {
    expect(() => encodeTree([fileNode(name, 0, [])])).toThrow('not a name');
  });

  test('are not written with one name twice', () => {
    expect(() => encodeTree([fileNode('a', 0, []), folderNode('a', ID)])).toThrow('two nodes');
  });

  test.each(['', '.', '..', '../x', '/etc', 'a\\x00b', '..\\x2fx'])(
    'F-23 are refused with a node named %j',
    (name) => {
      const json = bytes({ nodes: [{ name, type: 'file', content: [] }] });
      expect(() => decodeTree(json, 'tree 1')).toThrow('node 0 has a name that no folder can hold');
    },
  );

  test.each([
    [{ nodes: [{ name: 'a', type: 'dir' }] }, 'subtree'],
    [{ nodes: [{ name: 'a', type: 'file', content: ['x'] }] }, 'content'],
    [{ nodes: [{ name: 'a', type: 'file', content: [], size: -1 }] }, 'size'],
    [{ nodes: [{ type: 'file' }] }, 'name'],
    [{ nodes: [7] }, 'node 0'],
    [{ nodes: 7 }, 'nodes'],
  ])('F-33 %j is refused for its %s', (tree, what) => {
    expect(() => decodeTree(bytes(tree), 'tree 1234')).toThrow(new RegExp(`^read tree 1234: .*${what}`));
  });

  test('names are read as Go quotes them', () => {
    expect(decodeNodeName('plain')).toBe('plain');
    expect(decodeNodeName('a\\"b\\\\c\\td\\u00fc\\U0001f600\\xff')).toBe('a"b\\c\tdü😀ÿ');
  });
});
