import { createCipheriv, createHash } from 'node:crypto';

/** Bytes that no compressor shrinks, the same for the same seed: AES-256-CTR's key stream. About 3 GiB per CPU-second. */
export function noise(seed: string | number, length: number): Buffer {
  const key = createHash('sha256').update(`noise ${seed}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** Text that shrinks to a little more than half. */
export function prose(seed: string | number, length: number): Buffer {
  return Buffer.from(noise(`prose ${seed}`, Math.ceil(length / 2)).toString('hex')).subarray(0, length);
}

export interface Random {
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number;
}

/** A small seeded generator (xorshift32): the same seed draws the same numbers on every machine. */
export function seededRandom(seed: number): Random {
  let state = seed | 0 || 1;
  return {
    below(limit) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % limit;
    },
  };
}
