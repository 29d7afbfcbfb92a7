import { start } from '../../../process/spawn.ts';
import type { DiffHandler } from '../diff-format.ts';
import { DiffStream } from '../diff-stream.ts';
import { exportCommand, type ExportJob } from '../export-job.ts';

export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Awaited after each chunk of the stream. */
  readonly drained?: () => Promise<void>;
}

/** Runs a job's program as a backup does and tells the handler what it prints; it counts if the program ended well. */
export async function readJob(
  job: ExportJob,
  handler: DiffHandler,
  { signal, drained }: ReadOptions = {},
): Promise<void> {
  const running = await start({ ...exportCommand(job), ...(signal && { signal }) });
  const stream = new DiffStream(handler);
  try {
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) {
      stream.push(chunk);
      await drained?.();
    }
    await running.finished;
    stream.end();
  } finally {
    await running.stop();
  }
}
