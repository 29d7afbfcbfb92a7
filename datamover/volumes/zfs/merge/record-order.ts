import { Refusal } from '../../refusal.ts';
import type { SendRecord } from '../record.ts';

/**
 * Where a stream is in the order of its records, on which a merge relies: objects and freed ranges of them ascend; behind each
 * OBJECT comes what is freed past its end, then at most one SPILL, before or behind blocks and holes that ascend (OpenZFS,
 * module/zfs/dmu_send.c: dump_dnode, traverse_dnode).
 */
export interface OrderState {
  /** The number from which on the next object may be. */
  readonly nextObject: number;
  /** The object that blocks are of; undefined where there is none. */
  readonly object: number | undefined;
  readonly blockBytes: number;
  /** The offset from which on the next block may be. */
  readonly nextOffset: number;
  readonly spill: 'none' | 'before-blocks' | 'behind-blocks';
  /** Whether the object's record is the last. */
  readonly atObject: boolean;
}

export const START_OF_ORDER: OrderState = {
  nextObject: 0,
  object: undefined,
  blockBytes: 0,
  nextOffset: 0,
  spill: 'none',
  atObject: false,
};

/** drr_dn_slots, which the decoder leaves out, may reach over numbers that nobody names: only what is named is compared. */
export function checkOrder(state: OrderState, record: SendRecord): OrderState {
  switch (record.type) {
    case 'BEGIN':
      throw new Refusal('it begins twice');
    case 'END':
      return { ...START_OF_ORDER, nextObject: Infinity };
    case 'OBJECT':
      if (record.object < state.nextObject || record.object === 0) throw disorder(`object ${record.object}`);
      return {
        nextObject: record.object + 1,
        object: record.object,
        blockBytes: record.blockBytes,
        nextOffset: 0,
        spill: 'none',
        atObject: true,
      };
    case 'FREEOBJECTS':
      if (record.firstObject < state.nextObject) throw disorder(`free objects from ${record.firstObject} on`);
      return { ...START_OF_ORDER, nextObject: record.firstObject + record.count };
    case 'SPILL':
      checkObject(state, record.object);
      if (state.spill !== 'none') throw disorder(`a second spill block of object ${record.object}`);
      return {
        ...state,
        spill: state.nextOffset === 0 ? 'before-blocks' : 'behind-blocks',
        atObject: false,
      };
    case 'FREE':
      // Past the end: it comes first, wherever the end is.
      if (state.atObject && record.length === Infinity) {
        checkObject(state, record.object);
        return { ...state, atObject: false };
      }
      return nextPart(state, record.object, record.offset, record.length);
    case 'WRITE':
      checkBlock(state, record.object, record.offset, record.length);
      return nextPart(state, record.object, record.offset, record.length);
    case 'WRITE_EMBEDDED':
      if (record.offset === undefined) {
        throw new Refusal(
          `the attributes of object ${record.object} are lost in it: OpenZFS sent its spill block as data (openzfs/zfs#18239)`,
          'send a full stream without -e',
        );
      }
      checkBlock(state, record.object, record.offset, record.length);
      return nextPart(state, record.object, record.offset, record.length);
    case 'OBJECT_RANGE':
      if (record.firstObject < state.nextObject)
        throw disorder(`the block of objects from ${record.firstObject} on`);
      return { ...START_OF_ORDER, nextObject: record.firstObject };
    case 'REDACT':
      throw new Refusal(
        'parts of it are redacted',
        'a redacted stream is no whole volume: send it without --redact',
      );
    case 'UNKNOWN':
      throw new Refusal(`a record of type ${record.number} is unknown to this version`);
  }
}

function nextPart(state: OrderState, object: number, offset: number, length: number): OrderState {
  checkObject(state, object);
  if (offset < state.nextOffset || state.spill === 'behind-blocks')
    throw disorder(`a part of object ${object} at ${offset}`);
  return { ...state, nextOffset: offset + length, atObject: false };
}

/**
 * Blocks lie on a grid of their size, so that none overlaps another of another stream in part. A shorter one is the end of a block
 * that zfs send without -L cuts in pieces of 128 KiB.
 */
function checkBlock(state: OrderState, object: number, offset: number, length: number): void {
  checkObject(state, object);
  if (offset % state.blockBytes === 0 && length <= state.blockBytes) return;
  throw new Refusal(
    `a block of object ${object}, ${length} bytes at ${offset}, is not on the grid of its ${state.blockBytes} bytes`,
  );
}

function checkObject(state: OrderState, object: number): void {
  if (object !== state.object) throw new Refusal(`a part of object ${object} does not follow its object`);
}

function disorder(what: string): Refusal {
  return new Refusal(`${what} is not in the order in which zfs send writes`);
}
