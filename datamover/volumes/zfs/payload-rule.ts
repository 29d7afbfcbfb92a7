import { Refusal } from '../refusal.ts';
import { byteOrder, type SendRecord } from './record.ts';

/** The two files that a stream lies in: headers with the payloads of small records, and the blocks of WRITE records. */
export type StreamPart = 'records' | 'blocks';

/** Where the payload of a record lies, and how long it is. */
export interface Payload {
  readonly part: StreamPart;
  readonly bytes: number;
}

/** The file for a record's payload. */
export function partOf({ type }: SendRecord): StreamPart {
  return type === 'WRITE' ? 'blocks' : 'records';
}

const KIND_AT = 0;
const DECLARED_AT = 4;
const OBJECT = 1;
const WRITE = 3;
const SPILL = 7;
const WRITE_EMBEDDED = 8;

/**
 * Tells by a stream's headers alone, one after the other, how long each payload is and in which file it lies: the rule of
 * docs/format.md ("Records and blocks"), no more, so that streams can be put together whatever else their records mean.
 */
export class PayloadRule {
  #little: boolean | undefined;

  /** `at`: where the header begins. @throws Refusal where it is none. */
  next(bytes: DataView, at: number): Payload {
    this.#little ??= byteOrder(bytes, at) === 'little';
    const little = this.#little;
    const length = payloadBytes(bytes, at, little);
    if (!Number.isSafeInteger(length)) throw new Refusal('the length of a payload is impossible');
    return { part: bytes.getUint32(at + KIND_AT, little) === WRITE ? 'blocks' : 'records', bytes: length };
  }
}

function payloadBytes(bytes: DataView, begin: number, little: boolean): number {
  const u32 = (at: number): number => bytes.getUint32(begin + at, little);
  const u64 = (at: number): number => u32(little ? at : at + 4) + u32(little ? at + 4 : at) * 2 ** 32;
  const declared = u32(DECLARED_AT);
  if (declared !== 0) return declared;
  switch (u32(KIND_AT)) {
    case OBJECT:
      return u32(36) !== 0 ? u32(36) : roundUp(u32(28));
    case WRITE:
      return bytes.getUint8(begin + 50) === 0 ? u64(32) : u64(96);
    case SPILL:
      return u64(40) !== 0 ? u64(40) : u64(16);
    case WRITE_EMBEDDED:
      return roundUp(u32(52));
    default:
      return 0;
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}
