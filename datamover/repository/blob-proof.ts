import { Fingerprinter } from './crypto/fingerprint.ts';
import { Sha256 } from './crypto/sha256.ts';
import type { MasterKey } from './types.ts';

/** Tells whether bytes are the blob that a name and a fingerprint stand for. */
export class BlobProof {
  readonly #fingerprinter: Fingerprinter;

  constructor(key: MasterKey) {
    this.#fingerprinter = new Fingerprinter(key);
  }

  /**
   * By the fingerprint, which is keyed and ten times as fast as SHA-256; where there is none (zeros), or another one, by the id
   * (32 bytes).
   */
  fits(bytes: Uint8Array, id: Uint8Array, fingerprint: Uint8Array): boolean {
    if (this.#fingerprinter.of(bytes).compare(fingerprint) === 0) return true;
    const hash = new Sha256();
    hash.update(bytes);
    return hash.digest().compare(id) === 0;
  }
}
