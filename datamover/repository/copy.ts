import { DatamoverError } from '../errors.ts';
import { BitSet } from './bit-set.ts';
import { openBlob, sealBlob, type SealedBlob } from './blob.ts';
import { open, seal } from './crypto/cipher.ts';
import { fileSubject } from './files.ts';
import { shortId, toBytes } from './id.ts';
import { inFlight } from './in-flight.ts';
import { indexDocuments } from './index-documents.ts';
import { decodeIndexFile } from './index-file.ts';
import { readBlobs } from './pack-reader.ts';
import type { Repository } from './repository.ts';
import type { Snapshot } from './snapshot.ts';
import type { Id, Pack, PackedBlob } from './types.ts';
import { findUsedBlobs } from './used-blobs.ts';

/** Packs of the source in memory at once. */
const PACKS_AT_ONCE = 2;

export interface CopySnapshot {
  readonly id: Id;
  readonly snapshot: Snapshot;
}

/** What a copy would do, to be shown and then done. */
export interface CopyPlan {
  readonly copy: readonly CopySnapshot[];
  /** Snapshots that the target has already, with their names there. */
  readonly present: readonly { readonly id: Id; readonly as: Id }[];
  /** Blobs that the target lacks. */
  readonly blobs: number;
  /** Their bytes as the source stores them. */
  readonly bytes: number;
  /** Blobs that the target has already. */
  readonly sharedBlobs: number;
}

/** A copy that is planned. `plan` is what there is to show. */
export interface CopyJob {
  readonly plan: CopyPlan;
  /** Ordinals of the source's blobs that are to be copied. */
  readonly wanted: BitSet;
}

export interface CopyResult {
  readonly snapshots: readonly { readonly id: Id; readonly as: Id }[];
  readonly blobs: number;
}

/**
 * Finds what the target lacks of these snapshots. Both repositories hold shared locks and have loaded their indexes. They deduplicate
 * against each other only if they share the chunker polynomial (`init --copy-chunker-params`), but a copy is right either way.
 */
export async function planCopy(
  source: Repository,
  target: Repository,
  snapshots: readonly CopySnapshot[],
  signal?: AbortSignal,
): Promise<CopyJob> {
  if (source.config.id === target.config.id) {
    throw new DatamoverError({
      operation: 'copy snapshots',
      subject: target.store.location,
      cause: 'source and target are the same repository',
      kind: 'usage',
    });
  }
  const twins = new Map<string, Id>();
  for await (const { id, snapshot } of target.snapshots({ ...(signal && { signal }) })) {
    twins.set(identity(id, snapshot), id);
  }
  const copy: CopySnapshot[] = [];
  const present: { id: Id; as: Id }[] = [];
  for (const one of snapshots) {
    const as = twins.get(identity(one.id, one.snapshot));
    if (as === undefined) copy.push(one);
    else present.push({ id: one.id, as });
  }
  const { used, missing, missingCount } = await findUsedBlobs(source, copy, signal);
  const [first] = missing;
  if (first !== undefined) {
    throw new DatamoverError({
      operation: 'copy snapshots',
      subject: source.store.location,
      cause: missingCount > 1 ? `${first}, and ${missingCount - 1} more problems` : first,
      hint: 'the source is damaged; `datamover check` says which snapshots are whole',
      kind: 'incomplete',
    });
  }
  return chooseBlobs(source, target, { copy, present }, used, signal);
}

async function chooseBlobs(
  source: Repository,
  target: Repository,
  snapshots: Pick<CopyPlan, 'copy' | 'present'>,
  used: BitSet,
  signal: AbortSignal | undefined,
): Promise<CopyJob> {
  const wanted = new BitSet(used.capacity);
  const shared = new BitSet(used.capacity);
  let bytes = 0;
  for await (const { id, json } of indexDocuments(source, signal)) {
    for (const pack of packsOf(json, id)) {
      for (const blob of pack.blobs) {
        const raw = toBytes(blob.id);
        const ordinal = source.index.ordinal(blob.type, raw);
        if (!used.has(ordinal)) continue;
        if (target.index.isLive(blob.type, raw)) shared.add(ordinal);
        else if (wanted.add(ordinal)) bytes += blob.length;
      }
    }
  }
  return { plan: { ...snapshots, blobs: wanted.size, bytes, sharedBlobs: shared.size }, wanted };
}

/**
 * Copies the blobs, then writes the snapshots. Each blob is opened and compared with its id on the way, and sealed anew with the target's
 * key. Each pack of the source is read once. Stopped midway and planned again, it goes on where the last index file ended.
 */
export async function executeCopy(
  source: Repository,
  target: Repository,
  { plan, wanted }: CopyJob,
  options: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: { readonly blobs: number; readonly total: number }) => void;
  } = {},
): Promise<CopyResult> {
  const { signal } = options;
  const left = wanted.copy();
  let blobs = 0;
  const copyPack = async (pack: Pack): Promise<number> => {
    const here = pack.blobs.filter((blob) => left.has(source.index.ordinal(blob.type, toBytes(blob.id))));
    let copied = 0;
    for await (const { blob, sealed } of readBlobs(source.store, pack.id, here, signal)) {
      const ordinal = source.index.ordinal(blob.type, toBytes(blob.id));
      if (!left.has(ordinal)) continue;
      const again = reseal(source, target, pack.id, blob, sealed);
      left.remove(ordinal);
      await target.saveSealedBlob({ ...blob, uncompressedLength: again.uncompressedLength }, again.bytes);
      copied++;
    }
    return copied;
  };
  for await (const { id, json } of indexDocuments(source, signal)) {
    for await (const copied of inFlight(packsOf(json, id), PACKS_AT_ONCE, copyPack)) {
      if (copied === 0) continue;
      blobs += copied;
      options.onProgress?.({ blobs, total: plan.blobs });
    }
  }
  if (left.size > 0) {
    throw new DatamoverError({
      operation: 'copy snapshots',
      subject: source.store.location,
      cause: `${left.size} blobs are no longer where the index said`,
      hint: 'the source was changed meanwhile: run the copy again',
      retryable: true,
    });
  }
  await target.flush();
  const snapshots: { id: Id; as: Id }[] = [];
  for (const { id, snapshot } of plan.copy) {
    signal?.throwIfAborted();
    const renamed: Snapshot = { ...snapshot, original: snapshot.original ?? id };
    // The parent stays behind: its id names nothing in the target.
    Reflect.deleteProperty(renamed, 'parent');
    snapshots.push({ id, as: await target.saveSnapshot(renamed) });
  }
  return { snapshots, blobs };
}

/** A blob for the target. Compressed bytes stay as they are where the target understands them: compressing is most of the work. */
function reseal(
  source: Repository,
  target: Repository,
  pack: Id,
  blob: PackedBlob,
  sealed: Uint8Array,
): SealedBlob {
  const subject = `${blob.type} blob ${shortId(blob.id)} in pack ${shortId(pack)}`;
  const plain = openBlob(source.key, blob, sealed, subject);
  if (blob.uncompressedLength > 0 && target.config.version === 2) {
    return { bytes: seal(target.key, open(source.key, sealed)), uncompressedLength: blob.uncompressedLength };
  }
  return sealBlob(target.key, blob.type, plain, target.blobCompression);
}

function packsOf(json: Uint8Array, id: Id): Pack[] {
  const file = decodeIndexFile(json, fileSubject('index', id));
  return [...file.packs, ...file.packsToDelete];
}

/** What makes two snapshots the same backup, in whichever repository. */
function identity(id: Id, snapshot: Snapshot): string {
  const { original = id, time, tree, hostname = '', paths, tags = [] } = snapshot;
  return JSON.stringify([original, time, tree, hostname, paths, [...tags].sort()]);
}
