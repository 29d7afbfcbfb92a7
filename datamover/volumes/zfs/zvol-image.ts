import { decompressBlock } from './compression.ts';
import { ImagePatch, type CellSink } from '../image-patch.ts';
import type { BeginRecord, EmbeddedRecord, ObjectRecord, SendRecord, WriteRecord } from './record.ts';
import { damaged, Refusal } from '../refusal.ts';
import type { SendStreamHandler } from './send-stream.ts';
import { volumeSize } from './volume-size.ts';

/** The backup that an incremental stream is applied to. */
export interface ZvolBase {
  /** Of the snapshot that was backed up; undefined where the backup does not know. */
  readonly guid: string | undefined;
  readonly bytes: number;
  /** For messages: `backup 1a2b3c4d`. */
  readonly name: string;
}

export interface ZvolImageOptions {
  readonly cellBytes: number;
  readonly sink: CellSink;
  /** Of an incremental stream: asked for with the stream's first record, and compared with what it builds on. */
  readonly base?: ZvolBase;
}

/** What a stream said of the volume. */
export interface ZvolFacts {
  /** Guids are decimal. */
  readonly guid: string;
  readonly fromGuid: string | undefined;
  readonly snapshot: string;
  readonly bytes: number;
  /** volblocksize; undefined where an increment changed nothing. */
  readonly blockBytes: number | undefined;
}

/** A volume has two objects: its data and its properties (OpenZFS, include/sys/zvol.h and dmu.h), of these types. */
const DATA = 1;
const PROPERTIES = 2;
const TYPES: Readonly<Record<number, number>> = { [DATA]: 23, [PROPERTIES]: 24 };

const AS_STREAM = 'keep it as it is: --as zfs';

/** Makes the cells of an image from a zvol's send stream, full or incremental; handler of a SendStream. */
export class ZvolImage implements SendStreamHandler {
  readonly #options: ZvolImageOptions;
  #patch: ImagePatch | undefined;
  #begin: BeginRecord | undefined;
  #bytes: number | undefined;
  #blockBytes: number | undefined;
  #finished = false;
  /** The stored form of the block that is arriving, and where the unpacked one goes. */
  #stored = new Uint8Array(0);
  #block = new Uint8Array(0);

  constructor(options: ZvolImageOptions) {
    this.#options = options;
  }

  /** After the stream's end. */
  facts(): ZvolFacts {
    if (!this.#finished || this.#begin === undefined || this.#bytes === undefined) {
      throw new Error('the stream has not ended');
    }
    const { toGuid, fromGuid, toName } = this.#begin;
    return {
      guid: toGuid,
      fromGuid,
      snapshot: toName,
      bytes: this.#bytes,
      blockBytes: this.#blockBytes,
    };
  }

  record(record: SendRecord): void {
    switch (record.type) {
      case 'BEGIN':
        this.#start(record);
        return;
      case 'OBJECT':
        this.#object(record);
        return;
      case 'FREEOBJECTS':
        if (record.firstObject <= PROPERTIES && record.firstObject + record.count > DATA) {
          throw new Refusal('it removes the volume itself', AS_STREAM);
        }
        return;
      case 'WRITE':
        check(record.object);
        return;
      case 'WRITE_EMBEDDED':
        check(record.object);
        if (record.offset === undefined || record.logicalBytes > record.length) {
          throw damaged('a block has no place in the volume');
        }
        return;
      case 'FREE':
        check(record.object);
        if (record.object === DATA) this.#patch?.free(record.offset, record.length);
        else if (record.offset === 0) throw new Refusal('it removes the size of the volume', AS_STREAM);
        return;
      case 'SPILL':
      case 'OBJECT_RANGE':
      case 'REDACT':
      case 'UNKNOWN':
        throw new Refusal('no plain stream of a volume has such a record', AS_STREAM);
      case 'END':
        this.#finish();
    }
  }

  payload(record: SendRecord, bytes: Uint8Array, at: number): void {
    if (record.type === 'WRITE') {
      if (record.compression === 0 && record.object === DATA) this.#patch?.write(record.offset + at, bytes);
      else this.#collect(record, bytes, at, record.payloadBytes);
    } else if (record.type === 'WRITE_EMBEDDED') {
      this.#collect(record, bytes, at, record.storedBytes);
    }
  }

  #start(record: BeginRecord): void {
    if (record.content !== 'zvol')
      throw new Refusal('it is the stream of a filesystem, not of a volume', AS_STREAM);
    if (record.features.has('raw')) {
      throw new Refusal('it is a raw stream (zfs send -w): its blocks are encrypted', AS_STREAM);
    }
    if (record.features.has('redacted')) throw new Refusal('it is redacted: parts of it are left out');
    const { base } = this.#options;
    if (record.fromGuid !== undefined) checkBase(record.fromGuid, base);
    this.#begin = record;
    const baseBytes = record.fromGuid === undefined ? undefined : base?.bytes;
    this.#bytes = baseBytes;
    this.#patch = new ImagePatch(this.#options.sink, this.#options.cellBytes, baseBytes ?? 0);
  }

  #object({ object, objectType, blockBytes }: ObjectRecord): void {
    check(object);
    if (objectType !== TYPES[object]) throw damaged(`object ${object} of type ${objectType} is no volume's`);
    if (object === DATA) this.#blockBytes = blockBytes;
  }

  /** Takes a block that cannot be used as it arrives: it is packed, or tells the size. */
  #collect(record: WriteRecord | EmbeddedRecord, bytes: Uint8Array, at: number, storedBytes: number): void {
    let stored = bytes;
    if (bytes.length < record.payloadBytes) {
      if (this.#stored.length < record.payloadBytes) this.#stored = new Uint8Array(record.payloadBytes);
      this.#stored.set(bytes, at);
      if (at + bytes.length < record.payloadBytes) return;
      stored = this.#stored.subarray(0, record.payloadBytes);
    }
    if (this.#block.length < record.length) this.#block = new Uint8Array(record.length);
    const block = this.#block.subarray(0, record.length);
    const filled = record.type === 'WRITE' ? record.length : record.logicalBytes;
    decompressBlock(record.compression, stored.subarray(0, storedBytes), block.subarray(0, filled));
    block.fill(0, filled);
    if (record.object === DATA) this.#patch?.write(record.offset ?? 0, block);
    else if (record.offset === 0) this.#bytes = volumeSize(block);
  }

  #finish(): void {
    if (this.#bytes === undefined) throw damaged('it does not tell the size of the volume');
    this.#patch?.finish(this.#bytes);
    this.#finished = true;
  }
}

function check(object: number): void {
  if (object !== DATA && object !== PROPERTIES) {
    throw new Refusal(`object ${object} is no part of a volume that this version knows`, AS_STREAM);
  }
}

function checkBase(fromGuid: string, base: ZvolBase | undefined): void {
  if (base?.guid === fromGuid) return;
  const what = `it holds what changed since the snapshot with guid ${fromGuid}`;
  const hint = 'send from the snapshot that was backed up last (zfs send -i), or a full stream';
  if (base === undefined) throw new Refusal(`${what}, and the volume has no backup yet`, hint);
  throw new Refusal(
    base.guid === undefined
      ? `${what}, and ${base.name} does not know of which snapshot it is`
      : `${what}, but ${base.name} is of the one with guid ${base.guid}`,
    hint,
  );
}
