import { poly1305Plain } from './poly1305-plain.ts';

/** The Poly1305 tag (16 bytes) of `message` under a one-time key: r (16 bytes), then s (16 bytes). */
export function poly1305(message: Uint8Array, key: Uint8Array): Uint8Array {
  return poly1305Plain(message, key);
}
