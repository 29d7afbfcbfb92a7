import { toBytes } from '../repository/id.ts';
import { plainLength } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import { release } from '../repository/saver/pack-slot.ts';
import { MAX_CHUNK } from '../repository/saver/saver.ts';
import type { Id } from '../repository/types.ts';
import { PIECE_BYTES, PieceRoom } from './piece-room.ts';

interface ReadAheadLimits {
  /** Of all that is loaded, or on its way, of all files together. */
  readonly bytes: number;
  /** Blobs of one file that are loaded before they are asked for. */
  readonly blobs: number;
  /** Of what is on its way: as it lies in the store, each has memory of its own. */
  readonly onTheWay: number;
}

/**
 * A distant store answers after 20 to 100 ms, in which a merge goes through some blobs. Half a blob of each of 20 streams goes in;
 * with more or longer ones many are loaded twice (docs/adr/0016).
 */
const DEFAULT_LIMITS: ReadAheadLimits = { bytes: 16 << 20, blobs: 8, onTheWay: 8 << 20 };

interface Located {
  readonly plain: number;
  readonly stored: number;
}

/** A blob that lies in the room, or will. */
interface Loading {
  /** Its pieces that were not handed out yet. */
  readonly pieces: Uint8Array[];
  /** They are filled. */
  readonly done: Promise<void>;
  readonly stop: AbortController;
}

/** A file that is read. */
interface Reading {
  /** The blob that is read; undefined also where others took its room. */
  current: Loading | undefined;
  /** Its next blobs, in order. */
  readonly ahead: Loading[];
  /** Loads that were given up, and have not ended. */
  readonly ending: Set<Promise<void>>;
  /** How many blobs had been asked for, of all files, when its last one was. */
  askedAt: number;
  /** The same of pieces. */
  usedAt: number;
  /** Its next piece was asked for, and is not there yet. */
  waits: boolean;
}

/**
 * Reads the blobs of many files at once, each in its order, and loads the next ones of those that are being read before they are
 * asked for. A merge reads most of its bytes from a few of a chain's streams and hardly comes to the others for a long time: the
 * more a file is asked, the more of it is on its way, and one that is not asked gives its room to the others. The room is what the
 * limits say, however many files are read: who must have some takes what another has ahead, and at last the end of the blob that
 * another is in the middle of, which is then loaded once more when it comes there.
 */
export class SharedReadAhead {
  readonly #repository: Repository;
  readonly #signal: AbortSignal | undefined;
  readonly #limits: ReadAheadLimits;
  readonly #room: PieceRoom;
  readonly #readings = new Set<Reading>();
  #asked = 0;
  #used = 0;
  #onTheWay = 0;
  /** Those who wait for room, or for what is on its way. */
  #waiting: (() => void)[] = [];

  constructor(
    repository: Repository,
    signal: AbortSignal | undefined,
    limits: Partial<ReadAheadLimits> = {},
  ) {
    this.#repository = repository;
    this.#signal = signal;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#room = new PieceRoom(this.#limits.bytes);
  }

  /** When all files have been read, or were let go. */
  close(): void {
    this.#room.close();
  }

  /** A file's bytes; each piece may be read until the next is asked for. */
  async *pieces(ids: readonly Id[]): AsyncGenerator<Uint8Array> {
    const reading: Reading = {
      ...{ current: undefined, ahead: [], ending: new Set<Promise<void>>() },
      ...{ askedAt: this.#asked, usedAt: this.#used, waits: false },
    };
    this.#readings.add(reading);
    try {
      for (const number of ids.keys()) yield* this.#blob(reading, ids, number);
    } finally {
      this.#readings.delete(reading);
      this.#giveUpCurrent(reading);
      while (reading.ahead.length > 0) this.#giveUpLast(reading);
      await Promise.all(reading.ending);
    }
  }

  async *#blob(reading: Reading, ids: readonly Id[], number: number): AsyncGenerator<Uint8Array> {
    const id = ids[number] ?? '';
    const location = this.#locate(id);
    // Of one that is unknown the index is read on.
    if (location === undefined) {
      yield* inPieces(await this.#repository.loadBlob('data', id, this.#signal));
      return;
    }
    reading.current = reading.ahead.shift();
    for (let at = 0; at < location.plain; at += PIECE_BYTES) {
      reading.waits = true;
      reading.usedAt = ++this.#used;
      if (at === 0) reading.askedAt = ++this.#asked;
      // Others have taken the rest.
      if (reading.current?.pieces.length === 0) reading.current = undefined;
      const current = reading.current ?? (await this.#loadNow(reading, id, location, at));
      if (at === 0) this.#fill(reading, ids, number);
      await current.done;
      reading.waits = false;
      this.#wake();
      const piece = current.pieces.shift();
      if (piece === undefined) throw new Error(`data blob ${id.slice(0, 8)} is longer than its room`);
      try {
        yield piece.subarray(0, location.plain - at);
      } finally {
        this.#give([piece]);
      }
    }
    reading.current = undefined;
  }

  /** Undefined where it is to be loaded beside the room: it is unknown, or longer than any chunker cuts. */
  #locate(id: Id): Located | undefined {
    const location = this.#repository.index.lookup('data', toBytes(id));
    const plain = location === undefined ? 0 : plainLength(location);
    if (location === undefined || plain > MAX_CHUNK) return undefined;
    return { plain, stored: location.length };
  }

  /** Behind the blob with this number, of which that many came before. */
  #fill(reading: Reading, ids: readonly Id[], number: number): void {
    const { ahead } = reading;
    while (ahead.length < Math.min(number, this.#limits.blobs)) {
      const id = ids[number + 1 + ahead.length];
      const location = id === undefined ? undefined : this.#locate(id);
      if (id === undefined || location === undefined || this.#isBusy(location)) return;
      const pieces = this.#takeIdle(location.plain);
      if (pieces === undefined) return;
      ahead.push(this.#load(id, location, 0, pieces));
    }
  }

  /** Of a blob that is asked for what lies behind its first `from` bytes. */
  async #loadNow(reading: Reading, id: Id, location: Located, from: number): Promise<Loading> {
    for (;;) {
      this.#signal?.throwIfAborted();
      const pieces = this.#isBusy(location) ? undefined : this.#takeAny(location.plain - from);
      if (pieces !== undefined) {
        const current = this.#load(id, location, from, pieces);
        // At once: who looks for room now finds that some is on its way.
        reading.current = current;
        return current;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #load(id: Id, { stored }: Located, from: number, pieces: Uint8Array[]): Loading {
    const stop = new AbortController();
    const signal = this.#signal ? AbortSignal.any([this.#signal, stop.signal]) : stop.signal;
    this.#onTheWay += stored;
    const load = async (): Promise<void> => {
      try {
        const blob = await this.#repository.loadBlob('data', id, signal);
        // Who was given up has no pieces any more.
        pieces.forEach((piece, i) =>
          piece.set(blob.subarray(from + i * PIECE_BYTES).subarray(0, PIECE_BYTES)),
        );
        release(blob);
      } finally {
        this.#onTheWay -= stored;
        this.#wake();
      }
    };
    const done = load();
    // Told when its turn comes.
    done.catch(() => undefined);
    return { pieces, done, stop };
  }

  #isBusy({ stored }: Located): boolean {
    return this.#onTheWay > 0 && this.#onTheWay + stored > this.#limits.onTheWay;
  }

  /** Undefined where those that are read have all of it. */
  #takeIdle(bytes: number): Uint8Array[] | undefined {
    for (;;) {
      const pieces = this.#room.take(bytes);
      if (pieces !== undefined) return pieces;
      const waited = this.#asked - 2 * this.#readings.size;
      const idle = [...this.#readings].find(({ ahead, askedAt }) => ahead.length > 0 && askedAt < waited);
      if (idle === undefined) return undefined;
      this.#giveUpLast(idle);
    }
  }

  /** Undefined where somebody will have room to give when what he waits for is there. */
  #takeAny(bytes: number): Uint8Array[] | undefined {
    for (;;) {
      const pieces = this.#room.take(bytes);
      if (pieces !== undefined) return pieces;
      const readings = [...this.#readings];
      // Who has much ahead and has not been asked for long.
      const withAhead = heaviest(readings, ({ ahead, usedAt }) => ahead.length * (1 + this.#used - usedAt));
      // Of those that are read in turn none comes sooner than another: who has most needs the end of it last.
      const inMiddle = heaviest(readings, ({ waits, current }) =>
        waits ? 0 : (current?.pieces.length ?? 0),
      );
      if (withAhead !== undefined) this.#giveUpLast(withAhead);
      else if (inMiddle !== undefined) this.#giveUpEnd(inMiddle, this.#room.missing(bytes));
      else if (readings.some(({ waits, current }) => waits && current !== undefined)) return undefined;
      // Each file has the one piece that is being read.
      else this.#room.grow();
    }
  }

  /** The last of those that a file has ahead. */
  #giveUpLast({ ahead, ending }: Reading): void {
    const last = ahead.pop();
    if (last !== undefined) this.#giveUp(last, ending);
  }

  /** Up to so many pieces of a blob that is there, its last ones: they are loaded again when their turn comes. */
  #giveUpEnd(reading: Reading, pieces: number): void {
    this.#give(reading.current?.pieces.splice(-pieces) ?? []);
  }

  #giveUpCurrent(reading: Reading): void {
    const { current } = reading;
    reading.current = undefined;
    if (current !== undefined) this.#giveUp(current, reading.ending);
  }

  #giveUp({ pieces, done, stop }: Loading, ending: Reading['ending']): void {
    stop.abort();
    this.#give(pieces.splice(0));
    const ended: Promise<void> = done.catch(() => undefined).finally(() => ending.delete(ended));
    ending.add(ended);
  }

  #give(pieces: readonly Uint8Array[]): void {
    this.#room.give(pieces);
    this.#wake();
  }

  #wake(): void {
    const woken = this.#waiting;
    this.#waiting = [];
    for (const wake of woken) wake();
  }
}

/** Undefined where nobody has any weight. */
function heaviest(readings: readonly Reading[], weigh: (reading: Reading) => number): Reading | undefined {
  let most = 0;
  let found: Reading | undefined;
  for (const reading of readings) {
    const weight = weigh(reading);
    if (weight <= most) continue;
    most = weight;
    found = reading;
  }
  return found;
}

function* inPieces(blob: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < blob.length; at += PIECE_BYTES) yield blob.subarray(at, at + PIECE_BYTES);
}
