// Content-defined chunking with restic's Rabin fingerprints: window 64 bytes, polynomial of degree 53 over GF(2).
// Source: restic's chunker documentation; the plain twin is ../../chunker-plain.ts.
//
// A cut depends on the last 64 bytes alone, so LANES sub-blocks are scanned side by side in one loop: the table look-ups of
// one lane hide the latency of the others (1 lane 736, 3 lanes 1920 MiB per CPU-second).

/** 256 u64: what byte b, leaving the window, adds to the digest after the shift. */
const OUT_TABLE: usize = 1024;
/** 256 u64: the digest's top byte, reduced, with the bits to clear. */
const MOD_TABLE: usize = 1024 + 2048;
const WINDOW: usize = 64;
/** The degree is 53, so the top byte of a digest starts at bit 45. */
const SHIFT: u64 = 45;
const LANES: usize = 3;
/** Bytes of a lane: 3 lanes of 5440 bytes fit the L1 cache together with the tables. */
const LANE: usize = 5440;

function degree(p: u64): i32 {
  return 63 - <i32>clz<u64>(p);
}

function reduce(x: u64, p: u64): u64 {
  const dp = degree(p);
  while (x != 0) {
    const d = degree(x);
    if (d < dp) break;
    x ^= p << <u64>(d - dp);
  }
  return x;
}

/** Fills the tables for this polynomial. Once per memory, before any scan. */
export function rabinInit(polynomial: u64): void {
  const k = degree(polynomial);
  for (let b: u64 = 0; b < 256; b++) {
    let h: u64 = b;
    for (let i = 0; i < 63; i++) h = reduce(h << 8, polynomial);
    store<u64>(OUT_TABLE + (<usize>b << 3), reduce(h << 8, polynomial));
    store<u64>(MOD_TABLE + (<usize>b << 3), reduce(b << <u64>k, polynomial) | (b << <u64>k));
  }
}

// @ts-ignore: decorator
@inline function roll(digest: u64, at: usize): u64 {
  return (
    (digest << 8) ^
    load<u64>(MOD_TABLE + (<usize>(digest >> SHIFT) << 3)) ^
    (<u64>load<u8>(at) ^ load<u64>(OUT_TABLE + (<usize>load<u8>(at - WINDOW) << 3)))
  );
}

/** The digest of the 64 bytes before `at`. */
// @ts-ignore: decorator
@inline function warm(at: usize): u64 {
  let digest: u64 = 0;
  for (let p = at - WINDOW; p < at; p++) {
    digest = (digest << 8) ^ load<u64>(MOD_TABLE + (<usize>(digest >> SHIFT) << 3)) ^ <u64>load<u8>(p);
  }
  return digest;
}

function scanOneLane(from: usize, to: usize, mask: u64): usize {
  let digest = warm(from);
  for (let p = from; p < to; p++) {
    digest = roll(digest, p);
    if ((digest & mask) == 0) return p + 1;
  }
  return 0;
}

/**
 * The first position c in (from, to] at which the fingerprint of the 64 bytes before c has no bit of `mask` set; 0 if there
 * is none. The 64 bytes before `from` must be readable.
 */
export function rabinFind(from: usize, to: usize, mask: u64): usize {
  let base = from;
  while (base + LANES * LANE <= to) {
    let d0 = warm(base);
    let d1 = warm(base + LANE);
    let d2 = warm(base + 2 * LANE);
    let hit1: usize = 0;
    let hit2: usize = 0;
    const end = base + LANE;
    for (let p = base; p < end; p += 2) {
      d0 = roll(d0, p);
      d1 = roll(d1, p + LANE);
      d2 = roll(d2, p + 2 * LANE);
      if ((d0 & mask) == 0) return p + 1;
      if ((d1 & mask) == 0 && hit1 == 0) hit1 = p + LANE + 1;
      if ((d2 & mask) == 0 && hit2 == 0) hit2 = p + 2 * LANE + 1;
      d0 = roll(d0, p + 1);
      d1 = roll(d1, p + LANE + 1);
      d2 = roll(d2, p + 2 * LANE + 1);
      if ((d0 & mask) == 0) return p + 2;
      if ((d1 & mask) == 0 && hit1 == 0) hit1 = p + LANE + 2;
      if ((d2 & mask) == 0 && hit2 == 0) hit2 = p + 2 * LANE + 2;
    }
    if (hit1 != 0) return hit1;
    if (hit2 != 0) return hit2;
    base += LANES * LANE;
  }
  return base < to ? scanOneLane(base, to, mask) : 0;
}
