import { DatamoverError } from '../errors.ts';
import { toBytes } from '../repository/id.ts';
import { READ_LIMITS } from '../repository/loader/loader.ts';
import {
  plainLength,
  planReads,
  sortByPack,
  type PackRead,
  type WantedBlob,
} from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import type { BlobLocation, Id } from '../repository/types.ts';
import type { ContentFile } from './volume-reader.ts';

/** A range of the output that is zero. */
export interface ZeroRange {
  readonly position: number;
  readonly length: number;
}

/** Blobs of one file in the order of their bytes, runs of the same blob joined. */
function occurrences(repository: Repository, file: ContentFile): WantedBlob[] {
  const wanted: { id: Id; location: BlobLocation; positions: number[] }[] = [];
  let position = file.position;
  for (const id of file.content) {
    const last = wanted.at(-1);
    const location = last?.id === id ? last.location : locate(repository, id, file.path);
    if (last?.id === id) last.positions.push(position);
    else wanted.push({ id, location, positions: [position] });
    position += plainLength(location);
  }
  if (position - file.position !== file.bytes) {
    throw new DatamoverError({
      operation: 'restore',
      subject: file.path,
      cause: `its blobs have ${position - file.position} bytes, the file ${file.bytes}`,
      hint: 'run check --read-data',
      kind: 'incomplete',
    });
  }
  return wanted;
}

/** For a pipe: the reads in the order of the output. */
export function orderedReads(repository: Repository, file: ContentFile): PackRead[] {
  return planReads(occurrences(repository, file), READ_LIMITS);
}

/** For a target that is written from its first byte to its last: blobs of zeros are left out. */
export function ascendingReads(
  repository: Repository,
  file: ContentFile,
  isZero: (id: Id, length: number) => boolean,
): PackRead[] {
  const wanted = occurrences(repository, file);
  return planReads(
    wanted.filter(({ id, location }) => !isZero(id, plainLength(location))),
    READ_LIMITS,
  );
}

/** For a target with random access: every pack once, every blob decoded once, blobs of zeros not at all. */
export function scatteredReads(
  repository: Repository,
  file: ContentFile,
  isZero: (id: Id, length: number) => boolean,
): { reads: PackRead[]; zeros: ZeroRange[] } {
  const zeros: ZeroRange[] = [];
  const byId = new Map<Id, { id: Id; location: BlobLocation; positions: number[] }>();
  for (const { id, location, positions } of occurrences(repository, file)) {
    const length = plainLength(location);
    if (isZero(id, length)) {
      const first = positions[0];
      if (first !== undefined) zeros.push({ position: first, length: positions.length * length });
      continue;
    }
    const known = byId.get(id);
    if (known) known.positions.push(...positions);
    else byId.set(id, { id, location, positions: [...positions] });
  }
  return { reads: planReads(sortByPack([...byId.values()]), READ_LIMITS), zeros };
}

function locate(repository: Repository, id: Id, path: string): BlobLocation {
  const location = repository.index.lookup('data', toBytes(id));
  if (location) return location;
  throw new DatamoverError({
    operation: 'restore',
    subject: path,
    cause: `blob ${id.slice(0, 12)} is in no pack that the index names`,
    hint: 'run repair index, which finds packs that lost their index entry',
    kind: 'incomplete',
  });
}

/** Neighbours that are written once go out in one piece. */
export function piecesInOrder(packRead: PackRead): { from: number; to: number; times: number }[] {
  const pieces: { from: number; to: number; times: number }[] = [];
  let at = 0;
  for (const { location, positions } of packRead.blobs) {
    const end = at + plainLength(location);
    const last = pieces.at(-1);
    if (last?.times === 1 && positions.length === 1) last.to = end;
    else pieces.push({ from: at, to: end, times: positions.length });
    at = end;
  }
  return pieces;
}
