/**
 * Poly1305 written as its definition reads (RFC 8439, section 2.5; D. J. Bernstein, "The Poly1305-AES message-authentication
 * code"). The slow twin of the WASM form: tests compare the two. About 4 MiB per CPU-second.
 */

const PRIME = (1n << 130n) - 5n;
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;
const BLOCK = 16;

/** `key` is r (16 bytes, clamped here) followed by s (16 bytes); the tag has 16 bytes. */
export function poly1305Plain(message: Uint8Array, key: Uint8Array): Uint8Array<ArrayBuffer> {
  if (key.length !== 2 * BLOCK) throw new RangeError(`Poly1305 wants a key of 32 bytes, not ${key.length}`);
  const r = littleEndian(key.subarray(0, BLOCK)) & CLAMP;
  const s = littleEndian(key.subarray(BLOCK));
  let sum = 0n;
  for (let at = 0; at < message.length; at += BLOCK) {
    const block = message.subarray(at, at + BLOCK);
    sum = ((sum + littleEndian(block) + (1n << BigInt(8 * block.length))) * r) % PRIME;
  }
  const tag = new Uint8Array(BLOCK);
  let rest = sum + s;
  for (let i = 0; i < BLOCK; i++) {
    tag[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return tag;
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0);
  return value;
}
