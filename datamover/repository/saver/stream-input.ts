import { readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { isErrno } from '../../errors.ts';
import { waitReadable } from '../../process/readable.ts';
import { start as startProgram } from '../../process/spawn.ts';
import type { Control } from './control.ts';
import type { StreamInput } from './messages.ts';
import { readPort } from './port-input.ts';

/** Where the bytes of a stream go: memory to read them into, and word of how many have come. */
export interface ByteSink {
  /** Never empty; undefined once the job has stopped. */
  space(): Buffer | undefined;
  filled(count: number): void;
}

/** How soon a thread that waits for its input sees that the job has stopped. */
const LOOK_EVERY_MS = 100;

/** Reads a stream to its end, in the thread that calls. `onProducer` is told of the program that it comes from. */
export async function readInput(
  input: StreamInput,
  sink: ByteSink,
  control: Control,
  onProducer: (pid: number) => void,
): Promise<void> {
  if (input.kind === 'fd') readDescriptor(input.fd, sink, control);
  else if (input.kind === 'port') await readPort(input.port, sink, control);
  else await readProgram(input, sink, onProducer);
}

function readDescriptor(fd: number, sink: ByteSink, control: Control): void {
  for (let space = sink.space(); space !== undefined; space = sink.space()) {
    const count = readSome(fd, space, control);
    if (count === 0) return;
    sink.filled(count);
  }
}

/** Waits until there are bytes; 0 at the end of the stream, and once the job has stopped. */
function readSome(fd: number, space: Buffer, control: Control): number {
  for (;;) {
    while (!waitReadable(fd, LOOK_EVERY_MS)) if (control.stopped) return 0;
    try {
      return readSync(fd, space, 0, space.length, null);
    } catch (error) {
      if (isErrno(error, 'EOF')) return 0;
      // Somebody else took them, who reads the same pipe or terminal.
      if (!isErrno(error, 'EAGAIN')) throw error;
      if (control.stopped) return 0;
    }
  }
}

/** Runs the producer in this thread; a backup of it only counts if it ends with status 0. */
async function readProgram(
  { file, args, inheritsSecrets = false }: Extract<StreamInput, { kind: 'command' }>,
  sink: ByteSink,
  onProducer: (pid: number) => void,
): Promise<void> {
  const stop = new AbortController();
  // Also while it is being started.
  parentPort?.once('message', () => stop.abort());
  const { signal } = stop;
  const program = await startProgram({
    file,
    args,
    inheritsSecrets,
    signal,
    operation: 'read the output of',
  });
  onProducer(program.pid);
  // A child of the producer may outlive it and keep the pipe open: nobody waits for that one.
  const leave = (): void => void program.stdout.destroy();
  signal.addEventListener('abort', leave, { once: true });
  if (stop.signal.aborted) leave();
  try {
    for await (const chunk of program.stdout as AsyncIterable<Buffer>) {
      for (let from = 0; from < chunk.length;) {
        const space = sink.space();
        if (space === undefined) return await program.stop();
        const count = chunk.copy(space, 0, from);
        sink.filled(count);
        from += count;
      }
    }
  } catch (error) {
    await program.stop();
    throw error;
  }
  await program.finished;
}
