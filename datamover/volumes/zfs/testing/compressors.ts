/** Where the bytes at `at` came before: the nearest of at most `reach` back, as long as it goes. */
function match(bytes: Uint8Array, at: number, reach: number): { distance: number; length: number } {
  let best = { distance: 0, length: 0 };
  for (let distance = 1; distance <= Math.min(at, reach); distance++) {
    let length = 0;
    while (at + length < bytes.length && bytes[at + length] === bytes[at + length - distance]) length++;
    if (length > best.length) best = { distance, length };
  }
  return best;
}

/** LZ4 as ZFS stores it: the length, then a block whose last five bytes are literals. */
export function encodeLz4(bytes: Uint8Array): Buffer {
  const out: number[] = [];
  let literalsAt = 0;
  const extend = (count: number): void => {
    for (let rest = count - 15; rest >= 0; rest -= 255) out.push(Math.min(rest, 255));
  };
  for (let at = 0; at < bytes.length;) {
    const { distance, length } = at < bytes.length - 12 ? match(bytes, at, 300) : { distance: 0, length: 0 };
    const taken = Math.min(length, bytes.length - 5 - at);
    if (taken < 4) {
      at++;
      continue;
    }
    const literals = at - literalsAt;
    out.push((Math.min(literals, 15) << 4) | Math.min(taken - 4, 15));
    extend(literals);
    out.push(...bytes.subarray(literalsAt, at), distance & 255, distance >> 8);
    extend(taken - 4);
    at += taken;
    literalsAt = at;
  }
  const literals = bytes.length - literalsAt;
  out.push(Math.min(literals, 15) << 4);
  extend(literals);
  out.push(...bytes.subarray(literalsAt));
  const header = Buffer.alloc(4);
  header.writeUInt32BE(out.length);
  return Buffer.concat([header, Buffer.from(out)]);
}

export function encodeLzjb(bytes: Uint8Array): Buffer {
  const out: number[] = [];
  let mapAt = 0;
  let items = 8;
  for (let at = 0; at < bytes.length;) {
    if (items === 8) {
      mapAt = out.push(0) - 1;
      items = 0;
    }
    const { distance, length } = match(bytes, at, 300);
    const taken = Math.min(length, 66);
    if (taken >= 3) {
      const word = ((taken - 3) << 10) | distance;
      out.push(word >> 8, word & 255);
      out[mapAt] = (out[mapAt] ?? 0) | (1 << items);
      at += taken;
    } else {
      out.push(bytes[at++] ?? 0);
    }
    items++;
  }
  return Buffer.from(out);
}

export function encodeZle(bytes: Uint8Array): Buffer {
  const out: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const zero = bytes[at] === 0;
    let end = at + 1;
    while (end < bytes.length && (bytes[end] === 0) === zero && end - at < (zero ? 192 : 64)) end++;
    out.push(zero ? end - at + 63 : end - at - 1);
    if (!zero) out.push(...bytes.subarray(at, end));
    at = end;
  }
  return Buffer.from(out);
}
