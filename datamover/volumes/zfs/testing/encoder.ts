import { fletcher4Plain, type Sums } from '../fletcher4-plain.ts';

/** What a test writes as a record: the numbers of the header by their place and size, and the payload. */
interface Draft {
  readonly type: number;
  readonly u64?: Readonly<Record<number, bigint | number>>;
  readonly u32?: Readonly<Record<number, number>>;
  readonly u8?: Readonly<Record<number, number>>;
  readonly payload?: Uint8Array;
}

export interface StreamIdentity {
  readonly toGuid?: bigint;
  readonly fromGuid?: bigint;
  readonly featureFlags?: number;
  readonly kind?: number;
  readonly content?: number;
  /** drr_flags of BEGIN. */
  readonly flags?: number;
  readonly nvlist?: Uint8Array;
}

export interface BlockOptions {
  readonly compression?: number;
  /** The stored form; `length` is then that of the block. */
  readonly length?: number;
}

/** Writes send streams of either byte order as ZFS does, with the plain checksum. Small ones: it runs at 10 MiB/s. */
export class StreamEncoder {
  readonly #bigEndian: boolean;
  readonly #toGuid: bigint;
  readonly #parts: Buffer[] = [];
  /** Where each record begins. */
  readonly starts: number[] = [];
  #length = 0;
  #sums: Sums = [0n, 0n, 0n, 0n];

  constructor(identity: StreamIdentity = {}, bigEndian = false) {
    this.#bigEndian = bigEndian;
    this.#toGuid = identity.toGuid ?? 0xfedcba9876543210n;
    const version = BigInt(identity.kind ?? 1) | (BigInt(identity.featureFlags ?? 0) << 2n);
    this.record({
      type: 0,
      u64: { 8: 0x2f5bacbacn, 16: version, 24: 1_700_000_000, 40: this.#toGuid, 48: identity.fromGuid ?? 0n },
      u32: { 4: identity.nvlist?.length ?? 0, 32: identity.content ?? 3, 36: identity.flags ?? 0 },
      ...(identity.nvlist && { payload: identity.nvlist }),
    });
  }

  object(object: number, objectType: number, blockBytes: number): this {
    return this.record({
      type: 1,
      u64: { 8: object, 40: this.#toGuid },
      u32: { 16: objectType, 24: blockBytes },
    });
  }

  freeObjects(first: number, count: number | bigint): this {
    return this.record({ type: 2, u64: { 8: first, 16: count, 24: this.#toGuid } });
  }

  write(
    object: number,
    offset: number,
    payload: Uint8Array,
    { compression = 0, length }: BlockOptions = {},
  ): this {
    return this.record({
      type: 3,
      u64: {
        8: object,
        24: offset,
        32: length ?? payload.length,
        40: this.#toGuid,
        96: compression === 0 ? 0 : payload.length,
      },
      u8: { 50: compression },
      payload,
    });
  }

  free(object: number, offset: number, length: number | bigint): this {
    return this.record({ type: 4, u64: { 8: object, 16: offset, 24: length, 32: this.#toGuid } });
  }

  embedded(
    object: number,
    offset: number | bigint,
    length: number,
    stored: Uint8Array,
    logicalBytes: number,
    compression: number,
  ): this {
    const payload = Buffer.alloc(Math.ceil(stored.length / 8) * 8);
    payload.set(stored);
    return this.record({
      type: 8,
      u64: { 8: object, 16: offset, 24: length, 32: this.#toGuid },
      u32: { 48: logicalBytes, 52: stored.length },
      u8: { 40: compression },
      payload,
    });
  }

  /** Any record at all, checksum included. */
  record({ type, u64 = {}, u32 = {}, u8 = {}, payload }: Draft): this {
    const header = Buffer.alloc(312);
    const view = new DataView(header.buffer, header.byteOffset);
    const little = !this.#bigEndian;
    view.setUint32(0, type, little);
    for (const [at, value] of Object.entries(u64)) view.setBigUint64(Number(at), BigInt(value), little);
    for (const [at, value] of Object.entries(u32)) view.setUint32(Number(at), value, little);
    for (const [at, value] of Object.entries(u8)) view.setUint8(Number(at), value);
    if (type === 5) this.#writeSums(view, 8);
    this.#count(header.subarray(0, 280));
    // The first record, BEGIN, has none.
    if (this.#length > 0) this.#writeSums(view, 280);
    this.#count(header.subarray(280));
    this.starts.push(this.#length);
    this.#push(header);
    if (payload !== undefined) {
      this.#count(payload);
      this.#push(Buffer.from(payload));
    }
    return this;
  }

  end(): Buffer {
    this.record({ type: 5, u64: { 40: this.#toGuid } });
    return this.bytes();
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #push(part: Buffer): void {
    this.#parts.push(part);
    this.#length += part.length;
  }

  #count(bytes: Uint8Array): void {
    this.#sums = fletcher4Plain(bytes, this.#bigEndian, this.#sums);
  }

  #writeSums(view: DataView, at: number): void {
    this.#sums.forEach((sum, i) => view.setBigUint64(at + 8 * i, sum, !this.#bigEndian));
  }
}
