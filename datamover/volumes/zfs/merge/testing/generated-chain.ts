import type { Random } from '../../../../repository/testing/bytes.ts';
import { StreamEncoder } from '../../testing/encoder.ts';

interface File {
  readonly generation: number;
  readonly slots: number;
  blockBytes: number;
  /** By number: what they are filled with. */
  readonly blocks: Map<number, number>;
  /** Blocks up to its end. */
  length: number;
  mode: number;
  spill: number | undefined;
}

type Files = Map<number, File>;

const FEATURES = 0x800004;
const BLOCKS = [512, 1024, 4096] as const;
const LAST_OBJECT = 40;

/**
 * Makes a chain of small streams as `zfs send` would for a dataset that changes at random: objects whose numbers are used again
 * with other blocks and other slots, holes, truncated files, small files that grow past their block, spill blocks that come, change and go. Each state can also be asked
 * for in full, to compare.
 */
export class GeneratedChain {
  readonly #random: Random;
  #files: Files = new Map();
  #generation = 0;
  #guid = 0n;
  /** How often an increment told of a file that it has larger blocks than before. */
  grown = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Changes something; answers the increment, a full stream for the first. */
  next(): Buffer {
    const before = this.#files;
    this.#files = structuredClone(before);
    for (let i = 1 + this.#random.below(12); i > 0; i--) this.#change();
    return this.#send(before, this.#guid++);
  }

  full(): Buffer {
    return this.#send(new Map(), 0n);
  }

  #change(): void {
    const number = 1 + this.#random.below(LAST_OBJECT);
    const file = this.#files.get(number);
    const lot = this.#random.below(9);
    if (file === undefined || lot === 0) this.#create(number);
    else if (lot === 1) this.#files.delete(number);
    else if (lot === 2) this.#truncate(file, this.#random.below(file.length + 1));
    else if (lot === 3) file.spill = this.#random.below(3) === 0 ? undefined : this.#random.below(256);
    else if (lot === 4) file.mode++;
    else if (lot === 5) this.#grow();
    else this.#write(file);
  }

  #create(number: number): void {
    const slots = 1 + this.#random.below(2);
    for (const [other, { slots: taken }] of this.#files)
      if (other < number + slots && other + taken > number) this.#files.delete(other);
    const file: File = {
      ...{ generation: ++this.#generation, slots, blocks: new Map<number, number>(), length: 0, mode: 0 },
      blockBytes: BLOCKS[this.#random.below(BLOCKS.length)] ?? 512,
      spill: undefined,
    };
    this.#files.set(number, file);
    for (let i = this.#random.below(3); i > 0; i--) this.#write(file);
  }

  #write(file: File): void {
    const from = this.#random.below(file.length + 3);
    const count = 1 + this.#random.below(3);
    const hole = this.#random.below(4) === 0;
    for (let i = from; i < from + count; i++) {
      if (hole) file.blocks.delete(i);
      else file.blocks.set(i, this.#random.below(256));
    }
    file.length = Math.max(file.length, from + count);
  }

  /** A file of one block gets a larger one when it grows past it, and all of it is written anew. */
  #grow(): void {
    const small = [...this.#files.values()].filter(
      ({ length, blockBytes }) => length <= 1 && blockBytes < (BLOCKS.at(-1) ?? 0),
    );
    const file = small[this.#random.below(Math.max(1, small.length))];
    if (file === undefined) return;
    const larger = BLOCKS.filter((bytes) => bytes > file.blockBytes);
    file.blockBytes = larger[this.#random.below(larger.length)] ?? file.blockBytes;
    file.blocks.clear();
    if (this.#random.below(4) > 0) file.blocks.set(0, this.#random.below(256));
    file.length = 1;
    this.#write(file);
  }

  #truncate(file: File, length: number): void {
    for (const block of [...file.blocks.keys()]) if (block >= length) file.blocks.delete(block);
    file.length = length;
  }

  #send(before: Files, fromGuid: bigint): Buffer {
    const encoder = new StreamEncoder({
      toGuid: this.#guid,
      fromGuid,
      featureFlags: FEATURES,
      content: 2,
      flags: 12,
    });
    let free = 1;
    for (let number = 1; number <= LAST_OBJECT; number++) {
      const file = this.#files.get(number);
      if (file === undefined) continue;
      const had = before.get(number);
      if (had?.generation === file.generation && had.blockBytes !== file.blockBytes) this.grown++;
      // An unchanged one is told of only sometimes: where its neighbour in the block of dnodes has changed.
      const same = had !== undefined && JSON.stringify(plain(had)) === JSON.stringify(plain(file));
      if (same && this.#random.below(2) === 0) {
        this.#sendFree(encoder, free, number, before);
        free = number + file.slots;
        continue;
      }
      this.#sendFree(encoder, free, number, before);
      free = number + file.slots;
      sendFile(encoder, number, file, had?.generation === file.generation ? had : undefined, this.#guid);
    }
    this.#sendFree(encoder, free, LAST_OBJECT + 2, before);
    return encoder.end();
  }

  #sendFree(encoder: StreamEncoder, from: number, to: number, before: Files): void {
    const needed = [...before.keys()].some((number) => number >= from && number < to);
    if (to > from && (needed || this.#random.below(2) === 0)) encoder.freeObjects(from, to - from);
  }
}

function sendFile(
  encoder: StreamEncoder,
  number: number,
  file: File,
  had: File | undefined,
  toGuid: bigint,
): void {
  const { blockBytes, slots, blocks, length, spill } = file;
  encoder.record({
    type: 1,
    u64: { 8: number, 40: toGuid },
    u32: { 16: 19, 20: 44, 24: blockBytes, 28: 40 },
    u8: { 34: slots, 35: spill === undefined ? 0 : 4 },
    payload: bonusOf(file),
  });
  encoder.free(number, Math.max(1, length) * blockBytes, (1n << 64n) - 1n);
  const sendSpill = (unmodified: boolean): void => {
    encoder.record({
      type: 7,
      u64: { 8: number, 16: 512, 24: toGuid },
      u8: { 32: unmodified ? 4 : 0 },
      payload: Buffer.alloc(512, spill),
    });
  };
  if (spill !== undefined && had?.spill === spill) sendSpill(true);
  for (let block = 0; block < Math.max(1, length); block++) {
    const byte = blocks.get(block);
    if (had?.blockBytes === blockBytes && had.blocks.get(block) === byte) continue;
    if (byte === undefined) encoder.free(number, block * blockBytes, blockBytes);
    else encoder.write(number, block * blockBytes, Buffer.alloc(blockBytes, byte));
  }
  if (spill !== undefined && had?.spill !== spill) sendSpill(false);
}

/** A header of system attributes, mode, size and generation. */
function bonusOf({ mode, length, generation }: File): Buffer {
  const bonus = Buffer.alloc(40);
  bonus.writeUInt32LE(0x2f505a, 0);
  bonus.writeUInt16LE(1 << 10, 4);
  [mode, length, generation].forEach((value, i) => bonus.writeBigUInt64LE(BigInt(value), 8 + 8 * i));
  return bonus;
}

function plain(file: File): unknown {
  return { ...file, blocks: [...file.blocks].sort(([a], [b]) => a - b) };
}
