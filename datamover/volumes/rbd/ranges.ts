import { start } from '../../process/spawn.ts';
import type { ByteRange, RangeContent } from '../driver.ts';
import type { RbdConnection } from './command.ts';
import type { PinnedSnap } from './export-job.ts';
import { formatImageName } from './image-name.ts';
import { libraryCommand } from './library-command.ts';

/** What ranges-main.ts reads from. Plain JSON: it travels as an argument. */
export interface RangesJob {
  readonly connection: RbdConnection;
  readonly source: PinnedSnap;
}

/**
 * Reads ranges of a snap, in their order, by librbd in a process of its own: no `rbd` command reads at random, and what else
 * does (qemu-nbd) is more to install. Ranges that reach beyond the image's end are cut there.
 */
export async function* readSnapRanges(
  job: RangesJob,
  imageBytes: number,
  ranges: readonly ByteRange[],
  signal?: AbortSignal,
): AsyncGenerator<RangeContent> {
  const wanted = ranges.map(({ offset, length }) => ({
    offset,
    length: Math.max(0, Math.min(length, imageBytes - offset)),
  }));
  const command = libraryCommand(job.connection, 'ranges-main', [JSON.stringify(job)]);
  const running = await start({
    ...command,
    input: JSON.stringify(wanted),
    operation: 'read parts of rbd image',
    subject: formatImageName(job.source.name),
    ...(signal && { signal }),
  });
  const chunks = (running.stdout as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let chunk: Buffer = Buffer.alloc(0);
  try {
    for (const { offset, length } of wanted) {
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length;) {
        const count = chunk.copy(bytes, done);
        chunk = chunk.subarray(count);
        done += count;
        if (done === length) break;
        const next = await chunks.next();
        if (next.done === true) {
          await running.finished;
          throw new Error('the reader ended early');
        }
        chunk = next.value;
      }
      yield { offset, bytes };
    }
    await running.finished;
  } finally {
    await running.stop();
  }
}
