import { parentPort, type MessagePort } from 'node:worker_threads';
import { DatamoverError } from '../../errors.ts';
import type { Control } from './control.ts';
import { release } from './pack-slot.ts';
import type { ByteSink } from './stream-input.ts';

/** What comes through the port of a stream that this process makes: one message for each that is asked for. */
export type PortMessage =
  | { readonly kind: 'chunk'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'end' }
  | { readonly kind: 'failed'; readonly operation: string; readonly cause: string };

/** Reads what the producer gives, in the thread that calls. A producer that goes away before its end fails the stream. */
export async function readPort(port: MessagePort, sink: ByteSink, control: Control): Promise<void> {
  const stop = (): void => port.close();
  parentPort?.once('message', stop);
  try {
    for (let message = await ask(port); message?.kind !== 'end'; message = await ask(port)) {
      if (control.stopped) return;
      if (message === undefined)
        throw new DatamoverError({ operation: 'read the stream', cause: 'its producer is gone' });
      if (message.kind === 'failed') throw new DatamoverError(message);
      const { bytes } = message;
      for (let from = 0; from < bytes.length;) {
        const space = sink.space();
        if (space === undefined) return;
        const part = bytes.subarray(from, from + space.length);
        space.set(part);
        sink.filled(part.length);
        from += part.length;
      }
      release(bytes);
    }
  } finally {
    parentPort?.off('message', stop);
    port.close();
  }
}

/** Undefined once the port is closed. */
function ask(port: MessagePort): Promise<PortMessage | undefined> {
  return new Promise((resolve) => {
    const onMessage = (message: PortMessage): void => {
      port.off('close', onClose);
      resolve(message);
    };
    const onClose = (): void => {
      port.off('message', onMessage);
      resolve(undefined);
    };
    port.once('message', onMessage);
    port.once('close', onClose);
    port.postMessage('more');
  });
}
