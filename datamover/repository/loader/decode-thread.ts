import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { decompressInto } from '../compression.ts';
import { mac, MAC_LENGTH, NONCE_LENGTH, SEAL_OVERHEAD } from '../crypto/cipher.ts';
import { AesCtr } from '../crypto/openssl.ts';
import { hashTogether, Sha256 } from '../crypto/sha256.ts';
import type { MasterKey } from '../types.ts';

export interface DecoderStart {
  readonly memory: WebAssembly.Memory;
  readonly key: MasterKey;
}

/** A range of a pack that lies in memory at `input`; its blobs go one after the other to `output`. */
export interface DecodeRequest {
  readonly slot: number;
  readonly input: number;
  readonly output: number;
  readonly blobs: readonly { id: string; at: number; length: number; uncompressedLength: number }[];
}

export interface DecodeReply {
  readonly slot: number;
  /** The first blob that is not what its name says, and how it showed; the others are not decoded then. */
  readonly damaged?: { readonly id: string; readonly cause: string };
}

const { memory, key } = workerData as DecoderStart;
const bytes = Buffer.from(memory.buffer);
const decipher = new AesCtr(key.encrypt);

/** Decodes one blob to `output` and answers what is there. Nothing parses bytes that have not been authenticated. */
function decodeBlob(blob: DecodeRequest['blobs'][number], input: number, output: number): Buffer {
  const sealed = bytes.subarray(input + blob.at, input + blob.at + blob.length);
  const nonce = sealed.subarray(0, NONCE_LENGTH);
  const body = sealed.subarray(NONCE_LENGTH, sealed.length - MAC_LENGTH);
  const compressed = blob.uncompressedLength > 0;
  const length = compressed ? blob.uncompressedLength : blob.length - SEAL_OVERHEAD;
  const plain = bytes.subarray(output, output + length);
  if (compressed) {
    const expected = sealed.subarray(sealed.length - MAC_LENGTH);
    if (expected.compare(mac(key, nonce, body)) !== 0) throw new Error('its MAC does not fit its ciphertext');
    decipher.begin(nonce);
    decipher.update(body, body);
    decompressInto(body, blob.id, plain);
  } else {
    // Its SHA-256 proves a plain blob: its id came from an authenticated tree, so a MAC would say nothing new.
    decipher.begin(nonce);
    decipher.update(body, plain);
  }
  return plain;
}

function decode({ slot, input, output, blobs }: DecodeRequest): DecodeReply {
  let to = output;
  const hashed: { id: string; hash: Sha256; bytes: Buffer }[] = [];
  for (const blob of blobs) {
    try {
      const plain = decodeBlob(blob, input, to);
      hashed.push({ id: blob.id, hash: new Sha256(), bytes: plain });
      to += plain.length;
    } catch (error) {
      return { slot, damaged: { id: blob.id, cause: describeCause(error) } };
    }
  }
  hashTogether(hashed);
  const wrong = hashed.find(({ id, hash }) => hash.digest().toString('hex') !== id);
  if (wrong === undefined) return { slot };
  const cause = 'its content does not have the SHA-256 it is named by';
  return { slot, damaged: { id: wrong.id, cause } };
}

function main(port: MessagePort): void {
  port.on('message', (message: DecodeRequest | 'end') => {
    if (message === 'end') port.close();
    else port.postMessage(decode(message));
  });
}

if (parentPort) main(parentPort);
