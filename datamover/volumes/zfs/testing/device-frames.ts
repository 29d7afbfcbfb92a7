import type { Readable } from 'node:stream';
import type { ByteRange } from '../../driver.ts';

/** What is asked of the device server: one at a time, each answered by a frame. */
export type DeviceRequest =
  | { readonly do: 'appear'; readonly zvol: string }
  | {
      readonly do: 'open';
      readonly handle: number;
      readonly path: string;
      readonly bytes: number;
      readonly empty: boolean;
    }
  | { readonly do: 'write'; readonly handle: number; readonly position: number }
  | { readonly do: 'zero'; readonly handle: number; readonly position: number; readonly length: number }
  | { readonly do: 'finish' | 'read-back' | 'close'; readonly handle: number }
  | { readonly do: 'ranges'; readonly path: string; readonly ranges: readonly ByteRange[] };

export interface DeviceReply {
  readonly error?: string;
  readonly path?: string;
  readonly startsAsZeros?: boolean;
  readonly more?: boolean;
  readonly lengths?: readonly number[];
}

/** A frame: length of its head (4), length of its payload (4), the head as JSON, the payload. */
export function frame(head: object, payload: Uint8Array = new Uint8Array()): Buffer {
  const json = Buffer.from(JSON.stringify(head));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32LE(json.length, 0);
  lengths.writeUInt32LE(payload.length, 4);
  // Copied: whoever gave the payload may use it again before the pipe has taken it.
  return Buffer.concat([lengths, json, payload]);
}

export async function* readFrames(
  stream: Readable,
): AsyncGenerator<{ readonly head: object; readonly payload: Buffer }> {
  let parts: Buffer[] = [];
  let have = 0;
  let wanted = 8;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    parts.push(chunk);
    have += chunk.length;
    // Put together only when all is there: at each chunk it would cost the square of a large frame.
    while (have >= wanted) {
      const bytes = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
      parts = [bytes];
      const headEnd = 8 + bytes.readUInt32LE(0);
      const length = headEnd + bytes.readUInt32LE(4);
      if (have < length) {
        wanted = length;
        break;
      }
      yield {
        head: JSON.parse(bytes.toString('utf8', 8, headEnd)) as object,
        payload: bytes.subarray(headEnd, length),
      };
      parts = [bytes.subarray(length)];
      have -= length;
      wanted = 8;
    }
  }
}
