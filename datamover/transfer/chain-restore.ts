import { createHash, type Hash } from 'node:crypto';
import type { Repository } from '../repository/repository.ts';
import type { VolumeTarget } from '../volumes/driver.ts';
import { PayloadRule, type StreamPart } from '../volumes/zfs/payload-rule.ts';
import { HEADER_BYTES } from '../volumes/zfs/record.ts';
import type { ChunkReader } from './chunk-reader.ts';
import type { TransferOptions } from './progress.ts';
import { blobsOf, compareBlobs, differs, fillTarget, type PlacedBlob } from './read-back.ts';
import type { Tally } from './restore-tally.ts';
import { lentStreamBytes } from './stream-bytes.ts';
import type { ContentFile, StreamFiles, VolumeReader } from './volume-reader.ts';

/** Of a payload, so much is read back at once. */
const PIECE_BYTES = 1 << 20;

/** Streams of a chain, one after the other: all of them, or the one that is asked for. A chunk may only be read until the next is asked for. */
export async function* chainBytes(
  repository: Repository,
  volume: VolumeReader,
  stream: number | undefined,
  options: TransferOptions,
): AsyncGenerator<Uint8Array> {
  for (const number of numbersOf(volume, stream)) yield* lentStreamBytes(repository, volume, number, options);
}

/** Writes the bytes of streams into an open target and closes it; where that fails the target is discarded. */
export async function restoreChain(
  repository: Repository,
  volume: VolumeReader,
  stream: number | undefined,
  place: string,
  target: VolumeTarget,
  verify: boolean,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  const { signal } = options;
  await fillTarget(target, {
    write: async () => {
      let position = 0;
      for await (const chunk of chainBytes(repository, volume, stream, options)) {
        await target.write(position, chunk);
        position += chunk.length;
        tally.wrote(chunk.length);
      }
    },
    ...(verify && {
      compare: async (content: ChunkReader) => {
        let position = 0;
        for (const number of numbersOf(volume, stream)) {
          const files = await volume.stream(number);
          if (files.kind === 'whole') {
            await compareBlobs(repository, { ...files.send, position }, content, place, tally);
            position += files.send.bytes;
          } else {
            await compareParts(repository, files, position, content, place, tally);
            position += files.records.bytes + files.blocks.bytes;
          }
        }
      },
    }),
    ...(signal && { signal }),
  });
}

function numbersOf(volume: VolumeReader, stream: number | undefined): number[] {
  return stream === undefined ? [...(volume.record.streams ?? []).keys()] : [stream];
}

/** Takes a stream that is read back apart again, and compares each blob of its two files. */
async function compareParts(
  repository: Repository,
  { records, blocks }: Extract<StreamFiles, { kind: 'apart' }>,
  begin: number,
  content: ChunkReader,
  place: string,
  tally: Tally,
): Promise<void> {
  const sums: Record<StreamPart, BlobSums> = {
    records: new BlobSums(repository, records, place, tally),
    blocks: new BlobSums(repository, blocks, place, tally),
  };
  const end = begin + records.bytes + blocks.bytes;
  const rule = new PayloadRule();
  for (let position = begin; position < end;) {
    const header = await content.read(HEADER_BYTES);
    if (header?.length !== HEADER_BYTES) throw differs(place, position, end);
    const { part, bytes } = payloadOf(rule, header);
    sums.records.add(header, position);
    position += HEADER_BYTES;
    // What is no header says anything.
    if (bytes > end - position) throw differs(place, position - HEADER_BYTES, end);
    for (let rest = bytes; rest > 0;) {
      const piece = await content.read(Math.min(rest, PIECE_BYTES));
      if (piece === undefined) throw differs(place, position, end);
      sums[part].add(piece, position);
      position += piece.length;
      rest -= piece.length;
    }
  }
  sums.records.end(end);
  sums.blocks.end(end);
}

function payloadOf(rule: PayloadRule, header: Uint8Array): { part: StreamPart; bytes: number } {
  try {
    return rule.next(new DataView(header.buffer, header.byteOffset, header.length), 0);
  } catch {
    // Not even a header any more.
    return { part: 'records', bytes: Infinity };
  }
}

/** Compares a file with its blobs' SHA-256 as its bytes come. */
class BlobSums {
  readonly #blobs: Iterator<PlacedBlob>;
  readonly #place: string;
  readonly #tally: Tally;
  #blob: PlacedBlob | undefined;
  #hash: Hash = createHash('sha256');
  /** Bytes of the blob so far, and where in the target it began. */
  #fill = 0;
  #from = 0;

  constructor(repository: Repository, file: ContentFile, place: string, tally: Tally) {
    this.#blobs = blobsOf(repository, file);
    this.#place = place;
    this.#tally = tally;
    this.#next();
  }

  /** `position`: where the bytes lie in the target. */
  add(bytes: Uint8Array, position: number): void {
    for (let at = 0; at < bytes.length;) {
      const blob = this.#blob;
      if (blob === undefined) throw differs(this.#place, position, position + bytes.length);
      if (this.#fill === 0) this.#from = position + at;
      const piece = bytes.subarray(at, at + blob.length - this.#fill);
      this.#hash.update(piece);
      this.#fill += piece.length;
      at += piece.length;
      if (this.#fill < blob.length) continue;
      if (this.#hash.digest('hex') !== blob.id) throw differs(this.#place, this.#from, position + at);
      this.#tally.verified(blob.length);
      this.#next();
    }
  }

  /** The target's bytes have come to their end. */
  end(position: number): void {
    if (this.#blob !== undefined) throw differs(this.#place, this.#from, position);
  }

  #next(): void {
    const next = this.#blobs.next();
    this.#blob = next.done === true ? undefined : next.value;
    this.#hash = createHash('sha256');
    this.#fill = 0;
  }
}
