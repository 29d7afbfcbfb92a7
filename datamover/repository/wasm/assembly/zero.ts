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
