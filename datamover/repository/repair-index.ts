import { isDamage } from './damage.ts';
import { fileSubject } from './files.ts';
import { inFlight } from './in-flight.ts';
import { decodeIndexFile, encodeIndexFile, splitForIndexFiles, type IndexFile } from './index-file.ts';
import { listPacks } from './pack-list.ts';
import { packLength } from './pack-header.ts';
import type { Repository } from './repository.ts';
import type { Id, Pack } from './types.ts';

/** What a repair of the index would do, to be shown and then done. */
export interface RepairIndexPlan {
  /** Index files that stay: all they say of packs agrees with the store. */
  readonly keep: readonly Id[];
  /** Index files that are damaged or wrong, each with the reason; new ones take their place. */
  readonly replace: readonly { readonly id: Id; readonly reason: string }[];
  /** Packs whose own headers are read, for no index file describes them rightly. */
  readonly read: readonly { readonly id: Id; readonly size: number }[];
  /** Packs that index files name and the store does not have: they leave the index. What needs them stays damaged. */
  readonly missing: readonly Id[];
}

export interface RepairIndexResult {
  readonly indexFiles: readonly Id[];
  readonly packsRead: number;
  /** Packs whose headers cannot be read, a sentence each. They are left where they are, in no index. */
  readonly unreadable: readonly string[];
}

export interface RepairIndexOptions {
  /** Believe no index file: read every pack's header. */
  readonly readAllPacks?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Compares index files and packs. The repository must hold an exclusive lock, for packs of a running backup would look like forgotten ones.
 * Memory: an entry for each pack.
 */
export async function planRepairIndex(
  repository: Repository,
  options: RepairIndexOptions = {},
): Promise<RepairIndexPlan> {
  const { readAllPacks = false, signal } = options;
  const sizes = new Map<Id, number>();
  for await (const { name, size } of listPacks(repository.store, signal)) sizes.set(name, size);
  const unexplained = new Map(sizes);
  const missing = new Set<Id>();
  const keep: Id[] = [];
  const replace: { id: Id; reason: string }[] = [];
  for (const { name: id } of repository.listed('index')) {
    const found = await readIndexFile(repository, id, signal);
    if (typeof found === 'string') {
      replace.push({ id, reason: found });
      continue;
    }
    const faults = new Set<string>();
    for (const pack of found.packs) {
      const fault = judge(pack, sizes, unexplained);
      if (fault === undefined) unexplained.delete(pack.id);
      else faults.add(fault);
      if (fault === MISSING) missing.add(pack.id);
    }
    if (readAllPacks) faults.add('every pack is read again');
    if (faults.size > 0) replace.push({ id, reason: [...faults].join(', ') });
    else keep.push(id);
  }
  const read = [...(readAllPacks ? sizes : unexplained)].map(([id, size]) => ({ id, size }));
  return { keep, replace, read, missing: [...missing] };
}

const MISSING = 'it names packs that are missing';

/** What is wrong with an index file's word on a pack; the first right word on a pack counts. */
function judge(
  pack: Pack,
  sizes: ReadonlyMap<Id, number>,
  unexplained: ReadonlyMap<Id, number>,
): string | undefined {
  const size = sizes.get(pack.id);
  if (size === undefined) return MISSING;
  if (size !== packLength(pack.blobs)) return 'it describes packs of another size';
  if (!unexplained.has(pack.id)) return 'it names packs that another index file names too';
  return undefined;
}

/** Writes the new index files, then removes the ones they replace. Stopped midway it may be repeated. */
export async function executeRepairIndex(
  repository: Repository,
  plan: RepairIndexPlan,
  options: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
  } = {},
): Promise<RepairIndexResult> {
  const { signal } = options;
  const unreadable: string[] = [];
  const toRead = new Set(plan.read.map(({ id }) => id));
  const supersedes = plan.replace.map(({ id }) => id);
  const packs: Pack[] = [];
  const indexFiles: Id[] = [];
  let blobs = 0;
  const write = async (): Promise<void> => {
    for (const part of splitForIndexFiles(packs.splice(0))) {
      indexFiles.push(await repository.saveFile('index', encodeIndexFile({ packs: part, supersedes })));
    }
    blobs = 0;
  };
  const add = async (pack: Pack): Promise<void> => {
    packs.push(pack);
    blobs += pack.blobs.length;
    if (blobs >= 50_000) await write();
  };

  const missing = new Set(plan.missing);
  const kept = new Set<Id>();
  for (const id of plan.keep) {
    const file = decodeIndexFile(await repository.loadFile('index', id, signal), fileSubject('index', id));
    for (const pack of file.packs) kept.add(pack.id);
  }
  for (const { id } of plan.replace) {
    const found = await readIndexFile(repository, id, signal);
    if (typeof found === 'string') continue;
    for (const pack of found.packs) {
      if (toRead.has(pack.id) || missing.has(pack.id) || kept.has(pack.id)) continue;
      kept.add(pack.id);
      await add(pack);
    }
  }
  const readHeader = async ({ id, size }: { id: Id; size: number }): Promise<Pack | string> => {
    try {
      return { id, blobs: await repository.loadPackHeader(id, size, signal) };
    } catch (error) {
      if (!isDamage(error)) throw error;
      return `pack ${id} has no readable header: ${error.message}`;
    }
  };
  let done = 0;
  for await (const pack of inFlight(plan.read, repository.store.concurrency, readHeader)) {
    if (typeof pack === 'string') unreadable.push(pack);
    else await add(pack);
    done++;
    options.onProgress?.({ done, total: plan.read.length });
  }
  await write();
  for (const id of supersedes) await repository.removeFile('index', id);
  return { indexFiles, packsRead: plan.read.length - unreadable.length, unreadable };
}

/** The file, or why it cannot be read. */
async function readIndexFile(
  repository: Repository,
  id: Id,
  signal: AbortSignal | undefined,
): Promise<IndexFile | string> {
  try {
    return decodeIndexFile(await repository.loadFile('index', id, signal), fileSubject('index', id));
  } catch (error) {
    if (!isDamage(error)) throw error;
    return error.message;
  }
}
