import type { MessagePort, Worker } from 'node:worker_threads';
import { DatamoverError } from '../../errors.ts';
import { takeThread } from './warm-threads.ts';

interface Failed {
  readonly kind: 'failed';
  readonly operation: string;
  readonly cause: string;
}

/**
 * The threads of one job as one thing that ends or fails. The first failure stops all of them (through `stop`, which sets
 * the flag that their loops look at) and is the one that `finished` rejects with, after the last thread has gone.
 */
export class ThreadGroup {
  readonly #threads: Worker[] = [];
  readonly #exits: Promise<void>[] = [];
  readonly #stop: () => void;
  #failure: unknown;
  #failed = false;

  constructor(stop: () => void) {
    this.#stop = stop;
  }

  /**
   * Starts a thread with its first message. `onMessage` sees all but its failure; ports of `start` are handed over by `transferList`. One
   * that cannot be had fails the job as one that dies does: those that wait for it are stopped.
   */
  start<Message extends { kind: string }>(
    script: URL,
    start: object,
    onMessage: (message: Exclude<Message, Failed>) => void,
    transferList: MessagePort[] = [],
  ): void {
    if (this.#failed) return;
    try {
      this.#start(takeThread(script), start, onMessage, transferList);
    } catch (error) {
      this.fail(error);
    }
  }

  #start<Message extends { kind: string }>(
    thread: Worker,
    start: object,
    onMessage: (message: Exclude<Message, Failed>) => void,
    transferList: MessagePort[],
  ): void {
    thread.on('message', (message: Message | Failed) => {
      if (isFailed(message)) {
        this.fail(new DatamoverError({ operation: message.operation, cause: message.cause }));
      } else {
        onMessage(message as Exclude<Message, Failed>);
      }
    });
    thread.on('error', (error) => this.fail(error));
    this.#exits.push(
      new Promise((resolve) => {
        thread.once('exit', (code) => {
          // A thread that ends without a word has not done its part.
          if (code !== 0) this.fail(new Error(`a thread ended with code ${code}`));
          resolve();
        });
      }),
    );
    this.#threads.push(thread);
    thread.postMessage(start, transferList);
  }

  /** Stops the job; the first reason is kept. */
  fail(reason: unknown): void {
    if (!this.#failed) {
      this.#failed = true;
      this.#failure = reason;
    }
    this.#stop();
    for (const thread of this.#threads) thread.postMessage('stop');
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Resolves when every thread has ended well. */
  async finished(): Promise<void> {
    await Promise.all(this.#exits);
    if (this.#failed) throw this.#failure;
  }
}

function isFailed(message: { kind: string }): message is Failed {
  return message.kind === 'failed';
}
