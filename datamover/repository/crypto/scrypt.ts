import { pbkdf2, scrypt } from 'node:crypto';
import { setImmediate as immediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isErrno } from '../../errors.ts';
import { native } from '../../process/native.ts';
import { sharedMemory } from '../../process/webassembly.ts';
import { instantiate, LANES, type Core } from './wasm/core.ts';

const pbkdf2Hash = promisify(pbkdf2);

/** scrypt's cost (RFC 7914): N rounds (a power of two), block size r, parallelism p. */
export interface KdfParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/** What three lanes of restic's and of our keys take. Who asks for more per lane gets one lane after the other. */
const MOST_TABLE_BYTES = 96 * 1024 * 1024;
const FEWEST_ROUNDS = 1024;
/** About 3 ms with r = 8: whoever else waits for this thread has it in between, and V8 puts its better code in place. */
const BYTES_AT_ONCE = 1024 * 1024;
const MADV_DONTNEED = 4;

/** What three lanes are mixed in. */
interface Room {
  readonly memory: WebAssembly.Memory;
  readonly core: Core;
}

/**
 * Derives 64 bytes. Three lanes go side by side where the parameters have as many, in this thread: three take a third less time than
 * OpenSSL for one after the other (docs/adr/0023). Others are OpenSSL's, in the thread pool. The caller has checked the parameters.
 */
export async function scrypt64(
  password: string,
  salt: Uint8Array,
  parameters: KdfParameters,
): Promise<Buffer> {
  const room = roomFor(parameters);
  if (room === undefined) return byOpenSsl(password, salt, parameters);
  try {
    return await besideEachOther(password, salt, parameters, room);
  } finally {
    giveBack(room.memory);
  }
}

/** Undefined where one lane after the other is better, or is all that this machine can do. */
function roomFor({ N, r, p }: KdfParameters): Room | undefined {
  if (p < LANES || N < FEWEST_ROUNDS || LANES * N * r * 128 > MOST_TABLE_BYTES) return undefined;
  try {
    const memory = sharedMemory(LANES * 128 * r * (N + 2));
    return { memory, core: instantiate(memory) };
  } catch (error) {
    // A part of this program that is not there is no matter of the machine.
    if (isErrno(error, 'ENOENT')) throw error;
    return undefined;
  }
}

function byOpenSsl(password: string, salt: Uint8Array, { N, r, p }: KdfParameters): Promise<Buffer> {
  // OpenSSL counts a little more than 128 * r * (N + p) bytes.
  const maxmem = 128 * r * (N + p + 2) + 65536;
  return new Promise((resolve, reject) => {
    scrypt(password, salt, 64, { N, r, p, maxmem }, (error, key) => {
      if (error) reject(error);
      else resolve(key);
    });
  });
}

/** RFC 7914 section 6. */
async function besideEachOther(
  password: string,
  salt: Uint8Array,
  { N, r, p }: KdfParameters,
  { memory, core }: Room,
): Promise<Buffer> {
  const size = 128 * r;
  const blocks = await hash(password, salt, p * size);
  const state = new Uint8Array(memory.buffer, 0, LANES * size);
  try {
    for (let lane = 0; lane < p; lane += LANES) {
      // Where fewer are left than go side by side, others are mixed for nothing.
      const mine = blocks.subarray(lane * size, (lane + LANES) * size);
      reorder(mine, TO_DIAGONALS, state);
      await romix(core, size, N, r);
      reorder(state.subarray(0, mine.length), FROM_DIAGONALS, mine);
    }
    return await hash(password, blocks, 64);
  } finally {
    blocks.fill(0);
  }
}

function hash(password: string, salt: Uint8Array, length: number): Promise<Buffer> {
  return pbkdf2Hash(password, salt, 1, length, 'sha256');
}

async function romix(core: Core, size: number, N: number, r: number): Promise<void> {
  const [state, other, table] = [0, LANES * size, 2 * LANES * size];
  const steps = Math.min(N, Math.max(2, 2 ** Math.floor(Math.log2(BYTES_AT_ONCE / size))));
  for (let done = 0; done < N; done += steps) {
    core.fill(state, other, table, N, r, done, done + steps);
    await immediate();
  }
  for (let done = 0; done < N; done += steps) {
    core.mix(state, other, table, N, r, steps);
    await immediate();
  }
}

/** Word i of a block of 64 bytes in the order of its matrix' diagonals is word 5 i mod 16 of it. */
const TO_DIAGONALS = Array.from({ length: 16 }, (_, i) => (5 * i) % 16);
const FROM_DIAGONALS = Array.from({ length: 16 }, (_, i) => TO_DIAGONALS.indexOf(i));

function reorder(from: Uint8Array, order: readonly number[], to: Uint8Array): void {
  for (let block = 0; block < from.length; block += 64) {
    for (const [i, word] of order.entries()) {
      to.set(from.subarray(block + 4 * word, block + 4 * word + 4), block + 4 * i);
    }
  }
}

/** Its pages go back at once, and with them what a password could be guessed from: a collection comes late for such memory. */
function giveBack({ buffer }: WebAssembly.Memory): void {
  const bytes = new Uint8Array(buffer);
  const madvise = native().load(null).func('int madvise(void *address, size_t length, int advice)');
  if (madvise(bytes, bytes.length, MADV_DONTNEED) !== 0) bytes.fill(0);
}
