import { createCipheriv, createDecipheriv, createHash, randomFillSync, type Hash } from 'node:crypto';
import { encodePackHeader } from '../pack-header.ts';
import type { MasterKey, PackedBlob } from '../types.ts';
import type { Core } from '../wasm/core.ts';
import { HEADER_ROOM, PACK_BYTES, SCRATCH_KEY, SCRATCH_TAG, type Arena } from './arena.ts';

const NONCE_BYTES = 16;
const MAC_BYTES = 16;
/** Ciphers allocate their output: pieces below malloc's mmap threshold are recycled hot (5.5 against 1.1 GiB per CPU-second). */
const PIECE_BYTES = 128 << 10;
/** Entries of at most 41 bytes, the header's own seal and length field. */
const MAX_BLOBS = Math.floor((HEADER_ROOM - 64) / 41);
const NONCES_AT_ONCE = 256;
/** What a pack may exceed its size by, where its last blob is long. */
const SLACK_BYTES = 2 << 20;

export interface FinishedPack {
  readonly slot: number;
  readonly id: string;
  readonly length: number;
  readonly blobs: PackedBlob[];
}

/** A pack growing in one slot of the arena: blobs are encrypted straight into it, and its name is hashed as it grows. */
export class PackSlot {
  readonly #bytes: Buffer;
  readonly #core: Core;
  readonly #key: MasterKey;
  readonly #scratch: number;
  readonly #nonces = Buffer.alloc(NONCE_BYTES * NONCES_AT_ONCE);
  #nextNonce = NONCES_AT_ONCE;
  #slot = -1;
  #start = 0;
  #end = 0;
  #blobs: PackedBlob[] = [];
  #hash: Hash = createHash('sha256');

  /** `scratch` is this thread's own area of the arena. */
  constructor(arena: Arena, core: Core, key: MasterKey, scratch: number) {
    this.#bytes = Buffer.from(arena.memory.buffer);
    this.#core = core;
    this.#key = key;
    this.#scratch = scratch;
    this.#bytes.set(key.macR, scratch + SCRATCH_KEY);
  }

  get isOpen(): boolean {
    return this.#slot >= 0;
  }

  get isFull(): boolean {
    return this.#end - this.#start >= PACK_BYTES || this.#blobs.length >= MAX_BLOBS;
  }

  /** Whether a blob of this length still belongs into this pack: a pack that is half full is not made much too large by it. */
  hasRoomFor(length: number): boolean {
    const used = this.#end - this.#start;
    return used < PACK_BYTES / 2 || used + length <= PACK_BYTES + SLACK_BYTES;
  }

  open(slot: number, address: number): void {
    this.#slot = slot;
    this.#start = address;
    this.#end = address;
    this.#blobs = [];
    this.#hash = createHash('sha256');
  }

  /**
   * Encrypts `body` to the end of the pack and proves that it decrypts to the same bytes.
   * @throws Error when it does not: a fault of the CPU or the memory.
   */
  add(id: string, body: Uint8Array, uncompressedLength: number): number {
    const offset = this.#end - this.#start;
    const length = this.#seal(body);
    this.#blobs.push({ id, type: 'data', offset, length, uncompressedLength });
    return length;
  }

  /** Appends the header. The pack stays where it is until its slot is given free. */
  finish(): FinishedPack {
    const headerLength = this.#seal(encodePackHeader(this.#blobs));
    this.#bytes.writeUInt32LE(headerLength, this.#end);
    this.#hash.update(this.#bytes.subarray(this.#end, this.#end + 4));
    this.#end += 4;
    const pack = {
      slot: this.#slot,
      id: this.#hash.digest('hex'),
      length: this.#end - this.#start,
      blobs: this.#blobs,
    };
    this.#slot = -1;
    return pack;
  }

  #seal(body: Uint8Array): number {
    const nonceAt = this.#end;
    const bodyAt = nonceAt + NONCE_BYTES;
    const macAt = bodyAt + body.length;
    const nonce = this.#takeNonce();
    this.#bytes.set(nonce, nonceAt);
    this.#encrypt(nonce, body, bodyAt);
    this.#authenticate(nonce, bodyAt, body.length, macAt);
    this.#end = macAt + MAC_BYTES;
    this.#hash.update(this.#bytes.subarray(nonceAt, this.#end));
    return this.#end - nonceAt;
  }

  /** Encrypts piece by piece, and decrypts each piece again from where it will be uploaded, while it is in the cache. */
  #encrypt(nonce: Uint8Array, body: Uint8Array, at: number): void {
    const cipher = createCipheriv('aes-256-ctr', this.#key.encrypt, nonce);
    const decipher = createDecipheriv('aes-256-ctr', this.#key.encrypt, nonce);
    for (let from = 0; from < body.length; from += PIECE_BYTES) {
      const plain = body.subarray(from, from + PIECE_BYTES);
      const sealed = cipher.update(plain);
      this.#bytes.set(sealed, at + from);
      release(sealed);
      const opened = decipher.update(this.#bytes.subarray(at + from, at + from + plain.length));
      const same = opened.compare(plain) === 0;
      release(opened);
      if (!same)
        throw new Error(
          'a blob did not decrypt to what was encrypted: this machine computes or remembers wrongly',
        );
    }
  }

  /** Writes the Poly1305-AES MAC of the ciphertext, computed twice. */
  #authenticate(nonce: Uint8Array, at: number, length: number, macAt: number): void {
    const ecb = createCipheriv('aes-128-ecb', this.#key.macK, null);
    ecb.setAutoPadding(false);
    this.#bytes.set(ecb.update(nonce), this.#scratch + SCRATCH_KEY + 16);
    this.#core.poly1305(this.#scratch + SCRATCH_TAG, at, length, this.#scratch + SCRATCH_KEY);
    this.#bytes.copyWithin(macAt, this.#scratch + SCRATCH_TAG, this.#scratch + SCRATCH_TAG + MAC_BYTES);
    this.#core.poly1305(this.#scratch + SCRATCH_TAG, at, length, this.#scratch + SCRATCH_KEY);
    if (this.#core.equal(macAt, this.#scratch + SCRATCH_TAG, MAC_BYTES) === 0) {
      throw new Error('a blob got two different MACs: this machine computes or remembers wrongly');
    }
  }

  #takeNonce(): Buffer {
    if (this.#nextNonce === NONCES_AT_ONCE) {
      randomFillSync(this.#nonces);
      this.#nextNonce = 0;
    }
    const at = NONCE_BYTES * this.#nextNonce++;
    return this.#nonces.subarray(at, at + NONCE_BYTES);
  }
}

/** Frees the memory of an output buffer at once instead of at the next garbage collection (10 % CPU, 100 MiB RSS). */
export function release(output: Uint8Array<ArrayBuffer>): void {
  // Small outputs may be cut from Node's pool, which others use too.
  if (output.buffer.byteLength > 64 << 10) output.buffer.transfer(0);
}
