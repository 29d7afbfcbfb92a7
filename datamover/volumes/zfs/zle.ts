import { damaged } from '../refusal.ts';

/** Counts up to this are of bytes that follow, those above of zeros (OpenZFS, module/zfs/zle.c, at its only level). */
const LITERALS = 64;

/** Decodes ZLE, runs of zeros, into `output`, which it must fill exactly. */
export function decodeZle(input: Uint8Array, output: Uint8Array): void {
  let at = 0;
  let out = 0;
  while (out < output.length) {
    const byte = input[at++];
    const literals = byte !== undefined && byte < LITERALS ? byte + 1 : 0;
    const count = byte === undefined ? 0 : literals || byte + 1 - LITERALS;
    if (count === 0 || at + literals > input.length || out + count > output.length) {
      throw damaged('its zle data do not unpack');
    }
    if (literals > 0) output.set(input.subarray(at, at + literals), out);
    else output.fill(0, out, out + count);
    at += literals;
    out += count;
  }
}
