import { parentPort, workerData } from 'node:worker_threads';
import { checkPack } from './check-pack.ts';
import type { MasterKey, Pack } from './types.ts';

export interface CheckThreadStart {
  readonly key: MasterKey;
}

/** A pack that lies in the first `length` bytes of shared memory. */
export interface CheckThreadRequest {
  readonly pack: Pack;
  readonly memory: SharedArrayBuffer;
  readonly length: number;
}

/** What is wrong with it. */
export type CheckThreadReply = readonly string[];

const { key } = workerData as CheckThreadStart;

parentPort?.on('message', ({ pack, memory, length }: CheckThreadRequest) => {
  const reply: CheckThreadReply = checkPack(key, pack, new Uint8Array(memory, 0, length));
  parentPort?.postMessage(reply);
});
