import type { DiffHandler, DiffHeader } from '../diff-format.ts';

/** A plain image in memory that diffs are applied to: the plainest reading of what a diff means. */
export class Twin implements DiffHandler {
  bytes: Buffer = Buffer.alloc(0);
  header: DiffHeader | undefined;
  ended = false;
  /** Bytes of the extents of the last diff. */
  written = 0;
  zeroed = 0;

  begin(header: DiffHeader): void {
    this.header = header;
    this.ended = false;
    this.written = this.zeroed = 0;
    if (this.bytes.length === header.bytes) return;
    const resized = Buffer.alloc(header.bytes);
    this.bytes.copy(resized);
    this.bytes = resized;
  }

  write(_offset: number, length: number): void {
    this.written += length;
  }

  data(offset: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, offset);
  }

  zero(offset: number, length: number): void {
    this.zeroed += length;
    this.bytes.fill(0, offset, offset + length);
  }

  end(): void {
    this.ended = true;
  }
}
