import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { Control } from './control.ts';
import type { ReaderMessage, ReaderStart } from './messages.ts';
import { SlabCutter } from './slab-cutter.ts';
import { readInput } from './stream-input.ts';

const { arena, control: controlHandle, input, cut } = workerData as ReaderStart;
const control = new Control(controlHandle);

async function main(port: MessagePort): Promise<void> {
  try {
    const cutter = new SlabCutter(arena, control, cut);
    await readInput(input, cutter, control, (pid) => send(port, { kind: 'producer', pid }));
    if (control.stopped) return;
    cutter.end();
    send(port, { kind: 'end', bytes: cutter.bytes, blobs: cutter.blobs });
  } catch (error) {
    control.stop();
    send(port, { kind: 'failed', operation: 'read the stream', cause: describeCause(error) });
  }
}

function send(port: MessagePort, message: ReaderMessage): void {
  port.postMessage(message);
}

if (parentPort) {
  const port = parentPort;
  void main(port).finally(() => port.close());
}
