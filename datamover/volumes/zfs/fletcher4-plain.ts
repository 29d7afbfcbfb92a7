/** The four sums of fletcher-4. */
export type Sums = readonly [bigint, bigint, bigint, bigint];

const MASK = (1n << 64n) - 1n;

/** fletcher-4 word by word, about 10 MiB/s: the twin that tests hold the fast one against, and what their encoder uses. */
export function fletcher4Plain(
  bytes: Uint8Array,
  bigEndian = false,
  [a, b, c, d]: Sums = [0n, 0n, 0n, 0n],
): Sums {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 4) {
    a = (a + BigInt(view.getUint32(at, !bigEndian))) & MASK;
    b = (b + a) & MASK;
    c = (c + b) & MASK;
    d = (d + c) & MASK;
  }
  return [a, b, c, d];
}
