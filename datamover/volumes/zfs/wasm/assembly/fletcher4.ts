// ZFS's fletcher-4: four 64-bit sums over 32-bit words, a += w, b += a, c += b, d += c, each modulo 2^64 (OpenZFS,
// module/zcommon/zfs_fletcher.c describes it and its superscalar forms). The plain twin is ../../fletcher4-plain.ts.
//
// Word j of n counts once in a, k = n - j times in b, k(k+1)/2 times in c and k(k+1)(k+2)/6 times in d. Even and odd words
// are summed in two SIMD lanes of their own; the weights of a lane are polynomials of q, the pairs from here to the end (k is
// 2q for even words and 2q - 1 for odd ones), so the lanes' four sums give those of all words.

let a: u64, b: u64, c: u64, d: u64;

/** Words of one pass: n(n+1)(n+2) stays below 2^63. */
const PASS: usize = 1 << 20;

export function reset(): void {
  a = 0; b = 0; c = 0; d = 0;
}

// @ts-ignore: decorator
@inline function word(at: usize, swap: bool): u64 {
  const w = load<u32>(at);
  return <u64>(swap ? bswap<u32>(w) : w);
}

// @ts-ignore: decorator
@inline function words(at: usize, swap: bool): v128 {
  const w = v128.load(at);
  return swap ? i8x16.shuffle(w, w, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12) : w;
}

/** Adds n words, a multiple of four and not more than PASS, to the sums. */
// @ts-ignore: decorator
@inline function pass(at: usize, n: usize, swap: bool): void {
  let va = i64x2.splat(0), vb = va, vc = va, vd = va;
  const end = at + (n << 2);
  for (let p = at; p < end; p += 16) {
    const w = words(p, swap);
    va = i64x2.add(va, i64x2.extend_low_i32x4_u(w));
    vb = i64x2.add(vb, va);
    vc = i64x2.add(vc, vb);
    vd = i64x2.add(vd, vc);
    va = i64x2.add(va, i64x2.extend_high_i32x4_u(w));
    vb = i64x2.add(vb, va);
    vc = i64x2.add(vc, vb);
    vd = i64x2.add(vd, vc);
  }
  const a0 = i64x2.extract_lane(va, 0), a1 = i64x2.extract_lane(va, 1);
  const b0 = i64x2.extract_lane(vb, 0), b1 = i64x2.extract_lane(vb, 1);
  const c0 = i64x2.extract_lane(vc, 0), c1 = i64x2.extract_lane(vc, 1);
  const d0 = i64x2.extract_lane(vd, 0), d1 = i64x2.extract_lane(vd, 1);
  const k = <u64>n, k2 = (k * (k + 1)) / 2, k3 = (k * (k + 1) * (k + 2)) / 6;
  d = d + k * c + k2 * b + k3 * a + (8 * d0 - 4 * c0 + 8 * d1 - 8 * c1 + b1);
  c = c + k * b + k2 * a + (4 * c0 - b0 + 4 * c1 - 3 * b1);
  b = b + k * a + (2 * b0 + 2 * b1 - a1);
  a = a + a0 + a1;
}

/** Adds `length` bytes, a multiple of four, to the sums; `swap` where the words are of the other byte order. */
export function foldBytes(at: usize, length: usize, swap: bool): void {
  let n = length >> 2;
  while (n >= 4) {
    const m = n < PASS ? n & ~3 : PASS;
    if (swap) pass(at, m, true);
    else pass(at, m, false);
    at += m << 2;
    n -= m;
  }
  for (; n > 0; n--, at += 4) {
    a += word(at, swap);
    b += a;
    c += b;
    d += c;
  }
}

// @ts-ignore: decorator
@inline function stored(at: usize, swap: bool): u64 {
  const w = load<u64>(at);
  return swap ? bswap<u64>(w) : w;
}

/** Whether the 32 bytes at `at` are the sums so far. */
export function matches(at: usize, swap: bool): bool {
  return stored(at, swap) == a && stored(at + 8, swap) == b && stored(at + 16, swap) == c && stored(at + 24, swap) == d;
}

/** Adds a record's header to the sums and says whether the checksum at its end is that of all before it. */
export function foldHeader(at: usize, swap: bool): bool {
  foldBytes(at, 280, swap);
  const right = matches(at + 280, swap);
  foldBytes(at + 280, 32, swap);
  return right;
}

/** Writes the sums so far as the 32 bytes at `at`. */
export function put(at: usize, swap: bool): void {
  store<u64>(at, swap ? bswap<u64>(a) : a);
  store<u64>(at + 8, swap ? bswap<u64>(b) : b);
  store<u64>(at + 16, swap ? bswap<u64>(c) : c);
  store<u64>(at + 24, swap ? bswap<u64>(d) : d);
}
