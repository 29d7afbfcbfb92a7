import { BLOBS_PER_INDEX_FILE } from './index-file.ts';
import type { Pack } from './types.ts';

/** An index file is written at the latest after this time, so that a crash of a long backup leaves little unindexed. */
const INDEX_EVERY_MS = 5 * 60_000;

type Write = (packs: readonly Pack[], signal: AbortSignal | undefined) => Promise<unknown>;

/** Packs that are stored but in no index file yet. */
export class PendingIndex {
  readonly #save: Write;
  #packs: Pack[] = [];
  #blobs = 0;
  #writtenAt = performance.now();
  #writing: Promise<void> = Promise.resolve();

  /** `save` writes index files for packs. */
  constructor(save: Write) {
    this.#save = save;
  }

  /** Writes an index file when enough of them or enough time has come together. */
  async add(pack: Pack): Promise<void> {
    this.#packs.push(pack);
    this.#blobs += pack.blobs.length;
    const due = performance.now() - this.#writtenAt > INDEX_EVERY_MS;
    if (due || this.#blobs >= BLOBS_PER_INDEX_FILE) await this.write();
  }

  /** One write after the other: who flushes waits for those under way, and takes up what a failed one left. */
  async write(signal?: AbortSignal): Promise<void> {
    const written = this.#writing.then(() => this.#writeAll(signal));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  async #writeAll(signal: AbortSignal | undefined): Promise<void> {
    const packs = this.#packs;
    if (packs.length === 0) return;
    this.#packs = [];
    this.#blobs = 0;
    this.#writtenAt = performance.now();
    try {
      await this.#save(packs, signal);
    } catch (error) {
      this.#packs.unshift(...packs);
      this.#blobs += packs.reduce((sum, pack) => sum + pack.blobs.length, 0);
      throw error;
    }
  }
}
