import { readSync } from 'node:fs';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
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

const start = workerData as WorkerStart;
const { arena, key, number, grid, known, blobs: blobKind } = start;
const control = new Control(start.control);
const core = instantiate(arena.memory);
const pack = new PackSlot(arena, key);
const work = new BlobWork(
  arena.memory,
  core,
  control,
  openSharedIndex(start.index),
  start.level,
  arena.longestBlob,
);
const bytes = Buffer.from(arena.memory.buffer);
const fingerprinter = new Fingerprinter(key);
const knownCells = known?.kind === 'cells' ? KnownCells.open(known.shared) : undefined;
const knownChunks = known?.kind === 'chunks' ? KnownChunks.open(known.shared) : undefined;

/** A blob in memory, and its cell or its number in the stream. */
interface PlacedBlob {
  readonly place: number;
  readonly address: number;
  readonly length: number;
  readonly fingerprint: Buffer;
}

const NO_FINGERPRINT = Buffer.alloc(FINGERPRINT_BYTES);

const places = new Uint32Array(BATCH);
const lengths = new Uint32Array(BATCH);
const ids = new Uint8Array(BATCH * 32);
const fingerprints = new Uint8Array(BATCH * FINGERPRINT_BYTES);
const zeros = new Uint8Array(BATCH);
let batched = 0;

function main(port: MessagePort): void {
  try {
    if (grid) workOnGrid(port, grid);
    else workOnQueue(port);
    if (!control.stopped) {
      flush(port);
      if (pack.isOpen) closePack(port);
    }
  } catch (error) {
    control.stop();
    send(port, { kind: 'failed', operation: 'back up', cause: describeCause(error) });
  }
}

function workOnGrid(port: MessagePort, { fd, imageBytes, cells }: NonNullable<WorkerStart['grid']>): void {
  const list = CellList.open(cells);
  const places = arena.cells.slice(number * CELLS_AT_ONCE, (number + 1) * CELLS_AT_ONCE);
  for (;;) {
    const blobs: PlacedBlob[] = [];
    while (blobs.length < places.length) {
      const position = control.nextCell();
      if (position >= list.total || control.stopped) break;
      const cell = list.at(position);
      const address = places[blobs.length] ?? 0;
      const length = cellLength(cell, imageBytes);
      readCell(fd, address, length, cell);
      control.count('read', length);
      const blob = recognize(port, cell, address, length);
      if (blob !== undefined) blobs.push(blob);
    }
    if (control.stopped) return;
    if (blobs.length === 0) return;
    take(port, blobs);
  }
}

/** A cell that has to be hashed; undefined of one that is zeros, or what the earlier backup has in its place: it is told at once. */
function recognize(port: MessagePort, cell: number, address: number, length: number): PlacedBlob | undefined {
  // A cell of zeros has nothing to hash, and would leave its neighbour to be hashed alone.
  if (work.isZero(address, length)) {
    take(port, [{ place: cell, address, length, fingerprint: NO_FINGERPRINT }]);
    return undefined;
  }
  const fingerprint = fingerprinter.of(bytes.subarray(address, address + length));
  const blob = { place: cell, address, length, fingerprint };
  const id = knownCells?.find(cell, fingerprint);
  return takeKnown(port, blob, id) ? undefined : blob;
}

function readCell(fd: number, address: number, length: number, cell: number): void {
  const offset = cell * (1 << 20);
  let got = 0;
  while (got < length) {
    const n = readSync(fd, bytes, address + got, length - got, offset + got);
    if (n === 0)
      throw new Error(
        `the source ends at byte ${offset + got}, before its size of the start: it was shrunk while being read`,
      );
    got += n;
  }
}

function workOnQueue(port: MessagePort): void {
  for (let first = control.pop(); first !== undefined; first = control.pop()) {
    const second = control.pop({ wait: false });
    const popped = second === undefined ? [first] : [first, second];
    const blobs = popped.map((blob) => recognizeQueued(port, blob)).filter((blob) => blob !== undefined);
    if (blobs.length > 0) take(port, blobs);
    for (const { slab } of popped) control.releaseSlab(slab);
  }
}

function recognizeQueued(port: MessagePort, descriptor: BlobDescriptor): PlacedBlob | undefined {
  const { sequence: place, address, length, known: chunk } = descriptor;
  if (blobKind === 'cell') return recognize(port, place, address, length);
  if (blobKind === 'unmarked') return { place, address, length, fingerprint: NO_FINGERPRINT };
  const known = chunk < 0 ? undefined : knownChunks;
  const fingerprint =
    known?.fingerprintOf(chunk) ?? fingerprinter.of(bytes.subarray(address, address + length));
  const blob = { place, address, length, fingerprint };
  return takeKnown(port, blob, known?.idOf(chunk)) ? undefined : blob;
}

/** Names a blob as the earlier backup did. False where it has to be hashed: prune has marked its pack, or somebody removed it. */
function takeKnown(port: MessagePort, blob: PlacedBlob, id: Buffer | undefined): boolean {
  if (id === undefined || !work.isLive(id)) return false;
  const zero = work.isZero(blob.address, blob.length);
  control.count(zero ? 'zero' : 'duplicate', blob.length);
  tell(port, blob, id, zero);
  return true;
}

function take(port: MessagePort, blobs: readonly PlacedBlob[]): void {
  const identified = work.identify(blobs, pack);
  blobs.forEach((blob, i) => {
    const known = identified[i];
    if (known !== undefined) takeOne(port, blob, known);
  });
}

function takeOne(port: MessagePort, blob: PlacedBlob, { id, zero }: Identified): void {
  const { address, length } = blob;
  if (work.claim(id)) {
    if (pack.isOpen && !pack.hasRoomFor(length)) closePack(port);
    if (!pack.isOpen && !openPack()) return;
    work.store(id, address, length, pack);
    control.count(zero ? 'zero' : 'fresh', length);
    if (pack.isFull) closePack(port);
  } else {
    control.count(zero ? 'zero' : 'duplicate', length);
  }
  tell(port, blob, id, zero);
}

function tell(
  port: MessagePort,
  { place, length, fingerprint }: PlacedBlob,
  id: Buffer,
  zero: boolean,
): void {
  places[batched] = place;
  lengths[batched] = length;
  ids.set(id, batched * 32);
  fingerprints.set(fingerprint, batched * FINGERPRINT_BYTES);
  zeros[batched] = zero ? 1 : 0;
  if (++batched === BATCH) flush(port);
}

function openPack(): boolean {
  const slot = control.acquirePackSlot(arena.packs.length);
  if (slot === undefined) return false;
  pack.open(slot, arena.packs[slot] ?? 0);
  return true;
}

/** The blobs of a pack are reported before the pack, never after: a snapshot is only written when both have arrived. */
function closePack(port: MessagePort): void {
  flush(port);
  send(port, { kind: 'pack', pack: pack.finish() });
}

function flush(port: MessagePort): void {
  if (batched === 0) return;
  const batch: BlobBatch = {
    kind: 'blobs',
    places: places.slice(0, batched),
    lengths: lengths.slice(0, batched),
    ids: ids.slice(0, batched * 32),
    fingerprints: fingerprints.slice(0, batched * FINGERPRINT_BYTES),
    zero: zeros.slice(0, batched),
  };
  batched = 0;
  send(port, batch);
}

function send(port: MessagePort, message: WorkerMessage): void {
  port.postMessage(message);
}

if (parentPort) main(parentPort);
