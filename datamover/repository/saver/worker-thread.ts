import { readSync } from 'node:fs';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { describeCause } from '../../errors.ts';
import { openSharedIndex } from '../memory-index.ts';
import { instantiate } from '../wasm/core.ts';
import { CELLS_AT_ONCE } from './arena.ts';
import { BlobWork, type Identified } from './blob-work.ts';
import { Control } from './control.ts';
import { CellList, cellLength } from './grid.ts';
import type { BlobBatch, WorkerMessage, WorkerStart } from './messages.ts';
import { PackSlot } from './pack-slot.ts';

/** Ids go to the main thread in batches: a message costs 20 us, a blob is 0.5-3 ms of work. */
const BATCH = 64;

const start = workerData as WorkerStart;
const { arena, key, number, grid } = start;
const control = new Control(start.control);
const core = instantiate(arena.memory);
const pack = new PackSlot(arena, key);
const work = new BlobWork(arena.memory, core, control, openSharedIndex(start.index), start.level);
const bytes = Buffer.from(arena.memory.buffer);

/** A blob in memory, and its cell or its number in the stream. */
interface PlacedBlob {
  readonly place: number;
  readonly address: number;
  readonly length: number;
}

const places = new Uint32Array(BATCH);
const lengths = new Uint32Array(BATCH);
const ids = new Uint8Array(BATCH * 32);
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
      const blob = {
        place: cell,
        address: places[blobs.length] ?? 0,
        length: cellLength(cell, imageBytes),
      };
      readCell(fd, blob.address, blob.length, cell);
      control.count('read', blob.length);
      // A cell of zeros has nothing to hash, and would leave its neighbour to be hashed alone.
      if (work.isZero(blob.address, blob.length)) take(port, [blob]);
      else blobs.push(blob);
    }
    if (blobs.length === 0 || control.stopped) return;
    take(port, blobs);
  }
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
    take(
      port,
      popped.map(({ sequence, address, length }) => ({ place: sequence, address, length })),
    );
    for (const { slab } of popped) control.releaseSlab(slab);
  }
}

function take(port: MessagePort, blobs: readonly PlacedBlob[]): void {
  const identified = work.identify(blobs, pack);
  blobs.forEach((blob, i) => {
    const known = identified[i];
    if (known !== undefined) takeOne(port, blob, known);
  });
}

function takeOne(port: MessagePort, { place, address, length }: PlacedBlob, { id, zero }: Identified): void {
  if (work.claim(id)) {
    if (pack.isOpen && !pack.hasRoomFor(length)) closePack(port);
    if (!pack.isOpen && !openPack()) return;
    work.store(id, address, length, pack);
    control.count(zero ? 'zero' : 'fresh', length);
    if (pack.isFull) closePack(port);
  } else {
    control.count(zero ? 'zero' : 'duplicate', length);
  }
  places[batched] = place;
  lengths[batched] = length;
  ids.set(id, batched * 32);
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
    zero: zeros.slice(0, batched),
  };
  batched = 0;
  send(port, batch);
}

function send(port: MessagePort, message: WorkerMessage): void {
  port.postMessage(message);
}

if (parentPort) main(parentPort);
