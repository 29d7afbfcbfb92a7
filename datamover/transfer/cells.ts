import { CELL_BYTES, type CellRun } from '../repository/saver/saver.ts';

/**
 * The cells that a backup of an image has to read so that nothing is missed: every cell that data touches, and the last one
 * if it is short (its zero blob has a length of its own). All others are holes and read as the zero blob.
 */
export function cellsToRead(
  imageBytes: number,
  extents: readonly { offset: number; length: number }[],
): CellRun[] {
  const cells = Math.ceil(imageBytes / CELL_BYTES);
  const runs: { first: number; count: number }[] = [];
  const add = (first: number, end: number): void => {
    const last = runs.at(-1);
    const from = last ? Math.max(first, last.first + last.count) : first;
    if (from >= end) return;
    if (last && from === last.first + last.count) last.count += end - from;
    else runs.push({ first: from, count: end - from });
  };
  for (const { offset, length } of extents) {
    if (length > 0)
      add(Math.floor(offset / CELL_BYTES), Math.min(cells, Math.ceil((offset + length) / CELL_BYTES)));
  }
  if (imageBytes % CELL_BYTES !== 0) add(cells - 1, cells);
  return runs;
}
