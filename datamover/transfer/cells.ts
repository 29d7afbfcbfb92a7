import { CELL_BYTES, type CellRun } from '../repository/saver/saver.ts';

/**
 * The cells that a backup of an image has to read so that nothing is missed: every cell that data touches, the last one if
 * it is short (its zero blob has a length of its own), and the first hole, so that the zero blob is in the repository.
 */
export function cellsToRead(imageBytes: number, extents: readonly { offset: number; length: number }[]): CellRun[] {
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
    if (length > 0) add(Math.floor(offset / CELL_BYTES), Math.min(cells, Math.ceil((offset + length) / CELL_BYTES)));
  }
  if (imageBytes % CELL_BYTES !== 0) add(cells - 1, cells);
  return withFirstHole(runs, cells);
}

function withFirstHole(runs: { first: number; count: number }[], cells: number): CellRun[] {
  const first = runs[0];
  if (first === undefined) return cells === 0 ? [] : [{ first: 0, count: 1 }];
  if (first.first > 0) {
    return first.first === 1 ? [{ first: 0, count: first.count + 1 }, ...runs.slice(1)] : [{ first: 0, count: 1 }, ...runs];
  }
  // Runs never touch each other, so the cell behind the first one is a hole if it exists at all.
  if (first.count === cells) return runs;
  const next = runs[1];
  if (next?.first === first.count + 1) return [{ first: 0, count: first.count + 1 + next.count }, ...runs.slice(2)];
  return [{ first: 0, count: first.count + 1 }, ...runs.slice(1)];
}
