import { damaged, Refusal } from '../refusal.ts';

/** ZBT_MICRO, the first eight bytes of a micro ZAP block (OpenZFS, include/sys/zap_impl.h), high and low half. */
const MICRO_HIGH = 0x80000000;
const MICRO_LOW = 3;
/** A header, then entries of 64 bytes: value (8), collision (4), padding (2), name (50). */
const ENTRY_BYTES = 64;
const NAME_AT = 14;

/**
 * A volume's size in bytes from the block that holds its properties: object 2, a micro ZAP with the one entry `size`. It is
 * in the byte order of the machine that wrote it, which need not be the stream's.
 */
export function volumeSize(block: Uint8Array): number {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const little = isMicro(view, true);
  if (!little && !isMicro(view, false)) {
    throw new Refusal('the properties of the volume are in a form that is unknown to this version');
  }
  for (let at = ENTRY_BYTES; at + ENTRY_BYTES <= block.length; at += ENTRY_BYTES) {
    const name = Buffer.from(block.buffer, block.byteOffset + at + NAME_AT, ENTRY_BYTES - NAME_AT);
    if (name.toString('latin1', 0, name.indexOf(0)) !== 'size') continue;
    const size = Number(view.getBigUint64(at, little));
    if (!Number.isSafeInteger(size) || size === 0) throw damaged(`a volume of ${size} bytes is impossible`);
    return size;
  }
  throw damaged('the properties of the volume lack its size');
}

function isMicro(view: DataView, little: boolean): boolean {
  if (view.byteLength < ENTRY_BYTES) return false;
  const [low, high] = little ? [0, 4] : [4, 0];
  return view.getUint32(low, little) === MICRO_LOW && view.getUint32(high, little) === MICRO_HIGH;
}
