import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { BlobDecoder } from '../blob-decoder.ts';
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
const decoder = new BlobDecoder(key);

function decode({ slot, input, output, blobs }: DecodeRequest): DecodeReply {
  let to = output;
  const hashed: { id: string; hash: Sha256; bytes: Buffer }[] = [];
  for (const blob of blobs) {
    try {
      const sealed = bytes.subarray(input + blob.at, input + blob.at + blob.length);
      const plain = decoder.decode(sealed, blob.uncompressedLength, bytes.subarray(to), blob.id);
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
