import { readSync } from 'node:fs';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { describeCause, isErrno } from '../../errors.ts';
import { start as startProgram } from '../../process/spawn.ts';
import { Control } from './control.ts';
import type { ReaderMessage, ReaderStart } from './messages.ts';
import { SlabCutter } from './slab-cutter.ts';

const { arena, control: controlHandle, input, cut } = workerData as ReaderStart;
const control = new Control(controlHandle);
const pause = new Int32Array(new SharedArrayBuffer(4));

async function main(port: MessagePort): Promise<void> {
  try {
    const cutter = new SlabCutter(arena, control, cut);
    if (input.kind === 'fd') readDescriptor(input.fd, cutter);
    else await readProgram(input.file, input.args, cutter);
    if (control.stopped) return;
    cutter.end();
    send(port, { kind: 'end', bytes: cutter.bytes, blobs: cutter.blobs });
  } catch (error) {
    control.stop();
    send(port, { kind: 'failed', operation: 'read the stream', cause: describeCause(error) });
  }
}

function readDescriptor(fd: number, cutter: SlabCutter): void {
  for (let space = cutter.space(); space !== undefined; space = cutter.space()) {
    const count = readSome(fd, space);
    if (count === 0) return;
    cutter.filled(count);
  }
}

/** Blocks until there are bytes; 0 at the end of the stream. */
function readSome(fd: number, space: Buffer): number {
  for (;;) {
    try {
      return readSync(fd, space, 0, space.length, null);
    } catch (error) {
      if (isErrno(error, 'EOF')) return 0;
      if (!isErrno(error, 'EAGAIN')) throw error;
      // A pipe that somebody made non-blocking: there is nothing to wait on but time.
      if (control.stopped) return 0;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}

/** Runs the producer in this thread; a backup of it only counts if it ends with status 0. */
async function readProgram(file: string, args: readonly string[], cutter: SlabCutter): Promise<void> {
  const program = await startProgram({ file, args, operation: 'read the output of' });
  if (parentPort) send(parentPort, { kind: 'producer', pid: program.pid });
  parentPort?.once('message', () => void program.stop());
  for await (const chunk of program.stdout as AsyncIterable<Buffer>) {
    for (let from = 0; from < chunk.length;) {
      const space = cutter.space();
      if (space === undefined) return program.stop();
      const count = chunk.copy(space, 0, from);
      cutter.filled(count);
      from += count;
    }
  }
  await program.finished;
}

function send(port: MessagePort, message: ReaderMessage): void {
  port.postMessage(message);
}

if (parentPort) {
  const port = parentPort;
  void main(port).finally(() => port.close());
}
