import { DatamoverError } from '../errors.ts';
import { fileSubject } from './files.ts';
import { toBytes } from './id.ts';
import { indexDocuments } from './index-documents.ts';
import { BLOBS_PER_INDEX_FILE, decodeIndexFile, encodeIndexFile } from './index-file.ts';
import { MARK_ONLY } from './pack-table.ts';
import { effectivePacks, type PruneJob, type PruneRun } from './prune-job.ts';
import { SAVE_MARKS_WITHIN_MS } from './prune-options.ts';
import type { Repository } from './repository.ts';
import type { Id, MarkedPack, Pack } from './types.ts';

/**
 * Marks packs: an index file of their own names them under `packs_to_delete`, with their blobs as rustic wants it. Nothing is taken away,
 * so this goes beside anybody.
 */
export async function writeMarks(
  repository: Repository,
  job: PruneJob,
  ids: ReadonlySet<Id>,
  run: PruneRun,
): Promise<void> {
  if (ids.size === 0) return;
  const left = new Set(ids);
  let packs: Pack[] = [];
  let blobs = 0;
  const write = async (): Promise<void> => {
    if (packs.length > 0) await saveMarks(repository, job, packs);
    packs = [];
    blobs = 0;
  };
  for await (const { json, id } of indexDocuments(repository, run.signal)) {
    const file = decodeIndexFile(json, fileSubject('index', id));
    for (const pack of effectivePacks(file, job.packs)) {
      if (!left.delete(pack.id)) continue;
      packs.push(pack);
      blobs += pack.blobs.length;
      if (blobs >= BLOBS_PER_INDEX_FILE) await write();
    }
  }
  await write();
}

async function saveMarks(repository: Repository, job: PruneJob, packs: readonly Pack[]): Promise<void> {
  const late: Id[] = [];
  for (;;) {
    job.lock.assertHeld();
    const at = Date.now();
    const time = new Date(at + job.storeClockAhead).toISOString();
    const packsToDelete: MarkedPack[] = packs.map((pack) => ({ ...pack, time }));
    const id = await repository.saveFile('index', encodeIndexFile({ packsToDelete }));
    if (Date.now() - at <= SAVE_MARKS_WITHIN_MS) break;
    late.push(id);
  }
  // Of several marks the latest counts, so these may go at any time.
  for (const id of late) await repository.removeFile('index', id);
}

/**
 * Replaces the plan's index files by new ones without the packs that are gone and without the marks that no longer hold. All new files are
 * there before the first old one goes.
 */
export async function rewriteIndex(
  repository: Repository,
  job: PruneJob,
  gone: ReadonlySet<Id>,
  run: PruneRun,
): Promise<void> {
  const { plan } = job;
  const replaced = new Set(plan.indexFiles);
  if (replaced.size === 0) return;
  const writer = new IndexWriter(repository, job, plan.indexFiles);
  const unmarked = new Set(plan.unmark);
  const listed = new Set<Id>();
  const total = 2 * replaced.size;
  let done = 0;
  for await (const { id, json } of indexDocuments(repository, run.signal)) {
    if (!replaced.has(id)) continue;
    const file = decodeIndexFile(json, fileSubject('index', id));
    for (const pack of file.packs) {
      if (gone.has(pack.id) || listed.has(pack.id)) continue;
      listed.add(pack.id);
      await writer.add(pack);
    }
    for (const pack of file.packsToDelete) {
      const row = job.packs.find(toBytes(pack.id));
      if (gone.has(pack.id)) continue;
      if (!unmarked.has(pack.id)) {
        // An older mark of a pack that a later one covers is dropped.
        if (plan.company !== 'nobody' && isLatest(job, row, id)) await writer.addMark(pack);
      } else if (job.packs.has(row, MARK_ONLY) && !listed.has(pack.id)) {
        listed.add(pack.id);
        await writer.add(pack);
      }
    }
    done++;
    run.onProgress?.({ step: 'index', done, total });
  }
  await writer.flush();
  if (done < replaced.size) {
    throw new DatamoverError({
      operation: 'rewrite index',
      cause: `${replaced.size - done} index files are gone`,
      hint: 'somebody changes this repository without regard to locks; run prune again',
    });
  }
  for (const id of replaced) {
    run.signal?.throwIfAborted();
    await repository.removeFile('index', id);
    done++;
    run.onProgress?.({ step: 'index', done, total });
  }
}

function isLatest(job: PruneJob, row: number, file: Id): boolean {
  return job.indexFiles[job.packs.markFile[row] ?? -1] === file;
}

/** Collects packs and marks into index files of the usual size. */
class IndexWriter {
  readonly #repository: Repository;
  readonly #job: PruneJob;
  readonly #supersedes: readonly Id[];
  #packs: Pack[] = [];
  #marks: MarkedPack[] = [];
  #blobs = 0;

  constructor(repository: Repository, job: PruneJob, supersedes: readonly Id[]) {
    this.#repository = repository;
    this.#job = job;
    this.#supersedes = supersedes;
  }

  async add(pack: Pack): Promise<void> {
    this.#packs.push(pack);
    await this.#count(pack);
  }

  async addMark(pack: MarkedPack): Promise<void> {
    this.#marks.push(pack);
    await this.#count(pack);
  }

  async flush(): Promise<void> {
    if (this.#packs.length + this.#marks.length === 0) return;
    this.#job.lock.assertHeld();
    const file = { packs: this.#packs, packsToDelete: this.#marks, supersedes: this.#supersedes };
    await this.#repository.saveFile('index', encodeIndexFile(file));
    this.#packs = [];
    this.#marks = [];
    this.#blobs = 0;
  }

  async #count(pack: Pack): Promise<void> {
    this.#blobs += pack.blobs.length;
    if (this.#blobs >= BLOBS_PER_INDEX_FILE) await this.flush();
  }
}
