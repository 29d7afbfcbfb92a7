import { hash } from 'node:crypto';
import { DatamoverError } from '../errors.ts';
import { toBytes } from '../repository/id.ts';
import { plainLength } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id } from '../repository/types.ts';
import type { VolumeTarget } from '../volumes/driver.ts';
import { ChunkReader } from './chunk-reader.ts';
import type { Tally } from './restore-tally.ts';
import type { ContentFile } from './volume-reader.ts';

export interface Filling {
  readonly write: () => Promise<void>;
  /** Reads the target again; throws where it has something else. */
  readonly compare?: (content: ChunkReader) => Promise<void>;
  readonly signal?: AbortSignal;
}

/** Fills an open target and closes it; where that fails the target is discarded. */
export async function fillTarget(target: VolumeTarget, { write, compare, signal }: Filling): Promise<void> {
  try {
    await write();
    await target.finish();
    if (compare !== undefined) {
      const content = new ChunkReader(target.readBack(signal));
      try {
        await compare(content);
      } finally {
        await content.end();
      }
    }
    await target.close();
  } catch (error) {
    await target.discard();
    throw error;
  }
}

/** Compares what the target has of a file with the SHA-256 of every blob. A larger target may have anything behind the volume's end. */
export async function compareBlobs(
  repository: Repository,
  file: ContentFile,
  content: ChunkReader,
  place: string,
  tally: Tally,
): Promise<void> {
  for (const { id, position, length } of blobsOf(repository, file)) {
    const bytes = await content.read(length);
    if (bytes?.length !== length || hash('sha256', bytes, 'hex') !== id)
      throw differs(place, position, position + length);
    tally.verified(length);
  }
}

export interface PlacedBlob {
  readonly id: Id;
  readonly position: number;
  readonly length: number;
}

export function* blobsOf(repository: Repository, file: ContentFile): Generator<PlacedBlob> {
  let position = file.position;
  for (const id of file.content) {
    const location = repository.index.lookup('data', toBytes(id));
    const length = location ? plainLength(location) : 0;
    yield { id, position, length };
    position += length;
  }
}

export function differs(place: string, from: number, to: number): DatamoverError {
  return new DatamoverError({
    operation: 'verify',
    subject: place,
    cause: `bytes ${from} to ${to} read back differ from what was written`,
    hint: 'the target loses data: check its disk',
    kind: 'incomplete',
  });
}
