import { randomFillSync } from 'node:crypto';
import { mac, MAC_LENGTH, NONCE_LENGTH } from '../crypto/cipher.ts';
import { AesCtr } from '../crypto/openssl.ts';
import { Sha256, type HashJob } from '../crypto/sha256.ts';
import { encodePackHeader } from '../pack-header.ts';
import type { MasterKey, PackedBlob } from '../types.ts';
import { HEADER_ROOM, PACK_BYTES, type Arena } from './arena.ts';

/** A piece, its ciphertext and what that decrypts to lie in the cache together. */
const PIECE_BYTES = 64 << 10;
/** Entries of at most 41 bytes, the header's own seal and length field. */
const MAX_BLOBS = Math.floor((HEADER_ROOM - 64) / 41);
const NONCES_AT_ONCE = 256;
/** What a pack may exceed its size by, where its last blob is long. */
const SLACK_BYTES = 1 << 20;

export interface FinishedPack {
  readonly slot: number;
  readonly id: string;
  readonly length: number;
  readonly blobs: PackedBlob[];
}

/** A pack growing in one slot of the arena: blobs are encrypted straight into it, and its name is hashed as it grows. */
export class PackSlot {
  readonly #bytes: Buffer;
  readonly #key: MasterKey;
  readonly #cipher: AesCtr;
  readonly #decipher: AesCtr;
  readonly #opened = Buffer.alloc(PIECE_BYTES);
  readonly #nonces = Buffer.alloc(NONCE_LENGTH * NONCES_AT_ONCE);
  #nextNonce = NONCES_AT_ONCE;
  #slot = -1;
  #start = 0;
  #end = 0;
  #blobs: PackedBlob[] = [];
  #hash = new Sha256();
  /** The hash has taken everything before this address. */
  #hashed = 0;

  constructor(arena: Arena, key: MasterKey) {
    this.#bytes = Buffer.from(arena.memory.buffer);
    this.#key = key;
    this.#cipher = new AesCtr(key.encrypt);
    this.#decipher = new AesCtr(key.encrypt);
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
    this.#hash = new Sha256();
    this.#hashed = address;
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

  /**
   * What the pack's hash is to take next, in whole blocks: its name is hashed together with the blobs to come. The caller must
   * have it hashed before anything else is done with the pack.
   */
  unhashed(): HashJob {
    const from = this.#hashed;
    this.#hashed += (this.#end - from) & -64;
    return { hash: this.#hash, bytes: this.#bytes.subarray(from, this.#hashed) };
  }

  /** Appends the header. The pack stays where it is until its slot is given free. */
  finish(): FinishedPack {
    const headerLength = this.#seal(encodePackHeader(this.#blobs));
    this.#bytes.writeUInt32LE(headerLength, this.#end);
    this.#end += 4;
    this.#hash.update(this.#bytes.subarray(this.#hashed, this.#end));
    const pack = {
      slot: this.#slot,
      id: this.#hash.digest().toString('hex'),
      length: this.#end - this.#start,
      blobs: this.#blobs,
    };
    this.#slot = -1;
    return pack;
  }

  #seal(body: Uint8Array): number {
    const nonceAt = this.#end;
    const bodyAt = nonceAt + NONCE_LENGTH;
    const macAt = bodyAt + body.length;
    const nonce = this.#takeNonce();
    this.#bytes.set(nonce, nonceAt);
    this.#encrypt(nonce, body, bodyAt);
    this.#authenticate(nonce, bodyAt, body.length, macAt);
    this.#end = macAt + MAC_LENGTH;
    return this.#end - nonceAt;
  }

  /** Encrypts piece by piece, and decrypts each piece again from where it will be uploaded, while it is in the cache. */
  #encrypt(nonce: Uint8Array, body: Uint8Array, at: number): void {
    this.#cipher.begin(nonce);
    this.#decipher.begin(nonce);
    for (let from = 0; from < body.length; from += PIECE_BYTES) {
      const plain = body.subarray(from, from + PIECE_BYTES);
      const sealed = this.#bytes.subarray(at + from, at + from + plain.length);
      const opened = this.#opened.subarray(0, plain.length);
      this.#cipher.update(plain, sealed);
      this.#decipher.update(sealed, opened);
      if (opened.compare(plain) !== 0)
        throw new Error(
          'a blob did not decrypt to what was encrypted: this machine computes or remembers wrongly',
        );
    }
  }

  /** Writes the MAC of the ciphertext, computed twice. */
  #authenticate(nonce: Uint8Array, at: number, length: number, macAt: number): void {
    const sealed = this.#bytes.subarray(at, at + length);
    this.#bytes.set(mac(this.#key, nonce, sealed), macAt);
    const written = this.#bytes.subarray(macAt, macAt + MAC_LENGTH);
    if (written.compare(mac(this.#key, nonce, sealed)) !== 0) {
      throw new Error('a blob got two different MACs: this machine computes or remembers wrongly');
    }
  }

  #takeNonce(): Buffer {
    if (this.#nextNonce === NONCES_AT_ONCE) {
      randomFillSync(this.#nonces);
      this.#nextNonce = 0;
    }
    const at = NONCE_LENGTH * this.#nextNonce++;
    return this.#nonces.subarray(at, at + NONCE_LENGTH);
  }
}

/** Frees the memory of an output buffer at once instead of at the next garbage collection (10 % CPU, 100 MiB RSS). */
export function release(output: Uint8Array<ArrayBuffer>): void {
  // Small outputs may be cut from Node's pool, which others use too.
  if (output.buffer.byteLength > 64 << 10) output.buffer.transfer(0);
}
