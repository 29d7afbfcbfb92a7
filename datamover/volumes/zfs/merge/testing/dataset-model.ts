import { hash } from 'node:crypto';

/** An object as a receiver has it. Blocks and spill block are told by how they are stored and a hash of that. */
export interface ModelObject {
  readonly type: number;
  readonly blockBytes: number;
  readonly slots: number;
  readonly bonus: string;
  readonly blocks: Map<number, { readonly stored: string; readonly payload: Buffer }>;
  spill: string | undefined;
}

const HEADER_BYTES = 312;
const SMALL_BLOCK = 131_072;

/**
 * What a receiver has after one stream upon the other, in the plainest way: a table of objects, each a table of blocks. It reads
 * little-endian streams by itself and trusts them; nothing of it is the merge's.
 */
export class DatasetModel {
  readonly objects = new Map<number, ModelObject>();
  readonly begin = { toGuid: 0n, fromGuid: 0n, features: 0n, flags: 0 };

  receive(stream: Buffer): this {
    for (let at = 0; at < stream.length;) {
      const header = stream.subarray(at, at + HEADER_BYTES);
      const payload = stream.subarray(at + HEADER_BYTES, at + HEADER_BYTES + payloadLength(header));
      this.#apply(header, payload);
      at += HEADER_BYTES + payload.length;
    }
    return this;
  }

  /** The objects, as two models can be compared. */
  content(): unknown {
    return [...this.objects]
      .sort(([a], [b]) => a - b)
      .map(([number, { blocks, ...object }]) => ({
        ...{ number, ...object },
        blocks: [...blocks].sort(([a], [b]) => a - b).map(([offset, { stored }]) => `${offset} ${stored}`),
      }));
  }

  /** Of object 1, stored plain: a zvol's bytes. */
  image(bytes: number): Buffer {
    const image = Buffer.alloc(bytes);
    for (const [offset, { payload }] of this.objects.get(1)?.blocks ?? []) payload.copy(image, offset);
    return image;
  }

  #apply(header: Buffer, payload: Buffer): void {
    const [type, object] = [header.readUInt32LE(0), number(header, 8)];
    switch (type) {
      case 0:
        Object.assign(this.begin, {
          toGuid: header.readBigUInt64LE(40),
          fromGuid: header.readBigUInt64LE(48),
          features: header.readBigUInt64LE(16) >> 2n,
          flags: header.readUInt32LE(36),
        });
        break;
      case 1:
        this.#object(object, header, payload);
        break;
      case 2:
        for (const free of [...this.objects.keys()])
          if (free >= object && free < object + number(header, 16)) this.objects.delete(free);
        break;
      case 3:
        this.#write(object, number(header, 24), header.subarray(50, 51), payload);
        break;
      case 8:
        this.#write(object, number(header, 16), header.subarray(40, 56), payload);
        break;
      case 4: {
        const [from, to] = [number(header, 16), number(header, 16) + number(header, 24)];
        const blocks = this.#get(object).blocks;
        for (const offset of [...blocks.keys()]) if (offset >= from && offset < to) blocks.delete(offset);
        break;
      }
      case 7:
        if ((header.readUInt8(32) & 4) === 0)
          this.#get(object).spill = fingerprint(header.subarray(33, 34), payload);
        break;
      case 5:
      case 9:
        break;
      default:
        throw new Error(`a record of type ${type}`);
    }
  }

  #object(object: number, header: Buffer, payload: Buffer): void {
    const had = this.objects.get(object);
    const [blockBytes, slots] = [header.readUInt32LE(24), header.readUInt8(34)];
    const stays = had?.blockBytes === blockBytes && had.slots === slots;
    for (let slot = object + 1; slot < object + slots; slot++) this.objects.delete(slot);
    this.objects.set(object, {
      ...{ type: header.readUInt32LE(16), blockBytes, slots },
      bonus: fingerprint(header.subarray(20, 40), payload),
      blocks: stays ? had.blocks : new Map<never, never>(),
      spill: (header.readUInt8(35) & 4) === 0 || had?.slots !== slots ? undefined : had.spill,
    });
  }

  #write(object: number, offset: number, form: Buffer, payload: Buffer): void {
    const { blocks, blockBytes } = this.#get(object);
    if (blockBytes > SMALL_BLOCK && offset % blockBytes !== 0) throw new Error('a large block was split');
    blocks.set(offset, { stored: fingerprint(form, payload), payload });
  }

  #get(object: number): ModelObject {
    const found = this.objects.get(object);
    if (found === undefined) throw new Error(`there is no object ${object}`);
    return found;
  }
}

function number(header: Buffer, at: number): number {
  return Number(header.readBigUInt64LE(at));
}

function fingerprint(form: Buffer, payload: Buffer): string {
  return `${form.toString('hex')}:${payload.length}:${hash('sha256', payload).slice(0, 16)}`;
}

function payloadLength(header: Buffer): number {
  const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;
  switch (header.readUInt32LE(0)) {
    case 0:
      return header.readUInt32LE(4);
    case 1:
      return header.readUInt32LE(36) || padded(header.readUInt32LE(28));
    case 3:
      return header.readUInt8(50) === 0 ? number(header, 32) : number(header, 96);
    case 7:
      return number(header, 40) || number(header, 16);
    case 8:
      return padded(header.readUInt32LE(52));
    default:
      return 0;
  }
}
