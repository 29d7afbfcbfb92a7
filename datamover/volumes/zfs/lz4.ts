import { damaged } from '../refusal.ts';

/**
 * Decodes one LZ4 block (lz4 project, doc/lz4_Block_format.md) into `output`, which it must fill exactly. About 600 MiB per
 * CPU-second of what comes out.
 */
export function decodeLz4(input: Uint8Array, output: Uint8Array): void {
  let at = 0;
  let out = 0;
  for (;;) {
    const token = next(input, at++);
    let literals = token >>> 4;
    if (literals === 15) {
      for (let more = 255; more === 255; literals += more) more = next(input, at++);
    }
    if (at + literals > input.length || out + literals > output.length) throw broken();
    if (literals > 32) output.set(input.subarray(at, at + literals), out);
    else for (let i = 0; i < literals; i++) output[out + i] = input[at + i] ?? 0;
    at += literals;
    out += literals;
    // The last sequence has literals alone.
    if (at === input.length) break;
    const distance = next(input, at) | (next(input, at + 1) << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      for (let more = 255; more === 255; length += more) more = next(input, at++);
    }
    if (distance === 0 || distance > out || out + length > output.length) throw broken();
    if (distance >= length && length > 32) output.copyWithin(out, out - distance, out - distance + length);
    // One after the other: what is copied may be what this copy has just written.
    else for (let i = 0; i < length; i++) output[out + i] = output[out + i - distance] ?? 0;
    out += length;
  }
  if (out !== output.length) throw broken();
}

function next(input: Uint8Array, at: number): number {
  const byte = input[at];
  if (byte === undefined) throw broken();
  return byte;
}

function broken(): Error {
  return damaged('its lz4 data do not unpack');
}
