import { hash } from 'node:crypto';
import { DatamoverError } from '../errors.ts';
import { toBytes } from '../repository/id.ts';
import { loadReads } from '../repository/loader/loader.ts';
import { plainLength, type PackRead } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import type { Id } from '../repository/types.ts';
import type { VolumeTarget } from '../volumes/driver.ts';
import { zeroBlobId } from './image-tree.ts';
import { packSource } from './pack-source.ts';
import type { TransferOptions } from './progress.ts';
import { ascendingReads, scatteredReads } from './restore-reads.ts';
import type { Tally } from './restore-tally.ts';
import type { ContentFile } from './volume-reader.ts';

/** Zero blobs have this length on the grid, and restic's shortest one in a stream. */
const ZERO_LENGTHS = [CELL_BYTES, 512 << 10];

export interface WriteOptions {
  /** Zeros are left out where the target reads as zeros by itself. */
  readonly sparse: boolean;
  readonly verify: boolean;
}

/** What is restored: a volume, or one stream of a chain. */
export interface RestoredContent {
  readonly bytes: number;
  files(): AsyncIterable<ContentFile>;
}

/** Writes the volume into an open target and closes it; where that fails the target is discarded. */
export async function restoreToVolume(
  repository: Repository,
  volume: RestoredContent,
  place: string,
  target: VolumeTarget,
  { sparse, verify }: WriteOptions,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  try {
    const skipZeros = sparse && target.startsAsZeros;
    const write = target.order === 'ascending' ? writeInOrder : writeScattered;
    await write(repository, volume, target, skipZeros, tally, options);
    await target.finish();
    if (verify) await readBack(repository, volume, place, target, tally, options.signal);
    await target.close();
  } catch (error) {
    await target.discard();
    throw error;
  }
}

/** Every pack once: whatever of it belongs anywhere in the volume is written. */
async function writeScattered(
  repository: Repository,
  volume: RestoredContent,
  target: VolumeTarget,
  skipZeros: boolean,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  const reads = async function* (): AsyncGenerator<PackRead> {
    for await (const content of volume.files()) {
      const scattered = scatteredReads(repository, content, zeroTest());
      for (const zero of scattered.zeros) {
        if (!skipZeros) await target.writeZeros(zero.position, zero.length);
        tally.zero(zero.length, skipZeros);
      }
      yield* scattered.reads;
    }
  };
  await loadReads(packSource(repository), reads(), {
    ...loadOptions(options),
    ordered: false,
    deliver: async (packRead, plain) => {
      for (const { position, from, to } of piecesByPosition(packRead)) {
        await target.write(position, plain.subarray(from, to));
        tally.wrote(to - from);
      }
    },
  });
}

/** From the first byte to the last; what no read brings is zero. */
async function writeInOrder(
  repository: Repository,
  volume: RestoredContent,
  target: VolumeTarget,
  skipZeros: boolean,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  let written = 0;
  const zeroUpTo = async (position: number): Promise<void> => {
    const length = position - written;
    if (length === 0) return;
    if (!skipZeros) await target.writeZeros(written, length);
    tally.zero(length, skipZeros);
    written = position;
  };
  const reads = async function* (): AsyncGenerator<PackRead> {
    for await (const content of volume.files()) yield* ascendingReads(repository, content, zeroTest());
  };
  await loadReads(packSource(repository), reads(), {
    ...loadOptions(options),
    ordered: true,
    deliver: async (packRead, plain) => {
      for (const { position, from, to } of piecesByPosition(packRead)) {
        await zeroUpTo(position);
        await target.write(position, plain.subarray(from, to));
        written = position + to - from;
        tally.wrote(to - from);
      }
    },
  });
  await zeroUpTo(volume.bytes);
}

function zeroTest(): (id: Id, length: number) => boolean {
  const zeroIds = new Map(ZERO_LENGTHS.map((length) => [zeroBlobId(length), length]));
  return (id, length) => zeroIds.get(id) === length;
}

/** Blobs that lie side by side in memory and in the target become one write. */
function piecesByPosition(packRead: PackRead): { position: number; from: number; to: number }[] {
  const pieces: { position: number; from: number; to: number }[] = [];
  let at = 0;
  for (const { location, positions } of packRead.blobs) {
    const end = at + plainLength(location);
    for (const position of positions) {
      const last = pieces.at(-1);
      if (last?.to === at && last.position + (last.to - last.from) === position) last.to = end;
      else pieces.push({ position, from: at, to: end });
    }
    at = end;
  }
  return pieces;
}

/** Compares what the target has with the SHA-256 of every blob. A larger target may have anything behind the volume's end. */
async function readBack(
  repository: Repository,
  volume: RestoredContent,
  place: string,
  target: VolumeTarget,
  tally: Tally,
  signal?: AbortSignal,
): Promise<void> {
  const content = new ChunkReader(target.readBack(signal));
  try {
    for await (const file of volume.files()) {
      for (const { id, position, length } of blobsOf(repository, file)) {
        const bytes = await content.read(length);
        if (bytes?.length === length && hash('sha256', bytes, 'hex') === id) {
          tally.verified(length);
          continue;
        }
        throw new DatamoverError({
          operation: 'verify',
          subject: place,
          cause: `bytes ${position} to ${position + length} read back differ from what was written`,
          hint: 'the target loses data: check its disk',
          kind: 'incomplete',
        });
      }
    }
  } finally {
    await content.end();
  }
}

function* blobsOf(
  repository: Repository,
  file: ContentFile,
): Generator<{ id: Id; position: number; length: number }> {
  let position = file.position;
  for (const id of file.content) {
    const location = repository.index.lookup('data', toBytes(id));
    const length = location ? plainLength(location) : 0;
    yield { id, position, length };
    position += length;
  }
}

/** Takes pieces of the length that is asked for from chunks of any. */
class ChunkReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();
  #buffer = Buffer.alloc(CELL_BYTES);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Valid until the next read; undefined where the chunks end before. */
  async read(length: number): Promise<Uint8Array | undefined> {
    if (this.#chunk.length >= length) return this.#take(length);
    if (this.#buffer.length < length) this.#buffer = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      if (this.#chunk.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) return undefined;
        this.#chunk = next.value;
      }
      const piece = this.#take(Math.min(length - done, this.#chunk.length));
      this.#buffer.set(piece, done);
      done += piece.length;
    }
    return this.#buffer.subarray(0, length);
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }

  #take(length: number): Uint8Array {
    const piece = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    return piece;
  }
}

export function loadOptions(options: TransferOptions): Pick<TransferOptions, 'signal' | 'workers'> {
  return {
    ...(options.signal ? { signal: options.signal } : {}),
    ...(options.workers ? { workers: options.workers } : {}),
  };
}
