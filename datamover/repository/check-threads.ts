import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { CheckThreadReply, CheckThreadRequest, CheckThreadStart } from './check-thread.ts';
import type { MasterKey, Pack } from './types.ts';

/** More would wait for the store. */
const MAX_THREADS = 4;

/** Memory comes in steps, for packs have all sizes and what is given up is not given back at once. */
const STEP = 4 * 1024 * 1024;

/** One thread with memory of its own for a pack. */
interface Lane {
  readonly worker: Worker;
  memory: SharedArrayBuffer;
}

/** Threads that verify packs, for it is all hashing: one each for as many packs as are in memory at once. */
export class CheckThreads {
  /** Packs that can be verified at once. */
  readonly width = Math.min(MAX_THREADS, availableParallelism());
  readonly #key: MasterKey;
  readonly #lanes: Lane[] = [];
  readonly #idle: Lane[] = [];

  readonly #script: URL;

  constructor(key: MasterKey, script = new URL('./check-thread.js', import.meta.url)) {
    this.#key = key;
    this.#script = script;
  }

  /**
   * Has `load` fill shared memory with a pack of `size` bytes, and verifies it. Not more than `width` at once. Returns what is wrong, a
   * sentence each.
   */
  async verify(
    pack: Pack,
    size: number,
    load: (into: Uint8Array) => Promise<unknown>,
  ): Promise<readonly string[]> {
    const lane = this.#idle.pop() ?? this.#start();
    try {
      if (lane.memory.byteLength < size) lane.memory = new SharedArrayBuffer(Math.ceil(size / STEP) * STEP);
      await load(new Uint8Array(lane.memory, 0, size));
    } catch (error) {
      this.#idle.push(lane);
      throw error;
    }
    const problems = await ask(lane.worker, { pack, memory: lane.memory, length: size });
    this.#idle.push(lane);
    return problems;
  }

  async close(): Promise<void> {
    await Promise.all(this.#lanes.map(({ worker }) => worker.terminate()));
  }

  #start(): Lane {
    const workerData: CheckThreadStart = { key: this.#key };
    const worker = new Worker(this.#script, {
      workerData,
      // Little lives long here; a small nursery keeps the garbage small.
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    const lane: Lane = { worker, memory: new SharedArrayBuffer(0) };
    this.#lanes.push(lane);
    return lane;
  }
}

function ask(worker: Worker, request: CheckThreadRequest): Promise<CheckThreadReply> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      worker.off('message', onMessage);
      worker.off('error', onError);
      worker.off('exit', onExit);
    };
    const onMessage = (reply: CheckThreadReply): void => {
      settle();
      resolve(reply);
    };
    const onError = (error: unknown): void => {
      settle();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    // One that has ended already would never say so again: `verify` does not take its lane back.
    const onExit = (code: number): void => onError(new Error(`a thread ended with code ${code}`));
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('exit', onExit);
    worker.postMessage(request);
  });
}
