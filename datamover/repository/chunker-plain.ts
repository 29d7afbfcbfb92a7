import { degree, modulo, multiplyModulo, type Polynomial } from './polynomial.ts';

/**
 * Restic's content-defined chunker written as its definition reads: the fingerprint of the last 64 bytes is the polynomial of
 * their bits modulo the repository's polynomial, and a chunk ends where its low 20 bits are zero. The slow twin of the WASM form,
 * for tests: about 20 MiB per CPU-second.
 */
export const WINDOW = 64;
export const MIN_CHUNK = 512 * 1024;
export const MAX_CHUNK = 8 * 1024 * 1024;
/** A cut every MiB on average, beyond the minimum. */
export const AVERAGE_BITS = 20;

export interface ChunkLimits {
  readonly min?: number;
  readonly max?: number;
  readonly averageBits?: number;
}

/** The lengths of the chunks of `bytes`, in order. They depend on nothing but the bytes and the polynomial. */
export function chunkLengths(bytes: Uint8Array, polynomial: Polynomial, limits: ChunkLimits = {}): number[] {
  const { min = MIN_CHUNK, max = MAX_CHUNK, averageBits = AVERAGE_BITS } = limits;
  if (min < WINDOW || max < min) throw new RangeError(`no chunker has chunks of ${min} to ${max} bytes`);
  const roll = rollingFingerprint(polynomial, averageBits);
  const lengths: number[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = Math.min(start + max, bytes.length);
    let cut = end;
    // The window fills with the last bytes of the part that is never cut.
    const warmFrom = start + min - WINDOW;
    if (warmFrom + WINDOW <= end) {
      roll.reset();
      for (let at = warmFrom; at < end; at++) {
        const isCut = roll.push(bytes[at] ?? 0);
        if (isCut && at + 1 - start >= min) {
          cut = at + 1;
          break;
        }
      }
    }
    lengths.push(cut - start);
    start = cut;
  }
  return lengths;
}

/** The fingerprint of (at most) the last 64 bytes of a text: its bits as a polynomial, modulo `p`. */
export function fingerprint(text: Uint8Array, p: Polynomial): bigint {
  let value = 0n;
  for (const byte of text.subarray(-WINDOW)) value = (value << 8n) | BigInt(byte);
  return modulo(value, p);
}

interface Rolling {
  reset(): void;
  /** Takes a byte; whether the fingerprint of the window asks for a cut after it. */
  push(byte: number): boolean;
}

/** The same fingerprint byte by byte, in two numbers of at most 27 bits each, for no number of JavaScript holds 53 + 8 bits. */
function rollingFingerprint(p: Polynomial, averageBits: number): Rolling {
  const bits = degree(p);
  if (bits < 48 || bits > 53) throw new RangeError(`a chunker polynomial has degree 53, not ${bits}`);
  const shift = 27;
  const lowMask = (1 << shift) - 1;
  const highBits = bits - shift;
  const split = (value: bigint): [number, number] => [
    Number(value >> BigInt(shift)),
    Number(value & BigInt(lowMask)),
  ];
  // What a byte that leaves the window contributes, and what eight bits above the degree are modulo p.
  const leaving = Array.from({ length: 256 }, (_, b) =>
    split(multiplyModulo(BigInt(b), 1n << BigInt(8 * WINDOW), p)),
  );
  const reduced = Array.from({ length: 256 }, (_, b) => split(modulo(BigInt(b) << BigInt(bits), p)));
  const cutMask = (1 << averageBits) - 1;
  const window = new Uint8Array(WINDOW);
  let [position, high, low] = [0, 0, 0];
  return {
    reset() {
      window.fill(0);
      [position, high, low] = [0, 0, 0];
    },
    push(byte) {
      const out = leaving[window[position] ?? 0] ?? [0, 0];
      window[position] = byte;
      position = (position + 1) % WINDOW;
      const top = high >>> (highBits - 8);
      const over = reduced[top] ?? [0, 0];
      high = (((high << 8) & ((1 << highBits) - 1)) | (low >>> (shift - 8))) ^ over[0] ^ out[0];
      low = (((low << 8) & lowMask) | byte) ^ over[1] ^ out[1];
      return (low & cutMask) === 0;
    },
  };
}
