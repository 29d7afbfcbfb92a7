import { loadReads } from '../repository/loader/loader.ts';
import { plainLength, type PackRead } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import type { Id } from '../repository/types.ts';
import type { VolumeTarget } from '../volumes/driver.ts';
import type { ChunkReader } from './chunk-reader.ts';
import { zeroBlobId } from './image-tree.ts';
import { packSource } from './pack-source.ts';
import type { TransferOptions } from './progress.ts';
import { compareBlobs, fillTarget } from './read-back.ts';
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

/** What is restored: an image, or a stream that nobody looked into. */
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
  const skipZeros = sparse && target.startsAsZeros;
  const write = target.order === 'ascending' ? writeInOrder : writeScattered;
  await fillTarget(target, {
    write: () => write(repository, volume, target, skipZeros, tally, options),
    ...(verify && {
      compare: async (content: ChunkReader) => {
        for await (const file of volume.files()) await compareBlobs(repository, file, content, place, tally);
      },
    }),
    ...(options.signal && { signal: options.signal }),
  });
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

export function loadOptions(options: TransferOptions): Pick<TransferOptions, 'signal' | 'workers'> {
  return {
    ...(options.signal ? { signal: options.signal } : {}),
    ...(options.workers ? { workers: options.workers } : {}),
  };
}
