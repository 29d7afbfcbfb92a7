import { readSync } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { FINGERPRINT_BYTES, Fingerprinter } from '../crypto/fingerprint.ts';
import { openSharedIndex } from '../memory-index.ts';
import { instantiate } from '../wasm/core.ts';
import { CELLS_AT_ONCE } from './arena.ts';
import { BlobWork, type Identified } from './blob-work.ts';
import { Control, type BlobDescriptor } from './control.ts';
import { CellList, cellLength } from './grid.ts';
import { KnownCells } from './known-cells.ts';
import { KnownChunks } from './known-chunks.ts';
import type { BlobBatch, WorkerMessage, WorkerStart } from './messages.ts';
import { PackSlot } from './pack-slot.ts';

/** Ids go to the main thread in batches: a message costs 20 us, a blob is 0.5-3 ms of work. */
const BATCH = 64;

/** A blob in memory, and its cell or its number in the stream. */
interface PlacedBlob {
  readonly place: number;
  readonly address: number;
  readonly length: number;
  readonly fingerprint: Buffer;
}

const NO_FINGERPRINT = Buffer.alloc(FINGERPRINT_BYTES);

/**
 * What a thread does that makes packs of blobs: of those that it takes from the queue, or of the cells of a grid that it reads itself. A
 * worker does nothing else (`run`); a thread that feeds the workers does it while it would wait for them (`help`), and once it has
 * fed them all (`finish`).
 */
export class BlobThread {
  readonly #port: MessagePort;
  readonly #start: WorkerStart;
  readonly #control: Control;
  readonly #pack: PackSlot;
  readonly #work: BlobWork;
  readonly #bytes: Buffer;
  readonly #fingerprinter: Fingerprinter;
  readonly #knownCells: KnownCells | undefined;
  readonly #knownChunks: KnownChunks | undefined;
  readonly #places = new Uint32Array(BATCH);
  readonly #lengths = new Uint32Array(BATCH);
  readonly #ids = new Uint8Array(BATCH * 32);
  readonly #fingerprints = new Uint8Array(BATCH * FINGERPRINT_BYTES);
  readonly #zeros = new Uint8Array(BATCH);
  #batched = 0;

  constructor(start: WorkerStart, port: MessagePort) {
    const { arena, key, known } = start;
    this.#port = port;
    this.#start = start;
    this.#control = new Control(start.control);
    this.#pack = new PackSlot(arena, key);
    this.#work = new BlobWork(
      arena.memory,
      instantiate(arena.memory),
      this.#control,
      openSharedIndex(start.index),
      start.level,
      arena.longestBlob,
    );
    this.#bytes = Buffer.from(arena.memory.buffer);
    this.#fingerprinter = new Fingerprinter(key);
    this.#knownCells = known?.kind === 'cells' ? KnownCells.open(known.shared) : undefined;
    this.#knownChunks = known?.kind === 'chunks' ? KnownChunks.open(known.shared) : undefined;
  }

  run(): void {
    const { grid } = this.#start;
    try {
      if (grid) {
        this.#workOnGrid(grid);
        this.#leave();
      } else this.finish();
    } catch (error) {
      this.#control.stop();
      this.#send({ kind: 'failed', operation: 'back up', cause: describeCause(error) });
    }
  }

  /** Takes from the queue what a worker takes at once, if it has more than the next worker would. */
  help(): boolean {
    return this.#control.queued > CELLS_AT_ONCE && this.#takeQueued({ wait: false });
  }

  /** Works on the queue until it is empty for good, and gives the last pack away. */
  finish(): void {
    while (this.#takeQueued({ wait: true }));
    this.#leave();
  }

  #leave(): void {
    if (this.#control.stopped) return;
    this.#flush();
    if (this.#pack.isOpen) this.#closePack();
  }

  #workOnGrid({ fd, imageBytes, cells }: NonNullable<WorkerStart['grid']>): void {
    const list = CellList.open(cells);
    const { arena, number } = this.#start;
    const places = arena.cells.slice(number * CELLS_AT_ONCE, (number + 1) * CELLS_AT_ONCE);
    for (;;) {
      const blobs: PlacedBlob[] = [];
      while (blobs.length < places.length) {
        const position = this.#control.nextCell();
        if (position >= list.total || this.#control.stopped) break;
        const cell = list.at(position);
        const address = places[blobs.length] ?? 0;
        const length = cellLength(cell, imageBytes);
        this.#readCell(fd, address, length, cell);
        this.#control.count('read', length);
        const blob = this.#recognize(cell, address, length);
        if (blob !== undefined) blobs.push(blob);
      }
      if (this.#control.stopped) return;
      if (blobs.length === 0) return;
      this.#take(blobs);
    }
  }

  /** A cell that has to be hashed; undefined of one that is zeros, or what the earlier backup has in its place: it is told at once. */
  #recognize(cell: number, address: number, length: number): PlacedBlob | undefined {
    // A cell of zeros has nothing to hash, and would leave its neighbour to be hashed alone.
    if (this.#work.isZero(address, length)) {
      this.#take([{ place: cell, address, length, fingerprint: NO_FINGERPRINT }]);
      return undefined;
    }
    const fingerprint = this.#fingerprinter.of(this.#bytes.subarray(address, address + length));
    const blob = { place: cell, address, length, fingerprint };
    const id = this.#knownCells?.find(cell, fingerprint);
    return this.#takeKnown(blob, id) ? undefined : blob;
  }

  #readCell(fd: number, address: number, length: number, cell: number): void {
    const offset = cell * (1 << 20);
    let got = 0;
    while (got < length) {
      const n = readSync(fd, this.#bytes, address + got, length - got, offset + got);
      if (n === 0)
        throw new Error(
          `the source ends at byte ${offset + got}, before its size of the start: it was shrunk while being read`,
        );
      got += n;
    }
  }

  /** Two blobs, or one where there is but one; false where there is none, and once the job has stopped. */
  #takeQueued(patience: { readonly wait: boolean }): boolean {
    const first = this.#control.pop(patience);
    if (first === undefined) return false;
    const second = this.#control.pop({ wait: false });
    const popped = second === undefined ? [first] : [first, second];
    const blobs = popped.map((blob) => this.#recognizeQueued(blob)).filter((blob) => blob !== undefined);
    if (blobs.length > 0) this.#take(blobs);
    for (const { slab } of popped) this.#control.releaseSlab(slab);
    return true;
  }

  #recognizeQueued(descriptor: BlobDescriptor): PlacedBlob | undefined {
    const { sequence: place, address, length, known: chunk } = descriptor;
    const { blobs: kind } = this.#start;
    if (kind === 'cell') return this.#recognize(place, address, length);
    if (kind === 'unmarked') return { place, address, length, fingerprint: NO_FINGERPRINT };
    const known = chunk < 0 ? undefined : this.#knownChunks;
    const fingerprint =
      known?.fingerprintOf(chunk) ?? this.#fingerprinter.of(this.#bytes.subarray(address, address + length));
    const blob = { place, address, length, fingerprint };
    return this.#takeKnown(blob, known?.idOf(chunk)) ? undefined : blob;
  }

  /** Names a blob as the earlier backup did. False where it has to be hashed: prune has marked its pack, or somebody removed it. */
  #takeKnown(blob: PlacedBlob, id: Buffer | undefined): boolean {
    if (id === undefined || !this.#work.isLive(id)) return false;
    const zero = this.#work.isZero(blob.address, blob.length);
    this.#control.count(zero ? 'zero' : 'duplicate', blob.length);
    this.#tell(blob, id, zero);
    return true;
  }

  #take(blobs: readonly PlacedBlob[]): void {
    const identified = this.#work.identify(blobs, this.#pack);
    blobs.forEach((blob, i) => {
      const known = identified[i];
      if (known !== undefined) this.#takeOne(blob, known);
    });
  }

  #takeOne(blob: PlacedBlob, { id, zero }: Identified): void {
    const { address, length } = blob;
    if (this.#work.claim(id)) {
      if (this.#pack.isOpen && !this.#pack.hasRoomFor(length)) this.#closePack();
      if (!this.#pack.isOpen && !this.#openPack()) return;
      this.#work.store(id, address, length, this.#pack);
      this.#control.count(zero ? 'zero' : 'fresh', length);
      if (this.#pack.isFull) this.#closePack();
    } else {
      this.#control.count(zero ? 'zero' : 'duplicate', length);
    }
    this.#tell(blob, id, zero);
  }

  #tell({ place, length, fingerprint }: PlacedBlob, id: Buffer, zero: boolean): void {
    const at = this.#batched++;
    this.#places[at] = place;
    this.#lengths[at] = length;
    this.#ids.set(id, at * 32);
    this.#fingerprints.set(fingerprint, at * FINGERPRINT_BYTES);
    this.#zeros[at] = zero ? 1 : 0;
    if (this.#batched === BATCH) this.#flush();
  }

  #openPack(): boolean {
    const { arena } = this.#start;
    const slot = this.#control.acquirePackSlot(arena.packs.length);
    if (slot === undefined) return false;
    this.#pack.open(slot, arena.packs[slot] ?? 0);
    return true;
  }

  /** The blobs of a pack are reported before the pack, never after: a snapshot is only written when both have arrived. */
  #closePack(): void {
    this.#flush();
    this.#send({ kind: 'pack', pack: this.#pack.finish() });
  }

  #flush(): void {
    if (this.#batched === 0) return;
    const batch: BlobBatch = {
      kind: 'blobs',
      places: this.#places.slice(0, this.#batched),
      lengths: this.#lengths.slice(0, this.#batched),
      ids: this.#ids.slice(0, this.#batched * 32),
      fingerprints: this.#fingerprints.slice(0, this.#batched * FINGERPRINT_BYTES),
      zero: this.#zeros.slice(0, this.#batched),
    };
    this.#batched = 0;
    this.#send(batch);
  }

  #send(message: WorkerMessage): void {
    this.#port.postMessage(message);
  }
}
