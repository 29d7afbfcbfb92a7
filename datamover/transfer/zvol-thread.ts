import { CELL_BYTES } from '../repository/saver/saver.ts';
import { SCRATCH_BYTES } from '../volumes/zfs/fletcher4.ts';
import { SendStream } from '../volumes/zfs/send-stream.ts';
import { ZvolImage } from '../volumes/zfs/zvol-image.ts';
import { runCellThread } from './cell-thread.ts';
import type { ZvolImageFacts, ZvolThreadData } from './zvol-backup.ts';

/** A zvol's send stream: its checksum is computed in the shared memory, where the stream is read to. */
runCellThread((arena, data, sink) => {
  const { base } = data as ZvolThreadData;
  const image = new ZvolImage({ cellBytes: CELL_BYTES, sink, ...(base && { base }) });
  const stream = new SendStream(image, { memory: arena.memory, scratch: arena.input });
  const at = arena.input + SCRATCH_BYTES;
  return {
    buffer: Buffer.from(arena.memory.buffer, at, arena.inputBytes - SCRATCH_BYTES),
    push: (chunk) => stream.push(chunk),
    end: (): ZvolImageFacts => {
      stream.end();
      const facts = image.facts();
      return { ...facts, increment: facts.fromGuid !== undefined };
    },
  };
});
