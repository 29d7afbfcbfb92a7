import { createCipheriv, hkdfSync } from 'node:crypto';
import type { MasterKey } from '../types.ts';

export const FINGERPRINT_BYTES = 16;

const NONCE = Buffer.alloc(12);

/**
 * A short keyed fingerprint of a blob: the tag of GMAC (NIST SP 800-38D) with AES-256 under a key of the repository's own, with
 * one nonce for all. It tells an unchanged blob from a changed one at a tenth of what SHA-256 costs. Two blobs of a MiB that
 * were chosen without the key have the same one with a chance below 2^-111. It is no secret's seal: with one nonce, whoever knew
 * fingerprints could make others, so they are stored where only holders of the key read them (docs/format.md, F-54).
 */
export class Fingerprinter {
  readonly #key: Uint8Array;

  constructor({ encrypt, macK, macR }: MasterKey) {
    const secret = Buffer.concat([encrypt, macK, macR]);
    this.#key = new Uint8Array(hkdfSync('sha256', secret, '', 'datamover fingerprint 1', 32));
  }

  of(blob: Uint8Array): Buffer {
    const gmac = createCipheriv('aes-256-gcm', this.#key, NONCE);
    gmac.setAAD(blob);
    gmac.final();
    return gmac.getAuthTag();
  }
}
