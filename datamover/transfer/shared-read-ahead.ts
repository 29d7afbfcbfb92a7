import { toBytes } from '../repository/id.ts';
import { plainLength } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import { release } from '../repository/saver/pack-slot.ts';
import type { Id } from '../repository/types.ts';

interface ReadAheadLimits {
  /** Of blobs that are loaded, or on their way, before they are asked for: of all files together. */
  readonly bytes: number;
  /** Blobs of one file. */
  readonly blobs: number;
}

/** A distant store answers after 20 to 100 ms, in which a merge goes through some blobs. */
const DEFAULT_LIMITS: ReadAheadLimits = { bytes: 16 << 20, blobs: 8 };

interface Loading {
  readonly bytes: number;
  readonly blob: Promise<Uint8Array<ArrayBuffer>>;
  readonly stop: AbortController;
}

/** A file that is read. */
interface Reading {
  /** Its next blobs, in order. */
  readonly ahead: Loading[];
  /** Loads that were given up, and have not ended. */
  readonly ending: Set<Promise<void>>;
  /** How many blobs had been asked for, of all files, when its last one was. */
  askedAt: number;
}

/**
 * Reads the blobs of many files at once, each in its order, and loads the next ones of those that are being read before they are
 * asked for. A merge reads most of its bytes from a few of a chain's streams and hardly comes to the others for a long time: the
 * more a file is asked, the more of it is on its way, and one that is not asked gives its room to the others.
 */
export class SharedReadAhead {
  readonly #repository: Repository;
  readonly #signal: AbortSignal | undefined;
  readonly #limits: ReadAheadLimits;
  readonly #readings = new Set<Reading>();
  #bytes = 0;
  #asked = 0;

  constructor(repository: Repository, signal: AbortSignal | undefined, limits = DEFAULT_LIMITS) {
    this.#repository = repository;
    this.#signal = signal;
    this.#limits = limits;
  }

  async *blobs(ids: readonly Id[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const reading: Reading = { ahead: [], ending: new Set(), askedAt: this.#asked };
    this.#readings.add(reading);
    try {
      for (const [number, id] of ids.entries()) {
        const blob = this.#take(reading) ?? this.#repository.loadBlob('data', id, this.#signal);
        reading.askedAt = ++this.#asked;
        this.#fill(reading, ids, number);
        yield await blob;
      }
    } finally {
      this.#readings.delete(reading);
      while (reading.ahead.length > 0) this.#giveUp(reading);
      await Promise.all(reading.ending);
    }
  }

  #take({ ahead }: Reading): Loading['blob'] | undefined {
    const next = ahead.shift();
    this.#bytes -= next?.bytes ?? 0;
    return next?.blob;
  }

  /** Behind the blob with this number, of which that many came before. */
  #fill(reading: Reading, ids: readonly Id[], number: number): void {
    const { ahead } = reading;
    while (ahead.length < Math.min(number, this.#limits.blobs)) {
      const id = ids[number + 1 + ahead.length];
      const location = id === undefined ? undefined : this.#repository.index.lookup('data', toBytes(id));
      // One that is unknown, or too large for all of the room, is loaded in its turn.
      if (id === undefined || location === undefined || !this.#makeRoom(plainLength(location))) return;
      const stop = new AbortController();
      const signal = this.#signal ? AbortSignal.any([this.#signal, stop.signal]) : stop.signal;
      const blob = this.#repository.loadBlob('data', id, signal);
      // Told when its turn comes.
      blob.catch(() => undefined);
      ahead.push({ bytes: plainLength(location), blob, stop });
      this.#bytes += plainLength(location);
    }
  }

  /** False where those that are read have all of it. */
  #makeRoom(bytes: number): boolean {
    while (this.#bytes + bytes > this.#limits.bytes) {
      const waited = this.#asked - 2 * this.#readings.size;
      const idle = [...this.#readings].find(({ ahead, askedAt }) => ahead.length > 0 && askedAt < waited);
      if (idle === undefined) return false;
      this.#giveUp(idle);
    }
    return true;
  }

  /** The last of those that a file has ahead. */
  #giveUp({ ahead, ending }: Reading): void {
    const last = ahead.pop();
    if (last === undefined) return;
    this.#bytes -= last.bytes;
    last.stop.abort();
    const ended: Promise<void> = last.blob.then(release, () => undefined).finally(() => ending.delete(ended));
    ending.add(ended);
  }
}
