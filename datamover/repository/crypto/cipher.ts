import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { DatamoverError } from '../../errors.ts';
import type { MasterKey } from '../types.ts';
import { poly1305 } from './openssl.ts';

/**
 * Restic's sealed bytes: `nonce (16) || AES-256-CTR ciphertext || Poly1305-AES tag (16)` (design document, "Keys, Encryption
 * and MAC"). The tag covers the ciphertext; its one-time key is `r || AES-128(k, nonce)`.
 */
export const NONCE_LENGTH = 16;
export const MAC_LENGTH = 16;
/** What sealing adds to a plaintext, in bytes. */
export const SEAL_OVERHEAD = NONCE_LENGTH + MAC_LENGTH;

export function seal(key: MasterKey, plaintext: Uint8Array): Uint8Array<ArrayBuffer> {
  const sealed = new Uint8Array(plaintext.length + SEAL_OVERHEAD);
  sealInto(key, plaintext, sealed);
  return sealed;
}

/**
 * Seals into memory of the caller (also shared memory) and returns the bytes written, `plaintext.length + SEAL_OVERHEAD`.
 * `plaintext` and `target` must not overlap.
 */
export function sealInto(key: MasterKey, plaintext: Uint8Array, target: Uint8Array): number {
  const length = plaintext.length + SEAL_OVERHEAD;
  if (target.length < length)
    throw new RangeError(`sealing needs ${length} bytes, the target has ${target.length}`);
  const nonce = randomBytes(NONCE_LENGTH);
  target.set(nonce);
  const ciphertext = createCipheriv('aes-256-ctr', key.encrypt, nonce).update(plaintext);
  target.set(ciphertext, NONCE_LENGTH);
  release(ciphertext);
  const body = target.subarray(NONCE_LENGTH, length - MAC_LENGTH);
  target.set(mac(key, nonce, body), length - MAC_LENGTH);
  return length;
}

/**
 * Checks the tag, then decrypts. Fails on any changed, missing or added byte before a single byte is decrypted. `subject` names
 * the thing in errors.
 */
export function open(key: MasterKey, sealed: Uint8Array, subject?: string): Uint8Array<ArrayBuffer> {
  if (!isAuthentic(key, sealed)) {
    throw new DatamoverError({
      operation: 'decrypt',
      cause: mismatch(sealed.length),
      ...(subject && { subject }),
    });
  }
  return openUnchecked(key, sealed);
}

/** Whether the tag fits the bytes under this key. False for anything too short to be sealed. */
export function isAuthentic(key: MasterKey, sealed: Uint8Array): boolean {
  if (sealed.length < SEAL_OVERHEAD) return false;
  const body = sealed.subarray(NONCE_LENGTH, sealed.length - MAC_LENGTH);
  const expected = mac(key, sealed.subarray(0, NONCE_LENGTH), body);
  return timingSafeEqual(expected, sealed.subarray(sealed.length - MAC_LENGTH));
}

/**
 * Decrypts without looking at the tag. Only for plain data blobs, whose SHA-256 the caller checks: no parser ever sees
 * unauthenticated bytes.
 */
export function openUnchecked(key: MasterKey, sealed: Uint8Array): Uint8Array<ArrayBuffer> {
  if (sealed.length < SEAL_OVERHEAD) {
    throw new DatamoverError({ operation: 'decrypt', cause: mismatch(sealed.length) });
  }
  const nonce = sealed.subarray(0, NONCE_LENGTH);
  const body = sealed.subarray(NONCE_LENGTH, sealed.length - MAC_LENGTH);
  const plaintext = createDecipheriv('aes-256-ctr', key.encrypt, nonce).update(body);
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
}

/** Poly1305-AES: the tag of `body` under r and AES-128(k, nonce). */
export function mac(key: MasterKey, nonce: Uint8Array, body: Uint8Array): Uint8Array {
  const oneTime = new Uint8Array(32);
  oneTime.set(key.macR);
  oneTime.set(createCipheriv('aes-128-ecb', key.macK, null).setAutoPadding(false).update(nonce), 16);
  return poly1305(body, oneTime);
}

function mismatch(length: number): string {
  return length < SEAL_OVERHEAD
    ? `${length} bytes are too few for encrypted data`
    : 'the message authentication code does not match: the bytes were changed or belong to another key';
}

/** Node keeps cipher output alive until the next collection; giving it back at once saves 10 % CPU and 100 MiB on a backup. */
function release(bytes: Buffer<ArrayBuffer>): void {
  if (bytes.byteOffset === 0 && bytes.length === bytes.buffer.byteLength) bytes.buffer.transfer(0);
}
