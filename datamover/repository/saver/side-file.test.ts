import { expect, test } from '@jest/globals';
import { noise } from '../testing/bytes.ts';
import { CELL_BYTES, layoutArena, SIDE_PLACES } from './arena.ts';
import { Control } from './control.ts';
import { SideFile } from './side-file.ts';

test('parts of any length become blobs of 1 MiB at places of their own, in slabs that the stream has not', () => {
  const arena = layoutArena({ workers: 1, packSlots: 1, input: 'watched' });
  const memory = Buffer.from(arena.memory.buffer);
  const control = new Control();
  const file = new SideFile(arena, control);
  const content = noise('records', 3 * CELL_BYTES + 77);
  const blobs: Buffer[] = [];
  const takeAll = (): void => {
    for (let blob = control.pop({ wait: false }); blob !== undefined; blob = control.pop({ wait: false })) {
      expect(blob.sequence).toBe(SIDE_PLACES + blobs.length);
      expect(blob.slab).toBeGreaterThanOrEqual(arena.slabs.length);
      blobs.push(Buffer.from(memory.subarray(blob.address, blob.address + blob.length)));
      control.releaseSlab(blob.slab);
    }
  };
  for (const [from, to] of [
    [0, 312],
    [312, CELL_BYTES + 10],
    [CELL_BYTES + 10, 2 * CELL_BYTES],
    [2 * CELL_BYTES, content.length],
  ] as const) {
    file.add(content.subarray(from, to));
    takeAll();
  }
  file.end();
  takeAll();
  expect(blobs.map(({ length }) => length)).toEqual([CELL_BYTES, CELL_BYTES, CELL_BYTES, 77]);
  expect(Buffer.concat(blobs).equals(content)).toBe(true);
  expect([file.bytes, file.blobs, control.counted('read')]).toEqual([content.length, 4, content.length]);
});

test('nothing waits for workers of a job that has stopped', () => {
  const control = new Control();
  const file = new SideFile(layoutArena({ workers: 1, packSlots: 1, input: 'watched' }), control);
  file.add(new Uint8Array(CELL_BYTES));
  file.add(new Uint8Array(CELL_BYTES));
  control.stop();
  file.add(new Uint8Array(CELL_BYTES));
  expect(file.blobs).toBe(2);
});
