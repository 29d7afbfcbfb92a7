import { decompressInto } from './compression.ts';
import { mac, MAC_LENGTH, NONCE_LENGTH, SEAL_OVERHEAD } from './crypto/cipher.ts';
import { AesCtr } from './crypto/openssl.ts';
import type { MasterKey } from './types.ts';

/** Decodes blobs one after the other into memory that is there: for threads that do nothing else. */
export class BlobDecoder {
  readonly #key: MasterKey;
  readonly #cipher: AesCtr;

  constructor(key: MasterKey) {
    this.#key = key;
    this.#cipher = new AesCtr(key.encrypt);
  }

  /**
   * Decodes a sealed blob to the beginning of `room`, and answers the part that it takes. Nothing parses bytes that have not been
   * authenticated; a blob that is stored plain (`uncompressedLength` 0) is not, for the caller proves by SHA-256 or fingerprint what
   * is answered here. The sealed bytes are spoiled. `subject` names the blob in errors.
   */
  decode(sealed: Buffer, uncompressedLength: number, room: Buffer, subject: string): Buffer {
    if (sealed.length < SEAL_OVERHEAD) throw new Error(`${sealed.length} bytes are too few for a blob`);
    const nonce = sealed.subarray(0, NONCE_LENGTH);
    const body = sealed.subarray(NONCE_LENGTH, sealed.length - MAC_LENGTH);
    const length = uncompressedLength > 0 ? uncompressedLength : body.length;
    if (length > room.length)
      throw new Error(`a blob has ${length} bytes where ${room.length} were expected`);
    const plain = room.subarray(0, length);
    if (uncompressedLength > 0) {
      const expected = sealed.subarray(sealed.length - MAC_LENGTH);
      if (expected.compare(mac(this.#key, nonce, body)) !== 0)
        throw new Error('its MAC does not fit its ciphertext');
      this.#cipher.begin(nonce);
      this.#cipher.update(body, body);
      decompressInto(body, subject, plain);
    } else {
      this.#cipher.begin(nonce);
      this.#cipher.update(body, plain);
    }
    return plain;
  }
}
