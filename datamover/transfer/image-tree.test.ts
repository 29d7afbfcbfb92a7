import { describe, expect, test } from '@jest/globals';
import { sha256, toBytes } from '../repository/id.ts';
import { CELL_BYTES, type CellRun } from '../repository/saver/saver.ts';
import { decodeTree } from '../repository/tree.ts';
import { NO_FINGERPRINT } from './fingerprints.ts';
import { ImageTree, zeroBlobId, type TreeSink } from './image-tree.ts';
import { CELLS_PER_SEGMENT, FINGERPRINTS_FILE, SEGMENT_BYTES } from './layout.ts';

const ZERO = zeroBlobId(CELL_BYTES);

function sink(onTree: (bytes: Uint8Array) => void): TreeSink {
  return {
    saveTree: async (bytes) => {
      onTree(bytes);
      return sha256(bytes);
    },
    saveData: async (bytes) => sha256(bytes),
  };
}

interface Segment {
  readonly name: string;
  readonly bytes: number;
  readonly content: readonly string[];
}

/** Builds the tree of an image whose cells `runs` hold `idOf(cell)`, set in a scattered order, and reads it again. */
async function build(
  imageBytes: number,
  runs: readonly CellRun[],
  idOf: (cell: number) => string,
): Promise<{ segments: Segment[]; saved: number }> {
  const trees = new Map<string, Uint8Array>();
  let saved = 0;
  const tree = new ImageTree(
    imageBytes,
    runs,
    sink((bytes) => {
      saved++;
      trees.set(sha256(bytes), bytes);
    }),
  );
  const cells = runs.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
  const stride = 7919;
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[(i * stride) % cells.length] ?? 0;
    tree.set(cell, toBytes(idOf(cell)), NO_FINGERPRINT);
  }
  const load = (id: string | undefined) => decodeTree(trees.get(id ?? '') ?? Buffer.of(), 'tree');
  const segments = load(await tree.finish()).map(({ name, subtree }) => {
    const [data, ...others] = load(subtree);
    expect(others).toEqual([]);
    expect(data?.name).toBe('data');
    return { name, bytes: data?.size ?? 0, content: data?.content ?? [] };
  });
  return { segments, saved };
}

const idOf = (cell: number): string => sha256(Buffer.from(`cell ${cell}`));

describe('ImageTree', () => {
  test('an empty image has no segments', async () => {
    expect((await build(0, [], idOf)).segments).toEqual([]);
  });

  test('a short last cell has its own id, the segment its own size', async () => {
    const bytes = SEGMENT_BYTES + 2 * CELL_BYTES + 100;
    const last = CELLS_PER_SEGMENT + 2;
    const { segments } = await build(
      bytes,
      [
        { first: 3, count: 2 },
        { first: last, count: 1 },
      ],
      idOf,
    );
    expect(segments.map(({ name, bytes }) => ({ name, bytes }))).toEqual([
      { name: '000000', bytes: SEGMENT_BYTES },
      { name: '000001', bytes: 2 * CELL_BYTES + 100 },
    ]);
    expect(segments[0]?.content.length).toBe(CELLS_PER_SEGMENT);
    expect(segments[0]?.content.slice(2, 6)).toEqual([ZERO, idOf(3), idOf(4), ZERO]);
    expect(segments[1]?.content).toEqual([ZERO, ZERO, idOf(last)]);
  });

  test('all whole holes are one tree, saved once; a hole that ends short is its own', async () => {
    const bytes = 50 * SEGMENT_BYTES + 3 * CELL_BYTES;
    const { segments, saved } = await build(bytes, [{ first: 20 * CELLS_PER_SEGMENT, count: 1 }], idOf);
    expect(segments.length).toBe(51);
    expect(segments.at(-1)).toEqual({ name: '000050', bytes: 3 * CELL_BYTES, content: [ZERO, ZERO, ZERO] });
    expect(segments[7]?.content).toEqual(Array.from({ length: CELLS_PER_SEGMENT }, () => ZERO));
    expect(segments[20]?.content[0]).toBe(idOf(20 * CELLS_PER_SEGMENT));
    // The segment with data, the hole, the short hole, the image.
    expect(saved).toBe(4);
  });

  test('segments go out as soon as they are complete, not at the end', async () => {
    let saved = 0;
    const tree = new ImageTree(
      3 * SEGMENT_BYTES,
      [{ first: 0, count: 3 * CELLS_PER_SEGMENT }],
      sink(() => saved++),
    );
    for (let cell = 0; cell < 2 * CELLS_PER_SEGMENT + 5; cell++)
      tree.set(cell, toBytes(idOf(cell)), NO_FINGERPRINT);
    await new Promise(setImmediate);
    expect(saved).toBe(2);
  });

  test('a cell that was to be read and never came is not taken for a hole', async () => {
    const runs = [
      { first: 0, count: 2 },
      { first: CELLS_PER_SEGMENT, count: 1 },
    ];
    for (const came of [[], [0, 1], [0, CELLS_PER_SEGMENT]]) {
      const tree = new ImageTree(
        2 * SEGMENT_BYTES,
        runs,
        sink(() => undefined),
      );
      for (const cell of came) tree.set(cell, toBytes(idOf(cell)), NO_FINGERPRINT);
      await expect(tree.finish()).rejects.toThrow(/cells of segment [01] never came/);
    }
  });

  test('a tree that cannot be saved fails the image', async () => {
    const tree = new ImageTree(
      CELL_BYTES,
      [{ first: 0, count: 1 }],
      sink(() => {
        throw new Error('the store is full');
      }),
    );
    tree.set(0, toBytes(idOf(0)), NO_FINGERPRINT);
    await expect(tree.finish()).rejects.toThrow('the store is full');
  });

  test('F-54 fingerprints lie beside the blobs of their segment, and nowhere else', async () => {
    const trees = new Map<string, Uint8Array>();
    const data = new Map<string, Uint8Array>();
    const store = (into: Map<string, Uint8Array>) => async (bytes: Uint8Array) => {
      into.set(sha256(bytes), bytes);
      return sha256(bytes);
    };
    const sinks = { saveTree: store(trees), saveData: store(data) };
    const tree = new ImageTree(3 * SEGMENT_BYTES, [{ first: CELLS_PER_SEGMENT + 2, count: 2 }], sinks);
    tree.set(CELLS_PER_SEGMENT + 3, toBytes(idOf(3)), NO_FINGERPRINT);
    tree.set(CELLS_PER_SEGMENT + 2, toBytes(idOf(2)), Buffer.alloc(16, 7));
    const load = (id: string | undefined) => decodeTree(trees.get(id ?? '') ?? Buffer.of(), 'tree');
    const folders = load(await tree.finish()).map(({ subtree }) => load(subtree));
    expect(folders.map((nodes) => nodes.map(({ name }) => name))).toEqual([
      ['data'],
      ['data', FINGERPRINTS_FILE],
      ['data'],
    ]);
    const file = folders[1]?.[1];
    const expected = Buffer.alloc(16 * CELLS_PER_SEGMENT);
    expected.fill(7, 32, 48);
    expect(file?.size).toBe(expected.length);
    expect(data.get(file?.content?.[0] ?? '')).toEqual(expected);
  });
});
