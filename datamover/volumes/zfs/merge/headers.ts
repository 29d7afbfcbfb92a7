import { Refusal } from '../../refusal.ts';
import { HEADER_BYTES, type RecordType } from '../record.ts';

/**
 * Fields of headers that only a merge reads or writes, by their place (OpenZFS, include/sys/zfs_ioctl.h). What SendStream has
 * decoded already is not repeated here.
 */
const BEGIN_VERSION_AT = 16;
const BEGIN_FLAGS_AT = 36;
const BEGIN_TO_GUID_AT = 40;
const BEGIN_FROM_GUID_AT = 48;
const SPILL_FLAGS_AT = 32;
const FREEOBJECTS = 2;
/** The two lowest bits of drr_versioninfo are the kind of the header, the features follow. */
const SUBSTREAM = 1n;

/** drr_flags of BEGIN. */
const BEGIN_IS_CLONE = 1 << 0;
const BEGIN_HAS_FREES = 1 << 2;
const BEGIN_HAS_SPILLS = 1 << 3;
/** DRR_OBJECT_SPILL, and of a SPILL record DRR_SPILL_UNMODIFIED. */
const SPILL_FLAG = 1 << 2;

/** Where each kind of record names the snapshot that it leads to. */
const TO_GUID_AT: Readonly<Partial<Record<RecordType, number>>> = {
  BEGIN: BEGIN_TO_GUID_AT,
  OBJECT: 40,
  FREEOBJECTS: 24,
  WRITE: 40,
  FREE: 32,
  END: 40,
  SPILL: 24,
  WRITE_EMBEDDED: 32,
  OBJECT_RANGE: 24,
};

/** What an OBJECT record says of a dnode besides its number, type and block size. */
export interface ObjectHeader {
  readonly bonusType: number;
  readonly bonusBytes: number;
  readonly slots: number;
  readonly hasSpill: boolean;
  /** Of a raw stream, whose receiver makes the dnode exactly as it was; 0 in others. */
  readonly indirectShift: number;
  readonly levels: number;
  readonly pointers: number;
}

/** Reads and changes headers of one byte order. */
export class HeaderFields {
  readonly #little: boolean;

  constructor(bigEndian: boolean) {
    this.#little = !bigEndian;
  }

  object(header: Uint8Array): ObjectHeader {
    const view = viewOf(header);
    return {
      bonusType: view.getUint32(20, this.#little),
      bonusBytes: view.getUint32(28, this.#little),
      // Senders without large dnodes write none.
      slots: Math.max(1, view.getUint8(34)),
      hasSpill: (view.getUint8(35) & SPILL_FLAG) !== 0,
      indirectShift: view.getUint8(48),
      levels: view.getUint8(49),
      pointers: view.getUint8(50),
    };
  }

  /** Whether the sender tells of all that was freed, and of every spill block: since OpenZFS 0.8. */
  tellsAll(begin: Uint8Array): boolean {
    const flags = viewOf(begin).getUint32(BEGIN_FLAGS_AT, this.#little);
    return (flags & BEGIN_HAS_FREES) !== 0 && (flags & BEGIN_HAS_SPILLS) !== 0;
  }

  toGuid(begin: Uint8Array): bigint {
    return viewOf(begin).getBigUint64(BEGIN_TO_GUID_AT, this.#little);
  }

  /** The BEGIN of a full stream with these features. */
  fullBegin(begin: Uint8Array, featureFlags: number): Uint8Array {
    const header = Uint8Array.from(begin);
    const view = viewOf(header);
    view.setBigUint64(BEGIN_VERSION_AT, SUBSTREAM | (BigInt(featureFlags >>> 0) << 2n), this.#little);
    view.setUint32(
      BEGIN_FLAGS_AT,
      view.getUint32(BEGIN_FLAGS_AT, this.#little) & ~BEGIN_IS_CLONE,
      this.#little,
    );
    view.setBigUint64(BEGIN_FROM_GUID_AT, 0n, this.#little);
    return header;
  }

  /** Makes a record of one stream one of another; `header` is changed. */
  moveTo(header: Uint8Array, type: RecordType, toGuid: bigint): void {
    const at = TO_GUID_AT[type];
    if (at === undefined) throw new Error(`${type} has no place in a merged stream`);
    const view = viewOf(header);
    view.setBigUint64(at, toGuid, this.#little);
    // To a receiver of a full stream no spill block is one that it has already.
    if (type === 'SPILL') view.setUint8(SPILL_FLAGS_AT, view.getUint8(SPILL_FLAGS_AT) & ~SPILL_FLAG);
  }

  freeObjects(first: number, count: number): Uint8Array {
    const header = new Uint8Array(HEADER_BYTES);
    const view = viewOf(header);
    view.setUint32(0, FREEOBJECTS, this.#little);
    view.setBigUint64(8, BigInt(first), this.#little);
    view.setBigUint64(16, BigInt(count), this.#little);
    return header;
  }
}

const FROM_IVSET = Buffer.from('from_ivset_guid\0', 'latin1');
/** Of a pair of an nvlist: its name begins 16 bytes behind it, its value 8-aligned behind that (nvlist.ts). */
const NAME_AT = 16;
const VALUE_AT = Math.ceil((NAME_AT + FROM_IVSET.length) / 8) * 8;

/** The keys that a raw stream carries in BEGIN, as those of a full one: it follows on no other set of initialization vectors. */
export function fullKeys(payload: Uint8Array): Uint8Array {
  const list = Buffer.from(payload);
  const name = list.indexOf(FROM_IVSET);
  const at = name - NAME_AT + VALUE_AT;
  if (name < NAME_AT || at + 8 > list.length)
    throw new Refusal('its beginning does not tell of keys as OpenZFS does', 'send a full stream');
  list.fill(0, at, at + 8);
  return list;
}

function viewOf(header: Uint8Array): DataView {
  return new DataView(header.buffer, header.byteOffset, header.length);
}
