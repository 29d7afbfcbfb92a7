import { hash } from 'node:crypto';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { decompress } from '../compression.ts';
import { mac, MAC_LENGTH, NONCE_LENGTH, SEAL_OVERHEAD } from '../crypto/cipher.ts';
import { AesCtr } from '../crypto/openssl.ts';
import { release } from '../saver/pack-slot.ts';
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

/** Decodes one blob to `output` and answers its length. Nothing parses bytes that have not been authenticated. */
function decodeBlob(blob: DecodeRequest['blobs'][number], input: number, output: number): number {
  const sealed = bytes.subarray(input + blob.at, input + blob.at + blob.length);
  const nonce = sealed.subarray(0, NONCE_LENGTH);
  const body = sealed.subarray(NONCE_LENGTH, sealed.length - MAC_LENGTH);
  let length = blob.length - SEAL_OVERHEAD;
  if (blob.uncompressedLength > 0) {
    const expected = sealed.subarray(sealed.length - MAC_LENGTH);
    if (expected.compare(mac(key, nonce, body)) !== 0) throw new Error('its MAC does not fit its ciphertext');
    decipher.begin(nonce);
    decipher.update(body, body);
    const plain = decompress(body, blob.id, blob.uncompressedLength);
    bytes.set(plain, output);
    length = plain.length;
    release(plain);
  } else {
    // The SHA-256 below proves a plain blob: its id came from an authenticated tree, so a MAC would say nothing new.
    decipher.begin(nonce);
    decipher.update(body, bytes.subarray(output, output + length));
  }
  if (hash('sha256', bytes.subarray(output, output + length), 'hex') !== blob.id) {
    throw new Error('its content does not have the SHA-256 it is named by');
  }
  return length;
}

function decode({ slot, input, output, blobs }: DecodeRequest): DecodeReply {
  let to = output;
  for (const blob of blobs) {
    try {
      to += decodeBlob(blob, input, to);
    } catch (error) {
      return { slot, damaged: { id: blob.id, cause: describeCause(error) } };
    }
  }
  return { slot };
}

function main(port: MessagePort): void {
  port.on('message', (message: DecodeRequest | 'end') => {
    if (message === 'end') port.close();
    else port.postMessage(decode(message));
  });
}

if (parentPort) main(parentPort);
