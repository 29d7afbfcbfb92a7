import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import type { StreamInput } from './messages.ts';
import type { PortMessage } from './port-input.ts';

/**
 * Gives a stream that this process makes to the thread that saves it: the next chunk is made while the thread takes the one before,
 * and no more. What fails here fails the save; `failure` is then the reason.
 */
export class StreamProducer {
  readonly input: StreamInput;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #port: MessagePort;
  #next: Promise<PortMessage>;
  #failure: unknown;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    const { port1, port2 } = new MessageChannel();
    this.input = { kind: 'port', port: port2 };
    this.#port = port1;
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#next = this.#make();
    port1.on('message', () => void this.#give());
  }

  /** Undefined unless the stream could not be made. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Stops the making, which need not be at its end. */
  async close(): Promise<void> {
    this.#port.close();
    await this.#next;
    await this.#chunks.return?.();
  }

  async #give(): Promise<void> {
    const message = await this.#next;
    if (message.kind === 'chunk') {
      this.#port.postMessage(message, [message.bytes.buffer]);
      this.#next = this.#make();
    } else this.#port.postMessage(message);
  }

  async #make(): Promise<PortMessage> {
    try {
      const next = await this.#chunks.next();
      if (next.done === true) return { kind: 'end' };
      const { value } = next;
      // Of a larger buffer only this part may go.
      return { kind: 'chunk', bytes: isWhole(value) ? value : Uint8Array.from(value) };
    } catch (error) {
      this.#failure = error;
      return { kind: 'failed', operation: 'make the stream', cause: describeCause(error) };
    }
  }
}

function isWhole(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength;
}
