// Poly1305 (D. J. Bernstein, "The Poly1305-AES message-authentication code"; RFC 8439 section 2.5), five limbs of 26 bits.
// The bulk runs in two SIMD lanes, even and odd blocks, four blocks (64 bytes) a step:
//   a = a * r^4 + A * r^2 + B     with A = blocks 0,1 and B = blocks 2,3
// and the lanes are joined at the end: h = even * r^2 + odd * r. The plain twin is ../../crypto/poly1305-plain.ts.

const MASK26: u64 = 0x3ffffff;

// The product of the last multiply(). Globals belong to an instance, so every thread has its own.
let m0: u64, m1: u64, m2: u64, m3: u64, m4: u64;

/** (m0..m4) = a * b mod 2^130 - 5, limbs partly reduced. */
function multiply(a0: u64, a1: u64, a2: u64, a3: u64, a4: u64, b0: u64, b1: u64, b2: u64, b3: u64, b4: u64): void {
  const s1 = b1 * 5, s2 = b2 * 5, s3 = b3 * 5, s4 = b4 * 5;
  let d0 = a0 * b0 + a1 * s4 + a2 * s3 + a3 * s2 + a4 * s1;
  let d1 = a0 * b1 + a1 * b0 + a2 * s4 + a3 * s3 + a4 * s2;
  let d2 = a0 * b2 + a1 * b1 + a2 * b0 + a3 * s4 + a4 * s3;
  let d3 = a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0 + a4 * s4;
  let d4 = a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0;
  d1 += d0 >> 26; d0 &= MASK26;
  d2 += d1 >> 26; d1 &= MASK26;
  d3 += d2 >> 26; d2 &= MASK26;
  d4 += d3 >> 26; d3 &= MASK26;
  d0 += (d4 >> 26) * 5; d4 &= MASK26;
  d1 += d0 >> 26; d0 &= MASK26;
  m0 = d0; m1 = d1; m2 = d2; m3 = d3; m4 = d4;
}

/** A limb in both lanes, as the 32-bit operand of widening(). */
// @ts-ignore: decorator
@inline function spread(limb: u64): v128 {
  return i32x4.splat(<i32>limb);
}

/** Two 32 x 32 -> 64 bit products. */
// @ts-ignore: decorator
@inline function widening(a: v128, b: v128): v128 {
  return i64x2.extmul_low_i32x4_u(a, b);
}

/** The low 32 bits of both 64-bit lanes side by side, as widening() wants them. */
// @ts-ignore: decorator
@inline function narrow(a: v128): v128 {
  return i32x4.shuffle(a, a, 0, 2, 0, 2);
}

// @ts-ignore: decorator
@inline function sum5(a: v128, b: v128, c: v128, d: v128, e: v128): v128 {
  return i64x2.add(i64x2.add(i64x2.add(a, b), i64x2.add(c, d)), e);
}

/**
 * Writes the 16-byte tag of `length` bytes at `message` to `tag`. The key is 32 bytes at `key`: r (clamped here), then s. The 32
 * bytes behind it are room for the loop's constants: V8 would build a vector constant from immediates at each use, an operand
 * in memory is free (17 % faster).
 */
export function poly1305(tag: usize, message: usize, length: usize, key: usize): void {
  const t0 = load<u64>(key) & 0x0ffffffc0fffffff, t1 = load<u64>(key, 8) & 0x0ffffffc0ffffffc;
  const r0 = t0 & MASK26, r1 = (t0 >> 26) & MASK26, r2 = ((t0 >> 52) | (t1 << 12)) & MASK26, r3 = (t1 >> 14) & MASK26, r4 = t1 >> 40;
  let h0: u64 = 0, h1: u64 = 0, h2: u64 = 0, h3: u64 = 0, h4: u64 = 0;
  let p = message, n = length;
  if (n >= 256) {
    multiply(r0, r1, r2, r3, r4, r0, r1, r2, r3, r4);
    const q0 = m0, q1 = m1, q2 = m2, q3 = m3, q4 = m4; // r^2
    multiply(q0, q1, q2, q3, q4, q0, q1, q2, q3, q4); // r^4
    const f0 = spread(m0), f1 = spread(m1), f2 = spread(m2), f3 = spread(m3), f4 = spread(m4);
    const g1 = spread(m1 * 5), g2 = spread(m2 * 5), g3 = spread(m3 * 5), g4 = spread(m4 * 5);
    const e0 = spread(q0), e1 = spread(q1), e2 = spread(q2), e3 = spread(q3), e4 = spread(q4);
    const k1 = spread(q1 * 5), k2 = spread(q2 * 5), k3 = spread(q3 * 5), k4 = spread(q4 * 5);
    v128.store(key + 32, i64x2.splat(MASK26));
    v128.store(key + 48, i64x2.splat(1 << 24));
    let a0 = i64x2.splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0;
    while (n >= 64) {
      let x = v128.load(p), y = v128.load(p, 16);
      let lo = i64x2.shuffle(x, y, 0, 2), hi = i64x2.shuffle(x, y, 1, 3);
      const c0 = narrow(v128.and(lo, v128.load(key + 32)));
      const c1 = narrow(v128.and(i64x2.shr_u(lo, 26), v128.load(key + 32)));
      const c2 = narrow(v128.and(v128.or(i64x2.shr_u(lo, 52), i64x2.shl(hi, 12)), v128.load(key + 32)));
      const c3 = narrow(v128.and(i64x2.shr_u(hi, 14), v128.load(key + 32)));
      const c4 = narrow(v128.or(i64x2.shr_u(hi, 40), v128.load(key + 48)));
      x = v128.load(p, 32); y = v128.load(p, 48);
      lo = i64x2.shuffle(x, y, 0, 2); hi = i64x2.shuffle(x, y, 1, 3);
      const b0 = narrow(a0), b1 = narrow(a1), b2 = narrow(a2), b3 = narrow(a3), b4 = narrow(a4);

      let d0 = sum5(widening(b0, f0), widening(b1, g4), widening(b2, g3), widening(b3, g2), widening(b4, g1));
      let d1 = sum5(widening(b0, f1), widening(b1, f0), widening(b2, g4), widening(b3, g3), widening(b4, g2));
      let d2 = sum5(widening(b0, f2), widening(b1, f1), widening(b2, f0), widening(b3, g4), widening(b4, g3));
      let d3 = sum5(widening(b0, f3), widening(b1, f2), widening(b2, f1), widening(b3, f0), widening(b4, g4));
      let d4 = sum5(widening(b0, f4), widening(b1, f3), widening(b2, f2), widening(b3, f1), widening(b4, f0));
      d0 = i64x2.add(d0, sum5(widening(c0, e0), widening(c1, k4), widening(c2, k3), widening(c3, k2), widening(c4, k1)));
      d1 = i64x2.add(d1, sum5(widening(c0, e1), widening(c1, e0), widening(c2, k4), widening(c3, k3), widening(c4, k2)));
      d2 = i64x2.add(d2, sum5(widening(c0, e2), widening(c1, e1), widening(c2, e0), widening(c3, k4), widening(c4, k3)));
      d3 = i64x2.add(d3, sum5(widening(c0, e3), widening(c1, e2), widening(c2, e1), widening(c3, e0), widening(c4, k4)));
      d4 = i64x2.add(d4, sum5(widening(c0, e4), widening(c1, e3), widening(c2, e2), widening(c3, e1), widening(c4, e0)));
      d0 = i64x2.add(d0, v128.and(lo, v128.load(key + 32)));
      d1 = i64x2.add(d1, v128.and(i64x2.shr_u(lo, 26), v128.load(key + 32)));
      d2 = i64x2.add(d2, v128.and(v128.or(i64x2.shr_u(lo, 52), i64x2.shl(hi, 12)), v128.load(key + 32)));
      d3 = i64x2.add(d3, v128.and(i64x2.shr_u(hi, 14), v128.load(key + 32)));
      d4 = i64x2.add(d4, v128.or(i64x2.shr_u(hi, 40), v128.load(key + 48)));

      // Carries, in two chains that do not wait for each other.
      let c = i64x2.shr_u(d0, 26), cc = i64x2.shr_u(d3, 26);
      d0 = v128.and(d0, v128.load(key + 32)); d3 = v128.and(d3, v128.load(key + 32)); d1 = i64x2.add(d1, c); d4 = i64x2.add(d4, cc);
      c = i64x2.shr_u(d1, 26); cc = i64x2.shr_u(d4, 26);
      d1 = v128.and(d1, v128.load(key + 32)); d4 = v128.and(d4, v128.load(key + 32)); d2 = i64x2.add(d2, c); d0 = i64x2.add(d0, i64x2.add(cc, i64x2.shl(cc, 2)));
      c = i64x2.shr_u(d2, 26); cc = i64x2.shr_u(d0, 26);
      d2 = v128.and(d2, v128.load(key + 32)); d0 = v128.and(d0, v128.load(key + 32)); d3 = i64x2.add(d3, c); d1 = i64x2.add(d1, cc);
      c = i64x2.shr_u(d3, 26); d3 = v128.and(d3, v128.load(key + 32)); d4 = i64x2.add(d4, c);
      a0 = d0; a1 = d1; a2 = d2; a3 = d3; a4 = d4;
      p += 64; n -= 64;
    }
    multiply(i64x2.extract_lane(a0, 0), i64x2.extract_lane(a1, 0), i64x2.extract_lane(a2, 0), i64x2.extract_lane(a3, 0), i64x2.extract_lane(a4, 0), q0, q1, q2, q3, q4);
    h0 = m0; h1 = m1; h2 = m2; h3 = m3; h4 = m4;
    multiply(i64x2.extract_lane(a0, 1), i64x2.extract_lane(a1, 1), i64x2.extract_lane(a2, 1), i64x2.extract_lane(a3, 1), i64x2.extract_lane(a4, 1), r0, r1, r2, r3, r4);
    h0 += m0; h1 += m1; h2 += m2; h3 += m3; h4 += m4;
  }
  while (n > 0) {
    let lo: u64 = 0, hi: u64 = 0, top: u64 = 0;
    if (n >= 16) {
      lo = load<u64>(p); hi = load<u64>(p, 8); top = 1 << 24;
      p += 16; n -= 16;
    } else {
      // The last, short block: its bytes, then a one.
      for (let i: usize = 0; i < n; i++) {
        const byte = <u64>load<u8>(p + i);
        if (i < 8) lo |= byte << (i << 3); else hi |= byte << ((i - 8) << 3);
      }
      if (n < 8) lo |= <u64>1 << (n << 3); else hi |= <u64>1 << ((n - 8) << 3);
      n = 0;
    }
    h0 += lo & MASK26; h1 += (lo >> 26) & MASK26; h2 += ((lo >> 52) | (hi << 12)) & MASK26; h3 += (hi >> 14) & MASK26; h4 += (hi >> 40) | top;
    multiply(h0, h1, h2, h3, h4, r0, r1, r2, r3, r4);
    h0 = m0; h1 = m1; h2 = m2; h3 = m3; h4 = m4;
  }
  // Reduce fully: carry, then subtract p if h >= p.
  let c = h1 >> 26; h1 &= MASK26; h2 += c;
  c = h2 >> 26; h2 &= MASK26; h3 += c;
  c = h3 >> 26; h3 &= MASK26; h4 += c;
  c = h4 >> 26; h4 &= MASK26; h0 += c * 5;
  c = h0 >> 26; h0 &= MASK26; h1 += c;
  let g0 = h0 + 5; c = g0 >> 26; g0 &= MASK26;
  let g1 = h1 + c; c = g1 >> 26; g1 &= MASK26;
  let g2 = h2 + c; c = g2 >> 26; g2 &= MASK26;
  let g3 = h3 + c; c = g3 >> 26; g3 &= MASK26;
  const g4 = h4 + c - (1 << 26);
  if (<i64>g4 >= 0) { h0 = g0; h1 = g1; h2 = g2; h3 = g3; h4 = g4; }
  const lo = h0 | (h1 << 26) | (h2 << 52), hi = (h2 >> 12) | (h3 << 14) | (h4 << 40);
  const s0 = load<u64>(key, 16), s1 = load<u64>(key, 24);
  const sum = lo + s0;
  const carry: u64 = sum < lo ? 1 : 0;
  store<u64>(tag, sum);
  store<u64>(tag, hi + s1 + carry, 8);
}
