import { native } from '../../process/native.ts';

/**
 * Functions of OpenSSL 3 that the node executable carries, called where they stand (man pages EVP_EncryptInit, EVP_MAC,
 * EVP_MAC-POLY1305). `node:crypto` has no Poly1305, and its ciphers allocate their output, which costs more than encrypting it.
 * A pointer here is an array or an opaque address; lengths are always those of the arrays that are passed.
 */
type Pointer = Uint8Array | object | null;

interface OpenSsl {
  readonly ctr: Pointer;
  readonly newCipher: () => Pointer;
  readonly initCipher: (
    context: Pointer,
    cipher: Pointer,
    engine: null,
    key: Pointer,
    iv: Uint8Array,
  ) => number;
  readonly update: (
    context: Pointer,
    out: Uint8Array,
    outLength: Uint8Array,
    input: Uint8Array,
    length: number,
  ) => number;
  /** The one context of this thread. */
  readonly mac: Pointer;
  readonly initMac: (context: Pointer, key: Uint8Array, length: number, parameters: null) => number;
  readonly updateMac: (context: Pointer, data: Uint8Array, length: number) => number;
  readonly finishMac: (context: Pointer, out: Uint8Array, outLength: Uint8Array, size: number) => number;
}

let loaded: OpenSsl | undefined;

function openSsl(): OpenSsl {
  if (loaded !== undefined) return loaded;
  const library = native().load(null);
  const fetchMac = library.func(
    'void *EVP_MAC_fetch(void *library, const char *name, const char *properties)',
  );
  const newMac = library.func('void *EVP_MAC_CTX_new(void *mac)');
  const aes256Ctr = library.func('void *EVP_aes_256_ctr()');
  loaded = {
    ctr: aes256Ctr() as Pointer,
    newCipher: library.func('void *EVP_CIPHER_CTX_new()'),
    initCipher: library.func(
      'int EVP_EncryptInit_ex(void *context, void *cipher, void *engine, void *key, void *iv)',
    ),
    update: library.func(
      'int EVP_EncryptUpdate(void *context, void *out, void *outLength, void *in, int length)',
    ),
    mac: newMac(fetchMac(null, 'POLY1305', null)) as Pointer,
    initMac: library.func('int EVP_MAC_init(void *context, void *key, size_t length, void *parameters)'),
    updateMac: library.func('int EVP_MAC_update(void *context, void *data, size_t length)'),
    finishMac: library.func('int EVP_MAC_final(void *context, void *out, void *outLength, size_t size)'),
  };
  return loaded;
}

/** Where OpenSSL says how much it wrote; we know that beforehand. */
const written = new Uint8Array(8);

/** AES-256 in counter mode, both ways. Its key schedule lives as long as the thread. */
export class AesCtr {
  readonly #context: Pointer;
  readonly #key: Uint8Array;
  #keyed = false;

  constructor(key: Uint8Array) {
    if (key.length !== 32) throw new RangeError(`AES-256 wants a key of 32 bytes, not ${key.length}`);
    this.#key = key;
    this.#context = openSsl().newCipher();
  }

  /** Begins the key stream of this nonce (16 bytes, the counter's first value). */
  begin(nonce: Uint8Array): void {
    if (nonce.length !== 16) throw new RangeError(`a nonce has 16 bytes, not ${nonce.length}`);
    const { ctr, initCipher } = openSsl();
    const fresh = !this.#keyed;
    demand(initCipher(this.#context, fresh ? ctr : null, null, fresh ? this.#key : null, nonce));
    this.#keyed = true;
  }

  /** Goes on with the key stream. `output` is at least as long as `input`, and may be the same memory. */
  update(input: Uint8Array, output: Uint8Array): void {
    if (output.length < input.length)
      throw new RangeError(`${input.length} bytes do not fit ${output.length}`);
    if (input.length > 0) demand(openSsl().update(this.#context, output, written, input, input.length));
  }
}

/** The Poly1305 tag (16 bytes) of `message` under a one-time key: r (16 bytes, clamped by OpenSSL), then s (16 bytes). */
export function poly1305(message: Uint8Array, key: Uint8Array): Uint8Array<ArrayBuffer> {
  if (key.length !== 32) throw new RangeError(`Poly1305 wants a key of 32 bytes, not ${key.length}`);
  const { mac, initMac, updateMac, finishMac } = openSsl();
  const tag = new Uint8Array(16);
  demand(initMac(mac, key, key.length, null));
  if (message.length > 0) demand(updateMac(mac, message, message.length));
  demand(finishMac(mac, tag, written, tag.length));
  return tag;
}

function demand(status: number): void {
  if (status !== 1) throw new Error('OpenSSL refused to encrypt or to authenticate');
}
