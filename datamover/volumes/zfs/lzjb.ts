import { damaged } from '../refusal.ts';

/** A match has its length in the high 6 of 16 bits, less the least length, and its distance in the low 10. */
const LEAST = 3;

/** Decodes LZJB (OpenZFS, module/zfs/lzjb.c), ZFS's oldest compression, into `output`, which it must fill exactly. */
export function decodeLzjb(input: Uint8Array, output: Uint8Array): void {
  let at = 0;
  let out = 0;
  // A map byte says of the eight items behind it, from its lowest bit, which are matches.
  for (let map = 0, bit = 256; out < output.length; bit <<= 1) {
    if (bit === 256) {
      map = next(input, at++);
      bit = 1;
    }
    if ((map & bit) === 0) {
      output[out++] = next(input, at++);
      continue;
    }
    const match = (next(input, at) << 8) | next(input, at + 1);
    at += 2;
    const distance = match & 1023;
    if (distance === 0 || distance > out) throw damaged('its lzjb data do not unpack');
    const end = Math.min(out + (match >>> 10) + LEAST, output.length);
    for (; out < end; out++) output[out] = output[out - distance] ?? 0;
  }
}

function next(input: Uint8Array, at: number): number {
  const byte = input[at];
  if (byte === undefined) throw damaged('its lzjb data do not unpack');
  return byte;
}
