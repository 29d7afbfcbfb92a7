import type { MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { Control } from './control.ts';
import type { ReaderMessage, ReaderStart } from './messages.ts';
import { SlabCutter } from './slab-cutter.ts';
import { readInput } from './stream-input.ts';
import { runThread } from './thread-start.ts';

runThread(async ({ arena, control: handle, input, cut }: ReaderStart, port) => {
  const control = new Control(handle);
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
});

function send(port: MessagePort, message: ReaderMessage): void {
  port.postMessage(message);
}
