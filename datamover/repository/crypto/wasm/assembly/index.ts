// The memory-hard part of scrypt (RFC 7914 section 5, scryptROMix) for three lanes at a time. Each step of Salsa20/8 waits for the one
// before it, so a single lane leaves most of a processor idle; three side by side fill it, and their twelve vectors still fit its registers.
//
// A block of 64 bytes lies as the diagonals of Salsa20's matrix: word i is word 5 i mod 16 of the RFC's. Columns and rows are then
// rounds over whole vectors, with a turn of three of them in between.

const LANES: usize = 3;
const BLOCK: usize = 64;

/** Steps `from` to `to` of the first loop: each lane's state goes to its place in `table`, then through the mixer. Both are even. */
export function fill(
  state: usize,
  other: usize,
  table: usize,
  n: u32,
  r: u32,
  from: u32,
  to: u32,
): void {
  const size: usize = (<usize>r) << 7;
  for (let step: u32 = from; step < to; step += 2) {
    keep(state, table, n, size, step);
    blockMix(state, other, size);
    keep(other, table, n, size, step + 1);
    blockMix(other, state, size);
  }
}

/** So many steps, an even number, of the second loop: each lane's state meets the place in `table` that its last block names. */
export function mix(state: usize, other: usize, table: usize, n: u32, r: u32, steps: u32): void {
  const size: usize = (<usize>r) << 7;
  for (let step: u32 = 0; step < steps; step += 2) {
    meet(state, table, n, size);
    blockMix(state, other, size);
    meet(other, table, n, size);
    blockMix(other, state, size);
  }
}

function keep(state: usize, table: usize, n: u32, size: usize, step: u32): void {
  for (let lane: usize = 0; lane < LANES; lane++) {
    memory.copy(table + (lane * n + step) * size, state + lane * size, size);
  }
}

/** The first word of the last block is word 0 in either order. n is a power of two. */
function meet(state: usize, table: usize, n: u32, size: usize): void {
  for (let lane: usize = 0; lane < LANES; lane++) {
    const at = state + lane * size;
    const place = table + (lane * n + (load<u32>(at + size - BLOCK) & (n - 1))) * size;
    for (let i: usize = 0; i < size; i += 32) {
      v128.store(at + i, v128.xor(v128.load(at + i), v128.load(place + i)));
      v128.store(at + i, v128.xor(v128.load(at + i, 16), v128.load(place + i, 16)), 16);
    }
  }
}

/** scryptBlockMix (section 4) of the three lanes at `from`, each of `size` bytes, to `to`. */
function blockMix(from: usize, to: usize, size: usize): void {
  const last = from + size - BLOCK;
  let a0 = v128.load(last);
  let b0 = v128.load(last, 16);
  let c0 = v128.load(last, 32);
  let d0 = v128.load(last, 48);
  let a1 = v128.load(last + size);
  let b1 = v128.load(last + size, 16);
  let c1 = v128.load(last + size, 32);
  let d1 = v128.load(last + size, 48);
  let a2 = v128.load(last + 2 * size);
  let b2 = v128.load(last + 2 * size, 16);
  let c2 = v128.load(last + 2 * size, 32);
  let d2 = v128.load(last + 2 * size, 48);
  for (let i: usize = 0; i < size; i += BLOCK) {
    // Blocks 0, 2, 4... come first, then 1, 3, 5...
    const out = to + ((i >> 1) & ~(BLOCK - 1)) + (i & BLOCK ? size >> 1 : 0);
    a0 = v128.xor(a0, v128.load(from + i));
    b0 = v128.xor(b0, v128.load(from + i, 16));
    c0 = v128.xor(c0, v128.load(from + i, 32));
    d0 = v128.xor(d0, v128.load(from + i, 48));
    a1 = v128.xor(a1, v128.load(from + size + i));
    b1 = v128.xor(b1, v128.load(from + size + i, 16));
    c1 = v128.xor(c1, v128.load(from + size + i, 32));
    d1 = v128.xor(d1, v128.load(from + size + i, 48));
    a2 = v128.xor(a2, v128.load(from + 2 * size + i));
    b2 = v128.xor(b2, v128.load(from + 2 * size + i, 16));
    c2 = v128.xor(c2, v128.load(from + 2 * size + i, 32));
    d2 = v128.xor(d2, v128.load(from + 2 * size + i, 48));
    // The input waits in its place in the output: twelve vectors more would not fit the registers.
    put(out, a0, b0, c0, d0);
    put(out + size, a1, b1, c1, d1);
    put(out + 2 * size, a2, b2, c2, d2);
    for (let double = 0; double < 4; double++) {
      b0 = step(b0, a0, d0, 7), b1 = step(b1, a1, d1, 7), b2 = step(b2, a2, d2, 7);
      c0 = step(c0, b0, a0, 9), c1 = step(c1, b1, a1, 9), c2 = step(c2, b2, a2, 9);
      d0 = step(d0, c0, b0, 13), d1 = step(d1, c1, b1, 13), d2 = step(d2, c2, b2, 13);
      a0 = step(a0, d0, c0, 18), a1 = step(a1, d1, c1, 18), a2 = step(a2, d2, c2, 18);
      b0 = turn1(b0), b1 = turn1(b1), b2 = turn1(b2);
      c0 = turn2(c0), c1 = turn2(c1), c2 = turn2(c2);
      d0 = turn3(d0), d1 = turn3(d1), d2 = turn3(d2);
      d0 = step(d0, a0, b0, 7), d1 = step(d1, a1, b1, 7), d2 = step(d2, a2, b2, 7);
      c0 = step(c0, d0, a0, 9), c1 = step(c1, d1, a1, 9), c2 = step(c2, d2, a2, 9);
      b0 = step(b0, c0, d0, 13), b1 = step(b1, c1, d1, 13), b2 = step(b2, c2, d2, 13);
      a0 = step(a0, b0, c0, 18), a1 = step(a1, b1, c1, 18), a2 = step(a2, b2, c2, 18);
      b0 = turn3(b0), b1 = turn3(b1), b2 = turn3(b2);
      c0 = turn2(c0), c1 = turn2(c1), c2 = turn2(c2);
      d0 = turn1(d0), d1 = turn1(d1), d2 = turn1(d2);
    }
    a0 = i32x4.add(a0, v128.load(out));
    b0 = i32x4.add(b0, v128.load(out, 16));
    c0 = i32x4.add(c0, v128.load(out, 32));
    d0 = i32x4.add(d0, v128.load(out, 48));
    a1 = i32x4.add(a1, v128.load(out + size));
    b1 = i32x4.add(b1, v128.load(out + size, 16));
    c1 = i32x4.add(c1, v128.load(out + size, 32));
    d1 = i32x4.add(d1, v128.load(out + size, 48));
    a2 = i32x4.add(a2, v128.load(out + 2 * size));
    b2 = i32x4.add(b2, v128.load(out + 2 * size, 16));
    c2 = i32x4.add(c2, v128.load(out + 2 * size, 32));
    d2 = i32x4.add(d2, v128.load(out + 2 * size, 48));
    put(out, a0, b0, c0, d0);
    put(out + size, a1, b1, c1, d1);
    put(out + 2 * size, a2, b2, c2, d2);
  }
}

// @ts-ignore: decorator
@inline
function put(at: usize, a: v128, b: v128, c: v128, d: v128): void {
  v128.store(at, a);
  v128.store(at, b, 16);
  v128.store(at, c, 32);
  v128.store(at, d, 48);
}

/** x ^= (y + z) <<< bits: a quarter of Salsa20's quarter-round, for four of them. */
// @ts-ignore: decorator
@inline
function step(x: v128, y: v128, z: v128, bits: i32): v128 {
  const sum = i32x4.add(y, z);
  return v128.xor(x, v128.or(i32x4.shl(sum, bits), i32x4.shr_u(sum, 32 - bits)));
}

// @ts-ignore: decorator
@inline
function turn1(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 3, 0, 1, 2);
}

// @ts-ignore: decorator
@inline
function turn2(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 2, 3, 0, 1);
}

// @ts-ignore: decorator
@inline
function turn3(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 1, 2, 3, 0);
}
