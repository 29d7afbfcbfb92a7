/** How many of `length` bytes from `at` are known to be zero from the start: a multiple of 64, up to the first block that is not. */
export function zeroPrefix(at: usize, length: usize): usize {
  const end = at + (length & ~63);
  let p = at;
  while (p < end) {
    const low = v128.or(v128.load(p), v128.load(p, 16));
    const high = v128.or(v128.load(p, 32), v128.load(p, 48));
    if (v128.any_true(v128.or(low, high))) break;
    p += 64;
  }
  return p - at;
}

/** Whether two ranges of memory hold the same bytes. */
export function equal(a: usize, b: usize, length: usize): bool {
  let i: usize = 0;
  while (i + 64 <= length) {
    const x = v128.or(
      v128.xor(v128.load(a + i), v128.load(b + i)),
      v128.xor(v128.load(a + i, 16), v128.load(b + i, 16)),
    );
    const y = v128.or(
      v128.xor(v128.load(a + i, 32), v128.load(b + i, 32)),
      v128.xor(v128.load(a + i, 48), v128.load(b + i, 48)),
    );
    if (v128.any_true(v128.or(x, y))) return false;
    i += 64;
  }
  while (i < length) {
    if (load<u8>(a + i) != load<u8>(b + i)) return false;
    i++;
  }
  return true;
}
