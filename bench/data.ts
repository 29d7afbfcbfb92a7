import { createCipheriv, createHash, type Cipheriv } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

/**
 * Test data that is the same on every machine. `random` does not compress at all; `mixed` is shaped after a virtual machine with
 * a database: about a quarter each of zeros, database pages and log text, the rest code, random bytes and repeats (zstd 1: 2.8x).
 * Both are synthetic: real disks differ.
 */
export type DataKind = 'random' | 'mixed';

const MEBIBYTE = 2 ** 20;
/** Contents change at this granularity, so the grid of 1 MiB seldom sees one kind alone. */
const EXTENT = 64 * 1024;
const PAGE = 8192;
const ZEROS = Buffer.alloc(MEBIBYTE);

/** Writes exactly `bytes` of test data to a new file. */
export function writeTestData(kind: DataKind, bytes: number, path: string): void {
  const fd = openSync(path, 'wx');
  try {
    let written = 0;
    for (const part of kind === 'random' ? randomParts() : mixedParts()) {
      const rest = bytes - written;
      if (rest <= 0) break;
      writeFully(fd, part.subarray(0, rest));
      written += Math.min(part.length, rest);
    }
  } finally {
    closeSync(fd);
  }
}

function writeFully(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}

function* randomParts(): Generator<Buffer> {
  const source = new RandomBytes('random');
  for (;;) yield source.take(MEBIBYTE);
}

/** Bytes that nothing compresses: AES in counter mode under a fixed key. */
export class RandomBytes {
  readonly #cipher: Cipheriv;

  constructor(seed: string) {
    const key = createHash('sha256').update(`datamover bench ${seed}`).digest();
    this.#cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  }

  /** At most 1 MiB. */
  take(bytes: number): Buffer {
    return this.#cipher.update(ZEROS.subarray(0, bytes));
  }
}

/** Small fast random numbers (xorshift32), the same everywhere. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** A whole number from 0 to `sides` - 1. */
  roll(sides: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % sides;
  }
}

/** How many of 100 extents are of which kind, and how many EXTENTs long they are at most. */
const MIXTURE: readonly (readonly [
  share: number,
  kind: keyof Makers | 'zero' | 'repeat',
  extents: number,
])[] = [
  [12, 'zero', 64],
  [26, 'log', 24],
  [32, 'pages', 24],
  [12, 'code', 24],
  [12, 'random', 24],
  [6, 'repeat', 24],
];
/** How far back a repeat reaches, in parts. */
const REPEAT_WINDOW = 64;

interface Makers {
  readonly log: (bytes: number) => Buffer;
  readonly pages: (bytes: number) => Buffer;
  readonly code: (bytes: number) => Buffer;
  readonly random: (bytes: number) => Buffer;
}

function* mixedParts(): Generator<Buffer> {
  const dice = new Dice(0x5eed);
  const words = makeWords(dice);
  const random = new RandomBytes('mixed');
  const makers: Makers = {
    log: (bytes) => logText(bytes, dice, words),
    pages: (bytes) => databasePages(bytes, dice, words),
    code: (bytes) => machineCode(bytes, dice),
    random: (bytes) => Buffer.concat(split(bytes).map((part) => random.take(part))),
  };
  const recent: Buffer[] = [];
  for (;;) {
    const [kind, extents] = pick(dice);
    const bytes = (1 + dice.roll(extents)) * EXTENT;
    if (kind === 'zero') yield Buffer.alloc(bytes);
    else if (kind === 'repeat') {
      const earlier = recent[dice.roll(Math.max(1, recent.length))];
      if (earlier !== undefined) yield earlier;
    } else {
      const part = makers[kind](bytes);
      recent.push(part);
      if (recent.length > REPEAT_WINDOW) recent.splice(dice.roll(REPEAT_WINDOW / 2), 1);
      yield part;
    }
  }
}

function pick(dice: Dice): readonly [kind: keyof Makers | 'zero' | 'repeat', extents: number] {
  let left = dice.roll(100);
  for (const [share, kind, extents] of MIXTURE) {
    if (left < share) return [kind, extents];
    left -= share;
  }
  return ['zero', 1];
}

function split(bytes: number): number[] {
  const whole = Array.from({ length: Math.floor(bytes / MEBIBYTE) }, () => MEBIBYTE);
  return bytes % MEBIBYTE === 0 ? whole : [...whole, bytes % MEBIBYTE];
}

/** A vocabulary in which, as in speech, a few words are said most of the time. */
function makeWords(dice: Dice): () => string {
  const size = 4096;
  const vocabulary = Array.from({ length: size }, () =>
    Array.from({ length: 2 + dice.roll(9) }, () => String.fromCharCode(97 + dice.roll(26))).join(''),
  );
  return () => vocabulary[Math.floor(size ** (dice.roll(2 ** 20) / 2 ** 20)) - 1] ?? '';
}

function logText(bytes: number, dice: Dice, word: () => string): Buffer {
  const text = Buffer.alloc(bytes);
  let at = 0;
  let time = 1_700_000_000_000 + dice.roll(1_000_000_000);
  while (at < bytes) {
    time += dice.roll(5000);
    const said = Array.from({ length: 4 + dice.roll(12) }, word).join(' ');
    const line =
      `${new Date(time).toISOString()} host${dice.roll(40)} ${word()}[${dice.roll(65536)}]: ${said} ` +
      `id=${dice.roll(2 ** 32).toString(16)} took ${dice.roll(5000)}ms\n`;
    at += text.write(line, at, 'latin1');
  }
  return text;
}

/** Slotted pages: line pointers from the front, rows of numbers and words from the back, a hole between. */
function databasePages(bytes: number, dice: Dice, word: () => string): Buffer {
  const pages = Buffer.alloc(bytes);
  for (let page = 0; page < bytes; page += PAGE) {
    pages.writeUInt32LE(dice.roll(2 ** 32), page);
    pages.writeUInt32LE(page, page + 4);
    pages.writeUInt16LE(0x2004, page + 18);
    const lowest = page + PAGE - (2000 + dice.roll(6000));
    let row = page + PAGE;
    for (let slot = page + 24; row > lowest && row - slot > 260; slot += 4) {
      const length = 60 + dice.roll(120);
      row -= length;
      pages.writeUInt16LE(row - page, slot);
      pages.writeUInt16LE(length * 2, slot + 2);
      pages.writeUInt32LE(dice.roll(100_000), row);
      pages.writeUInt32LE(1, row + 4);
      pages.writeUInt32LE(dice.roll(2 ** 32), row + 24);
      pages.writeUInt32LE(dice.roll(1_000_000), row + 28);
      pages.writeUInt32LE(dice.roll(2 ** 32), row + 32);
      const end = row + length - 12;
      for (let at = row + 36; at < end;) {
        at += pages.write(`${word()} `, at, row + length - at, 'latin1');
      }
    }
  }
  return pages;
}

const OPCODES: readonly (readonly number[])[] = [
  [0x48, 0x8b],
  [0x48, 0x89],
  [0xe8],
  [0x0f, 0x85],
  [0x48, 0x8d],
  [0xc3],
  [0x90],
  [0x55],
  [0x41, 0x57],
];

function machineCode(bytes: number, dice: Dice): Buffer {
  const code = Buffer.alloc(bytes);
  let at = 0;
  while (at < bytes - 8) {
    for (const byte of OPCODES[dice.roll(OPCODES.length)] ?? []) code[at++] = byte;
    code[at++] = dice.roll(dice.roll(2) === 0 ? 16 : 256);
    if (dice.roll(3) === 0) at = code.writeUInt32LE(dice.roll(4096), at);
  }
  return code;
}
