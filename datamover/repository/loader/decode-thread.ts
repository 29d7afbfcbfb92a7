import { createCipheriv, createDecipheriv, hash } from 'node:crypto';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { decompress } from '../compression.ts';
import { release } from '../saver/pack-slot.ts';
import type { MasterKey } from '../types.ts';
import { instantiate } from '../wasm/core.ts';

export interface DecoderStart {
  readonly memory: WebAssembly.Memory;
  readonly key: MasterKey;
  /** This thread's own 128 bytes: the MAC's key and a tag. */
  readonly scratch: number;
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

const TAG = 64;
const PIECE_BYTES = 128 << 10;

const { memory, key, scratch } = workerData as DecoderStart;
const bytes = Buffer.from(memory.buffer);
const core = instantiate(memory);
bytes.set(key.macR, scratch);

/** Decodes one blob to `output` and answers its length. Nothing parses bytes that have not been authenticated. */
function decodeBlob(blob: DecodeRequest['blobs'][number], input: number, output: number): number {
  const nonce = Buffer.from(bytes.subarray(input + blob.at, input + blob.at + 16));
  const bodyAt = input + blob.at + 16;
  const bodyLength = blob.length - 32;
  const decipher = createDecipheriv('aes-256-ctr', key.encrypt, nonce);
  let length = bodyLength;
  if (blob.uncompressedLength > 0) {
    checkMac(nonce, bodyAt, bodyLength);
    const packed = decipher.update(bytes.subarray(bodyAt, bodyAt + bodyLength));
    const plain = decompress(packed, blob.id, blob.uncompressedLength);
    release(packed);
    bytes.set(plain, output);
    length = plain.length;
    release(plain);
  } else {
    // The SHA-256 below proves a plain blob: its id came from an authenticated tree, so a MAC would say nothing new.
    for (let from = 0; from < bodyLength; from += PIECE_BYTES) {
      const to = Math.min(from + PIECE_BYTES, bodyLength);
      const piece = decipher.update(bytes.subarray(bodyAt + from, bodyAt + to));
      bytes.set(piece, output + from);
      release(piece);
    }
  }
  if (hash('sha256', bytes.subarray(output, output + length), 'hex') !== blob.id) {
    throw new Error('its content does not have the SHA-256 it is named by');
  }
  return length;
}

function checkMac(nonce: Buffer, at: number, length: number): void {
  const ecb = createCipheriv('aes-128-ecb', key.macK, null);
  ecb.setAutoPadding(false);
  bytes.set(ecb.update(nonce), scratch + 16);
  core.poly1305(scratch + TAG, at, length, scratch);
  if (core.equal(at + length, scratch + TAG, 16) === 0)
    throw new Error('its MAC does not fit its ciphertext');
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
