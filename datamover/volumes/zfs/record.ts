/* Long, for it is one table: each kind of record with its fields. */
import { decodeFeatures, type StreamFeature } from './features.ts';
import { damaged, Refusal } from '../refusal.ts';

/**
 * The records of a send stream (OpenZFS, include/sys/zfs_ioctl.h, struct dmu_replay_record). Every record is a header of 312
 * bytes, the last 32 of them its checksum, and a payload of `payloadBytes`. Offsets and lengths are bytes of an object;
 * Infinity stands for "to its end".
 */
export type SendRecord =
  | BeginRecord
  | ObjectRecord
  | FreeObjectsRecord
  | WriteRecord
  | FreeRecord
  | EmbeddedRecord
  | SpillRecord
  | ObjectRangeRecord
  | RedactRecord
  | UnknownRecord
  | EndRecord;

export type RecordType = SendRecord['type'];

interface AnyRecord {
  readonly payloadBytes: number;
}

/** What the stream is. Its payload is an nvlist that receivers of raw, redacted and held sends need. */
export interface BeginRecord extends AnyRecord {
  readonly type: 'BEGIN';
  readonly bigEndian: boolean;
  readonly content: 'zvol' | 'filesystem';
  readonly features: ReadonlySet<StreamFeature>;
  /** The bits of features that this version has no name for. */
  readonly unknownFeatures: readonly number[];
  readonly featureFlags: number;
  /** The snapshot's guid, decimal; `zfs get guid` shows the same. */
  readonly toGuid: string;
  /** The guid of the snapshot that the stream builds on; undefined for a full one. */
  readonly fromGuid: string | undefined;
  /** `pool/dataset@snapshot`, as it was called where it was sent. */
  readonly toName: string;
  /** Seconds since 1970. */
  readonly creationTime: number;
}

export interface ObjectRecord extends AnyRecord {
  readonly type: 'OBJECT';
  readonly object: number;
  readonly objectType: number;
  readonly blockBytes: number;
}

export interface FreeObjectsRecord extends AnyRecord {
  readonly type: 'FREEOBJECTS';
  readonly firstObject: number;
  readonly count: number;
}

/** A block. Its payload is compressed where `compression` is not 0, and encrypted in a raw stream. */
export interface WriteRecord extends AnyRecord {
  readonly type: 'WRITE';
  readonly object: number;
  readonly objectType: number;
  readonly offset: number;
  readonly length: number;
  readonly compression: number;
}

export interface FreeRecord extends AnyRecord {
  readonly type: 'FREE';
  readonly object: number;
  readonly offset: number;
  readonly length: number;
}

/** A block so small that it lay inside of its pointer: `storedBytes` of the payload are it, padded to eight. */
export interface EmbeddedRecord extends AnyRecord {
  readonly type: 'WRITE_EMBEDDED';
  readonly object: number;
  /**
   * Undefined for what OpenZFS sends by mistake: a spill block that is embedded, at an offset no file has (openzfs/zfs#18239).
   * A receiver drops it, and the file's attributes with it.
   */
  readonly offset: number | undefined;
  readonly length: number;
  readonly compression: number;
  readonly logicalBytes: number;
  readonly storedBytes: number;
}

export interface SpillRecord extends AnyRecord {
  readonly type: 'SPILL';
  readonly object: number;
  readonly length: number;
  readonly compression: number;
}

export interface ObjectRangeRecord extends AnyRecord {
  readonly type: 'OBJECT_RANGE';
  readonly firstObject: number;
  readonly slots: number;
}

export interface RedactRecord extends AnyRecord {
  readonly type: 'REDACT';
  readonly object: number;
  readonly offset: number;
  readonly length: number;
}

/** A kind of record that this version has no name for: only what keeps streams as they are takes it. */
export interface UnknownRecord extends AnyRecord {
  readonly type: 'UNKNOWN';
  readonly number: number;
}

export interface EndRecord extends AnyRecord {
  readonly type: 'END';
}

export const HEADER_BYTES = 312;

/** Where END carries the checksum of everything before it. */
export const END_CHECKSUM_AT = 8;

const NAMES = [
  'BEGIN',
  'OBJECT',
  'FREEOBJECTS',
  'WRITE',
  'FREE',
  'END',
  'WRITE_BYREF',
  'SPILL',
  'WRITE_EMBEDDED',
  'OBJECT_RANGE',
  'REDACT',
] as const;

const MAGIC = 0x2f5bacbacn;
/** SPA_MAXBLOCKSIZE: no block of any pool is larger. */
const MAX_BLOCK = 16 << 20;
/** BEGIN's nvlist grows with the snapshots that a stream is redacted by; real ones are kilobytes. */
const MAX_NVLIST = 16 << 20;
const SAFE = Number.MAX_SAFE_INTEGER;

/** The byte order of a stream by the magic number in its first header. */
export function byteOrder(header: DataView, at = 0): 'little' | 'big' {
  if (header.getBigUint64(at + 8, true) === MAGIC) return 'little';
  if (header.getBigUint64(at + 8, false) === MAGIC) return 'big';
  throw new Refusal(
    'it does not begin as a send stream does',
    'give the output of zfs send as it is, not compressed and not encrypted by another program',
  );
}

/**
 * What to do with features and kinds of records that this version does not know: refuse them, or tell them apart by the lengths
 * that every header declares (`drr_payloadlen`), which the next header's checksum proves.
 */
export type UnknownParts = 'refuse' | 'pass';

/** Decodes one header after the other; keeps what all of them must agree on. */
export class RecordDecoder {
  readonly #little: boolean;
  readonly #unknown: UnknownParts;
  #header: DataView;
  #at = 0;
  /** Whether the stream has features that this version does not know. */
  #foreign = false;
  #guidLow = 0;
  #guidHigh = 0;

  constructor(bigEndian: boolean, unknown: UnknownParts = 'refuse') {
    this.#little = !bigEndian;
    this.#unknown = unknown;
    this.#header = new DataView(new ArrayBuffer(0));
  }

  /** The name of the record at `at`, for messages, whatever else is wrong with it. */
  typeName(header: DataView, at: number): string {
    const number = header.getUint32(at, this.#little);
    return NAMES[number] ?? `type ${number}`;
  }

  get foreign(): boolean {
    return this.#foreign;
  }

  decode(header: DataView, at: number): SendRecord {
    this.#header = header;
    this.#at = at;
    const number = this.#u32(0);
    const type = NAMES[number];
    if (type === undefined) {
      if (this.#unknown === 'pass')
        return { type: 'UNKNOWN', number, payloadBytes: limited(this.#u32(4), MAX_BLOCK) };
      throw new Refusal(`a record of type ${number} is unknown to this version`);
    }
    const record = this.#body(type);
    const declared = this.#u32(4);
    if (record.type === 'BEGIN') this.#foreign = record.unknownFeatures.length > 0;
    // What an unknown feature makes of a record is known to its writer alone.
    if (declared !== 0 && this.#foreign) return { ...record, payloadBytes: limited(declared, MAX_BLOCK) };
    if (declared !== 0 && declared !== record.payloadBytes) {
      throw damaged(`its header announces ${declared} bytes where its kind has ${record.payloadBytes}`);
    }
    return record;
  }

  #body(type: (typeof NAMES)[number]): SendRecord {
    switch (type) {
      case 'BEGIN':
        return this.#begin();
      case 'OBJECT': {
        this.#checkGuid(40);
        const raw = this.#u32(36);
        const payloadBytes = limited(raw !== 0 ? raw : roundUp(this.#u32(28)), MAX_BLOCK);
        return {
          type,
          payloadBytes,
          object: this.#exact(8),
          objectType: this.#u32(16),
          blockBytes: this.#u32(24),
        };
      }
      case 'FREEOBJECTS':
        this.#checkGuid(24);
        return { type, payloadBytes: 0, firstObject: this.#exact(8), count: this.#span(16) };
      case 'WRITE': {
        this.#checkGuid(40);
        const compression = this.#u8(50);
        const length = this.#block(32);
        return {
          type,
          payloadBytes: compression === 0 ? length : this.#block(96),
          object: this.#exact(8),
          objectType: this.#u32(16),
          offset: this.#exact(24),
          length,
          compression,
        };
      }
      case 'FREE':
      case 'REDACT':
        this.#checkGuid(32);
        return {
          type,
          payloadBytes: 0,
          object: this.#exact(8),
          offset: this.#exact(16),
          length: this.#span(24),
        };
      case 'WRITE_BYREF':
        throw new Refusal(
          'the stream is deduplicated (zfs send -D)',
          'send it without -D, or pass it through zstream redup',
        );
      case 'SPILL': {
        this.#checkGuid(24);
        const length = this.#block(16);
        const stored = this.#span(40);
        return {
          type,
          payloadBytes: stored === 0 ? length : this.#block(40),
          object: this.#exact(8),
          length,
          compression: this.#u8(33),
        };
      }
      case 'WRITE_EMBEDDED': {
        this.#checkGuid(32);
        const storedBytes = this.#u32(52);
        const kind = this.#u8(41);
        // Kind 0 is data (BP_EMBEDDED_TYPE_DATA); no other is ever sent.
        if (kind !== 0) throw new Refusal(`embedded data of kind ${kind} is unknown to this version`);
        const offset = this.#span(16);
        return {
          type,
          payloadBytes: limited(roundUp(storedBytes), MAX_BLOCK),
          object: this.#exact(8),
          offset: offset === Infinity ? undefined : offset,
          length: this.#block(24),
          compression: this.#u8(40),
          logicalBytes: limited(this.#u32(48), MAX_BLOCK),
          storedBytes,
        };
      }
      case 'OBJECT_RANGE':
        this.#checkGuid(24);
        return { type, payloadBytes: 0, firstObject: this.#exact(8), slots: this.#span(16) };
      case 'END':
        this.#checkGuid(40);
        return { type, payloadBytes: 0 };
    }
  }

  #begin(): BeginRecord {
    if (this.#u64(8) !== MAGIC) throw damaged('its magic number is wrong');
    const version = this.#u64(16);
    const kind = Number(version & 3n);
    if (kind === 2) {
      throw new Refusal(
        'it is a package of several streams (zfs send -R, -I or -p)',
        'send one snapshot at a time: zfs send, or zfs send -i',
      );
    }
    if (kind !== 1) throw new Refusal(`a stream of kind ${kind} is unknown to this version`);
    if (version >> 32n !== 0n) throw new Refusal('its version is unknown to this version');
    const featureFlags = Number(version >> 2n);
    const { features, unknown } = decodeFeatures(featureFlags);
    if (unknown.length > 0 && this.#unknown === 'refuse') {
      throw new Refusal(
        `it uses features that are unknown to this version (flags ${unknown.join(', ')})`,
        'a newer version may know them',
      );
    }
    if (features.has('dedup') || features.has('dedup-properties')) {
      throw new Refusal(
        'the stream is deduplicated (zfs send -D)',
        'send it without -D, or pass it through zstream redup',
      );
    }
    if (features.has('resuming')) {
      throw new Refusal(
        'it is the rest of an interrupted send (zfs send -t)',
        'only a stream from its beginning makes a backup: send it without -t',
      );
    }
    const set = this.#u32(32);
    // DMU_OST_ZFS and DMU_OST_ZVOL; the others are a pool's own.
    if (set !== 2 && set !== 3)
      throw new Refusal(`an object set of type ${set} is neither a volume nor a filesystem`);
    const from = this.#u64(48);
    this.#guidLow = this.#u32(this.#little ? 40 : 44);
    this.#guidHigh = this.#u32(this.#little ? 44 : 40);
    return {
      type: 'BEGIN',
      payloadBytes: limited(this.#u32(4), MAX_NVLIST),
      bigEndian: !this.#little,
      content: set === 3 ? 'zvol' : 'filesystem',
      features,
      unknownFeatures: unknown,
      featureFlags,
      toGuid: String(this.#u64(40)),
      fromGuid: from === 0n ? undefined : String(from),
      toName: this.#text(56, 256),
      creationTime: this.#exact(24),
    };
  }

  #checkGuid(at: number): void {
    const [low, high] = this.#little ? [at, at + 4] : [at + 4, at];
    if (this.#u32(low) !== this.#guidLow || this.#u32(high) !== this.#guidHigh) {
      throw damaged('it belongs to another snapshot than the stream');
    }
  }

  #u8(at: number): number {
    return this.#header.getUint8(this.#at + at);
  }

  #u32(at: number): number {
    return this.#header.getUint32(this.#at + at, this.#little);
  }

  #u64(at: number): bigint {
    return this.#header.getBigUint64(this.#at + at, this.#little);
  }

  /** An unsigned 64-bit number; Infinity beyond what a number holds exactly, as ZFS writes "to the end" in many ways. */
  #span(at: number): number {
    const first = this.#u32(at);
    const second = this.#u32(at + 4);
    const value = this.#little ? first + second * 2 ** 32 : first * 2 ** 32 + second;
    return value > SAFE ? Infinity : value;
  }

  #exact(at: number): number {
    const value = this.#span(at);
    if (value === Infinity) throw damaged(`the number ${this.#u64(at)} is beyond all sizes`);
    return value;
  }

  #block(at: number): number {
    return limited(this.#exact(at), MAX_BLOCK, 1);
  }

  #text(at: number, length: number): string {
    const bytes = Buffer.from(this.#header.buffer, this.#header.byteOffset + this.#at + at, length);
    const end = bytes.indexOf(0);
    return bytes.toString('utf8', 0, end < 0 ? length : end);
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** A length that makes sense: payloads are whole words, as the checksum is of words. */
function limited(bytes: number, most: number, least = 0): number {
  if (bytes < least || bytes > most || bytes % 4 !== 0)
    throw damaged(`a length of ${bytes} bytes is impossible`);
  return bytes;
}
