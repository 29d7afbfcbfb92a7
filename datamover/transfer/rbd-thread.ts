import { CELL_BYTES } from '../repository/saver/saver.ts';
import { DiffImage } from '../volumes/rbd/diff-image.ts';
import { DiffStream } from '../volumes/rbd/diff-stream.ts';
import { runCellThread } from './cell-thread.ts';
import type { DiffThreadData, DiffImageFacts } from './rbd-backup.ts';

/** A stream of rbd export-diff. */
runCellThread((arena, data, sink) => {
  const { base } = data as DiffThreadData;
  const image = new DiffImage({ cellBytes: CELL_BYTES, sink, ...(base && { base }) });
  const stream = new DiffStream(image);
  return {
    buffer: Buffer.from(arena.memory.buffer, arena.input, arena.inputBytes),
    push: (chunk) => stream.push(chunk),
    end: (): DiffImageFacts => {
      stream.end();
      const facts = image.facts();
      return { ...facts, increment: facts.fromSnap !== undefined };
    },
  };
});
