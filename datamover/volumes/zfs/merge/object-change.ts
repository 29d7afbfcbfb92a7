import { Refusal } from '../../refusal.ts';
import type { ObjectHeader } from './headers.ts';

/** What decides whether an object's earlier content stays when it is announced again. */
export interface ObjectShape extends ObjectHeader {
  readonly object: number;
  readonly objectType: number;
  readonly blockBytes: number;
  /** Of the blocks up to its end. */
  readonly contentBytes: number;
  readonly bonus: Uint8Array;
  readonly bigEndian: boolean;
}

/** SPA_OLD_MAXBLOCKSIZE: larger blocks are sent only with -L. */
const LARGEST_SMALL_BLOCK = 128 << 10;
/** DMU_OT_PLAIN_FILE_CONTENTS. */
const PLAIN_FILE = 19;
/** DMU_OT_ZNODE and DMU_OT_SA. */
const ZNODE = 17;
const SYSTEM_ATTRIBUTES = 44;
const ZNODE_GENERATION_AT = 64;
const ATTRIBUTES_MAGIC = 0x2f505a;
/** Behind mode and size. */
const ATTRIBUTES_GENERATION_AT = 16;

/**
 * Whether a receiver drops the content that it has of an object before it takes the announced one, as OpenZFS does
 * (module/zfs/dmu_recv.c, receive_handle_existing_object): the number is then that of another file.
 * @throws Refusal where the same file has larger blocks than before: -L was turned on, and its old blocks would stay small.
 */
export function dropsContent(had: ObjectShape, gets: ObjectShape): boolean {
  if (gets.slots !== had.slots || pointersOf(gets) < pointersOf(had)) return true;
  // Of raw streams, where nothing else can be compared, the shape alone decides.
  if (gets.levels > 0 || had.levels > 0) {
    return (
      gets.blockBytes !== had.blockBytes ||
      gets.indirectShift !== had.indirectShift ||
      gets.levels < had.levels
    );
  }
  if (gets.blockBytes === had.blockBytes) return false;
  if (
    gets.objectType !== PLAIN_FILE ||
    had.objectType !== PLAIN_FILE ||
    // A size below that is no trace of -L: the file was cut to nothing, and all of it was written again.
    had.blockBytes < LARGEST_SMALL_BLOCK ||
    pointersOf(gets) !== pointersOf(had) ||
    had.blockBytes > LARGEST_SMALL_BLOCK ||
    had.blockBytes > gets.blockBytes ||
    had.contentBytes <= had.blockBytes
  ) {
    return true;
  }
  if (generationOf(gets) !== generationOf(had)) return true;
  throw new Refusal(
    `object ${gets.object} has blocks of ${gets.blockBytes} bytes, and of ${had.blockBytes} in the streams before: large blocks were turned on between them`,
    'a chain whose streams were all sent with zfs send -L can be merged: send a full one',
  );
}

/** deduce_nblkptr: how many block pointers the bonus leaves room for. */
function pointersOf({ bonusType, bonusBytes, pointers }: ObjectHeader): number {
  if (pointers > 0) return pointers;
  return bonusType === SYSTEM_ATTRIBUTES ? 1 : 1 + ((320 - Math.min(320, bonusBytes)) >> 7);
}

/** The generation tells files apart that had the same object number one after the other. */
function generationOf({ object, bonusType, bonus, bigEndian }: ObjectShape): bigint {
  const view = new DataView(bonus.buffer, bonus.byteOffset, bonus.length);
  const read = (at: number): bigint | undefined =>
    at + 8 <= view.byteLength ? view.getBigUint64(at, !bigEndian) : undefined;
  let generation: bigint | undefined;
  if (bonusType === ZNODE) generation = read(ZNODE_GENERATION_AT);
  if (
    bonusType === SYSTEM_ATTRIBUTES &&
    view.byteLength >= 8 &&
    view.getUint32(0, !bigEndian) === ATTRIBUTES_MAGIC
  ) {
    const headerBytes = ((view.getUint16(4, !bigEndian) >> 10) & 0x3f) * 8;
    generation = read(headerBytes + ATTRIBUTES_GENERATION_AT);
  }
  if (generation !== undefined) return generation;
  throw new Refusal(
    `object ${object} changes the size of its blocks, and nothing tells whether it is the same file`,
    'send a full stream',
  );
}
