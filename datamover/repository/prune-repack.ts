import { DatamoverError } from '../errors.ts';
import { BitSet } from './bit-set.ts';
import { openBlob, sealBlob } from './blob.ts';
import { isAuthentic, seal } from './crypto/cipher.ts';
import { fileSubject } from './files.ts';
import { shortId, toBytes } from './id.ts';
import { inFlight } from './in-flight.ts';
import { decodeIndexFile } from './index-file.ts';
import { indexDocuments } from './index-documents.ts';
import { readBlobs } from './pack-reader.ts';
import { effectivePacks, type PruneJob, type PruneRun } from './prune-job.ts';
import type { Repository } from './repository.ts';
import type { Id, Pack, PackedBlob } from './types.ts';

/** Packs in memory at once. */
const PACKS_AT_ONCE = 2;

export interface Repacked {
  readonly blobs: number;
  /** Packs that hold a needed blob which cannot be read and has no other copy, with a sentence of the reason. */
  readonly damaged: ReadonlyMap<Id, string>;
}

interface Failure {
  readonly ordinals: number[];
  readonly reason: string;
}

/**
 * Copies what is needed of the packs to repack into new packs. Needed is each used blob that no staying pack holds; each is copied once,
 * verified, and no pack is read twice. Afterwards every used blob is accounted for, or this throws and nothing is deleted.
 */
export async function repackBlobs(repository: Repository, job: PruneJob, run: PruneRun): Promise<Repacked> {
  const { plan } = job;
  if (plan.repack.length + plan.remove.length + plan.vanished.length === 0) {
    return { blobs: 0, damaged: new Map() };
  }
  const missing = await blobsToCopy(repository, job, run.signal);
  const repack = new Set(plan.repack);
  const failures = new Map<Id, Failure>();
  let blobs = 0;
  let done = 0;

  const copyBlob = async (pack: Pack, blob: PackedBlob, sealed: Uint8Array): Promise<void> => {
    const ordinal = ordinalOf(repository, blob);
    // Another pack may have had the same blob meanwhile.
    if (!missing.has(ordinal)) return;
    const subject = `${blob.type} blob ${shortId(blob.id)} in pack ${shortId(pack.id)}`;
    let plain: Uint8Array;
    try {
      plain = openBlob(repository.key, blob, sealed, subject);
    } catch (error) {
      if (!(error instanceof DatamoverError)) throw error;
      const failure = failures.get(pack.id) ?? { ordinals: [], reason: error.message };
      failures.set(pack.id, failure);
      failure.ordinals.push(ordinal);
      return;
    }
    missing.remove(ordinal);
    blobs++;
    const { blobCompression } = repository;
    if (blob.uncompressedLength === 0 && blobCompression !== undefined && job.options.repackUncompressed) {
      const { bytes, uncompressedLength } = sealBlob(repository.key, blob.type, plain, blobCompression);
      await repository.saveSealedBlob({ ...blob, uncompressedLength }, bytes);
    } else if (blob.uncompressedLength === 0 && !isAuthentic(repository.key, sealed)) {
      // Its SHA-256 has proved a plain blob, but a damaged MAC would go into a sound pack, and restic refuses it.
      await repository.saveSealedBlob(blob, seal(repository.key, plain));
    } else {
      // Sealed bytes move as they are: what was verified is what is stored. The copy lets go of the rest of what was read.
      await repository.saveSealedBlob(blob, sealed.slice());
    }
  };

  const copyPack = async (pack: Pack): Promise<number> => {
    const wanted = pack.blobs.filter((blob) => missing.has(ordinalOf(repository, blob)));
    for await (const { blob, sealed } of readBlobs(repository.store, pack.id, wanted, run.signal)) {
      job.lock.assertHeld();
      await copyBlob(pack, blob, sealed);
    }
    return 1;
  };

  for await (const { json, id } of indexDocuments(repository, run.signal)) {
    if (repack.size === 0) break;
    const file = decodeIndexFile(json, fileSubject('index', id));
    const packs = effectivePacks(file, job.packs).filter((pack) => repack.delete(pack.id));
    for await (const copied of inFlight(packs, PACKS_AT_ONCE, copyPack)) {
      done += copied;
      run.onProgress?.({ step: 'repack', done, total: plan.repack.length });
    }
  }
  return { blobs, damaged: account(missing, failures) };
}

/** The used blobs that no pack would hold any more. */
async function blobsToCopy(repository: Repository, job: PruneJob, signal?: AbortSignal): Promise<BitSet> {
  const { plan, packs, used } = job;
  const leaving = new BitSet(packs.length);
  for (const id of [...plan.repack, ...plan.remove, ...plan.vanished]) leaving.add(packs.find(toBytes(id)));
  const missing = used.copy();
  for await (const { json, id } of indexDocuments(repository, signal)) {
    for (const pack of effectivePacks(decodeIndexFile(json, fileSubject('index', id)), packs)) {
      const row = packs.find(toBytes(pack.id));
      // A pack without anything in use holds copies at best, and will be marked.
      if (leaving.has(row) || (packs.usedBlobs[row] ?? 0) === 0) continue;
      for (const blob of pack.blobs) missing.remove(ordinalOf(repository, blob));
    }
  }
  return missing;
}

/** Sorts what could not be copied by pack, and stops everything where something is missing for no known reason. */
function account(missing: BitSet, failures: ReadonlyMap<Id, Failure>): ReadonlyMap<Id, string> {
  const damaged = new Map<Id, string>();
  const explained = new Set<number>();
  for (const [id, { ordinals, reason }] of failures) {
    const lost = ordinals.filter((ordinal) => missing.has(ordinal));
    for (const ordinal of lost) explained.add(ordinal);
    if (lost.length > 0) damaged.set(id, `pack ${id} is kept as it is: ${reason}`);
  }
  const unexplained = missing.size - explained.size;
  if (unexplained > 0) {
    throw new DatamoverError({
      operation: 'prune',
      cause: `${unexplained} blobs in use would have been lost`,
      hint: 'nothing was deleted; this is a defect of prune, please report it',
    });
  }
  return damaged;
}

function ordinalOf({ index }: Repository, blob: PackedBlob): number {
  return index.ordinal(blob.type, toBytes(blob.id));
}
