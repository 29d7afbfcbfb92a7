import { closeSync, writev } from 'node:fs';

/** So much is gathered before it is written. */
const BATCH_BYTES = 1 << 20;

/** Writes parts to a pipe in large pieces, in a thread of libuv's pool: a reader that is slow holds nothing else up. */
export class PipeWriter {
  readonly fd: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #open = true;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Keeps the part until it is written: it must not be reused. */
  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.#bytes += part.length;
  }

  /** Writes what was added if it is much. */
  async drain(): Promise<void> {
    if (this.#bytes >= BATCH_BYTES) await this.flush();
  }

  /** Resolves when the part may be reused. */
  async write(part: Uint8Array): Promise<void> {
    this.add(part);
    await this.flush();
  }

  async flush(): Promise<void> {
    let parts: readonly Uint8Array[] = this.#parts;
    this.#parts = [];
    this.#bytes = 0;
    // writev(2) takes 1024 parts at a time, and may write less than all of them.
    while (parts.length > 0) parts = after(parts, await this.#some(parts.slice(0, 1024)));
  }

  /** The reader finds the end of the stream. */
  close(): void {
    if (this.#open) closeSync(this.fd);
    this.#open = false;
  }

  async #some(parts: Uint8Array[]): Promise<number> {
    return new Promise((resolve, reject) => {
      writev(this.fd, parts, (error, written) => (error === null ? resolve(written) : reject(error)));
    });
  }
}

/** What is left of the parts when so many bytes of them are written. */
export function after(parts: readonly Uint8Array[], written: number): Uint8Array[] {
  let rest = written;
  let first = 0;
  for (; first < parts.length; first++) {
    const { length } = parts[first] ?? { length: 0 };
    if (rest < length) break;
    rest -= length;
  }
  const [part, ...others] = parts.slice(first);
  return part === undefined ? [] : [part.subarray(rest), ...others];
}
