import { createHash } from 'node:crypto';
import type { Id } from './types.ts';

/** Bytes of a raw id. */
export const ID_LENGTH = 32;

const HEX_ID = /^[0-9a-f]{64}$/;

export function isId(text: unknown): text is Id {
  return typeof text === 'string' && HEX_ID.test(text);
}

/** SHA-256 as an id. `bytes` may lie in shared memory. */
export function sha256(bytes: Uint8Array): Id {
  return createHash('sha256').update(bytes).digest('hex');
}

/** SHA-256 as 32 raw bytes, for hot paths. */
export function digest(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash('sha256').update(bytes).digest());
}

/** The 32 bytes of an id. `id` must be one (`isId`): anything from outside is checked where it is read. */
export function toBytes(id: Id): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ID_LENGTH);
  if (Buffer.from(bytes.buffer).write(id, 'hex') !== ID_LENGTH || id.length !== 2 * ID_LENGTH) {
    throw new RangeError(`not an id: ${id.slice(0, 80)}`);
  }
  return bytes;
}

export function fromBytes(bytes: Uint8Array): Id {
  if (bytes.length !== ID_LENGTH) throw new RangeError(`an id has 32 bytes, not ${bytes.length}`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, ID_LENGTH).toString('hex');
}

/** The first eight digits, as restic prints ids for people. */
export function shortId(id: Id): string {
  return id.slice(0, 8);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
