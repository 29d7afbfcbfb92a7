import { hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { native } from '../../process/native.ts';

/**
 * SHA-256 of several messages at once. The CPU's SHA instructions wait for each other: two messages in step take little longer
 * than one (2.8 against 1.8 GiB per CPU-second). OpenSSL has that for its own use, `sha256_multi_block`; the node executable
 * shows the symbol. It is used where a trial shows that it is there and right, and where the CPU gains by it; everything
 * else goes through OpenSSL's public SHA256_* functions.
 */
interface Functions {
  readonly init: (state: Uint32Array) => number;
  readonly update: (state: Uint32Array, data: Uint8Array, length: number) => number;
  readonly final: (digest: Uint8Array, state: Uint32Array) => number;
  /** Two lanes of four; undefined where they would be no gain. */
  readonly lanes: ((states: Uint32Array, inputs: BigUint64Array, fours: number) => void) | undefined;
}

/** Words of SHA256_CTX (openssl/sha.h): eight of the state, the length in bits (low, high), a block, its fill, the digest's length. */
const STATE = { words: 28, bitsLow: 8, bitsHigh: 9, fill: 26 } as const;
const BLOCK = 64;
/** Lanes that `sha256_multi_block` lays its states out for: word w of lane l lies at 8 w + l. */
const LANES = 8;
/** So much of two messages is hashed before the two longest are chosen again: the rest of all ends together. */
const STRIDE = 128 << 10;
/** Below it a call costs more than it saves; and arrays of this size lie where the garbage collector does not move them. */
const WORTHWHILE = 4 << 10;

let loaded: Functions | undefined;

function functions(): Functions {
  if (loaded !== undefined) return loaded;
  const library = native().load(null);
  const plain = {
    init: library.func('int SHA256_Init(void *state)'),
    update: library.func('int SHA256_Update(void *state, void *data, size_t length)'),
    final: library.func('int SHA256_Final(void *digest, void *state)'),
    lanes: undefined,
  };
  loaded = plain;
  if (process.arch === 'x64' && hasShaInstructions()) {
    try {
      const lanes = library.func('void sha256_multi_block(void *states, void *inputs, int fours)');
      loaded = { ...plain, lanes };
      if (!isRight()) loaded = plain;
    } catch {
      // Not this OpenSSL, or one that is a library of its own and keeps the symbol to itself.
    }
  }
  return loaded;
}

/** Whether two messages are hashed at once here. */
export function hashesTwoAtOnce(): boolean {
  return functions().lanes !== undefined;
}

/** A hash that grows. */
export class Sha256 {
  readonly state = new Uint32Array(STATE.words);

  constructor() {
    functions().init(this.state);
  }

  update(bytes: Uint8Array): void {
    if (bytes.length > 0) functions().update(this.state, bytes, bytes.length);
  }

  /** Once, at the end. */
  digest(): Buffer {
    const digest = Buffer.allocUnsafeSlow(32);
    functions().final(digest, this.state);
    return digest;
  }
}

/** What a hash is to take next. */
export interface HashJob {
  readonly hash: Sha256;
  readonly bytes: Uint8Array;
}

/** Every hash takes its bytes; no hash may be there twice. */
export function hashTogether(jobs: readonly HashJob[]): void {
  const { lanes } = functions();
  const rests = jobs.map(({ hash: into, bytes }) => ({ hash: into, bytes }));
  if (lanes !== undefined) {
    // One whose block is half full cannot go in step.
    const fit = rests.filter((rest) => rest.hash.state[STATE.fill] === 0);
    for (;;) {
      fit.sort((a, b) => b.bytes.length - a.bytes.length);
      const [one, other] = fit;
      const length = Math.min(STRIDE, other?.bytes.length ?? 0) & -BLOCK;
      if (one === undefined || other === undefined || length < WORTHWHILE) break;
      inStep(lanes, one, other, length);
      one.bytes = one.bytes.subarray(length);
      other.bytes = other.bytes.subarray(length);
    }
  }
  for (const rest of rests) rest.hash.update(rest.bytes);
}

/** Room for what `sha256_multi_block` reads and writes, which aligns nothing and looks at four lanes of inputs. */
const states = new Uint32Array(8 * LANES);
/** For each lane an address and a number of blocks (an int and its padding). */
const inputs = new BigUint64Array(2 * LANES);

function inStep(lanes: NonNullable<Functions['lanes']>, one: HashJob, other: HashJob, length: number): void {
  inputs.fill(0n);
  [one, other].forEach(({ hash: { state }, bytes }, lane) => {
    for (let word = 0; word < 8; word++) states[word * LANES + lane] = state[word] ?? 0;
    inputs[2 * lane] = native().address(bytes);
    inputs[2 * lane + 1] = BigInt(length / BLOCK);
  });
  lanes(states, inputs, 1);
  [one, other].forEach(({ hash: { state } }, lane) => {
    for (let word = 0; word < 8; word++) state[word] = states[word * LANES + lane] ?? 0;
    const bits = (state[STATE.bitsHigh] ?? 0) * 2 ** 32 + (state[STATE.bitsLow] ?? 0) + length * 8;
    state[STATE.bitsLow] = bits % 2 ** 32;
    state[STATE.bitsHigh] = Math.floor(bits / 2 ** 32);
  });
}

/** A trial: two messages that end inside a stride and inside a block. */
function isRight(): boolean {
  const message = Buffer.alloc(2 * WORTHWHILE + STRIDE + 77);
  for (let at = 0; at < message.length; at++) message[at] = (at * 7 + (at >>> 8)) & 255;
  const jobs = [message.subarray(1), message.subarray(WORTHWHILE)].map((bytes) => ({
    hash: new Sha256(),
    bytes,
  }));
  hashTogether(jobs);
  return jobs.every((job) => job.hash.digest().toString('hex') === hash('sha256', job.bytes, 'hex'));
}

/** Without the SHA instructions OpenSSL would use eight lanes of AVX2, and two of them are slower than one message alone. */
function hasShaInstructions(): boolean {
  try {
    const file = openSync('/proc/cpuinfo', 'r');
    try {
      const start = Buffer.alloc(8192);
      const text = start.toString('latin1', 0, readSync(file, start, 0, start.length, 0));
      return /^flags\s*:.*\bsha_ni\b/m.test(text);
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}
