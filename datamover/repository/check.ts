import type { DatamoverError } from '../errors.ts';
import { BitSet } from './bit-set.ts';
import { ProblemList, type CheckReport, type Problem } from './check-report.ts';
import { chooseSubset, type Subset, type SubsetPack } from './check-subset.ts';
import { CheckThreads } from './check-threads.ts';
import { SEAL_OVERHEAD } from './crypto/cipher.ts';
import { isDamage } from './damage.ts';
import { fileSubject } from './files.ts';
import { shortId, toBytes } from './id.ts';
import { inFlight } from './in-flight.ts';
import { decodeIndexFile } from './index-file.ts';
import { listKeys } from './keys.ts';
import { listPacks } from './pack-list.ts';
import { INDEXED, LISTED, type PackTable } from './pack-table.ts';
import { effectivePacks } from './prune-job.ts';
import { measureUsage, type IndexDocument } from './prune-usage.ts';
import type { Repository } from './repository.ts';
import { FIXED_TIME, type TreeNode } from './tree.ts';
import { childPath, walkTrees, type TreePlace } from './tree-walk.ts';
import type { Id, Pack } from './types.ts';

export interface CheckOptions {
  /** Packs to read back; none without it. */
  readonly readData?: Subset;
  readonly signal?: AbortSignal;
  readonly onProblem?: (problem: Problem) => void;
  readonly onProgress?: (progress: CheckProgress) => void;
}

export interface CheckProgress {
  readonly step: 'trees' | 'data';
  readonly done: number;
  /** Unknown for trees. */
  readonly total?: number;
}

const NODE_TYPES = new Set(['file', 'dir', 'symlink', 'dev', 'chardev', 'fifo', 'socket', 'irregular']);

/**
 * Checks that every snapshot has all it needs: snapshots, trees, file sizes, blobs in the index, packs in the store with the size that they
 * must have, and, if asked, every byte of packs. Nothing is changed. The repository should hold a shared lock. A failure of the store that
 * may pass by itself ends the check with an error, for then it can say nothing.
 */
export async function checkRepository(
  repository: Repository,
  options: CheckOptions = {},
): Promise<CheckReport> {
  const check = new Check(repository, options);
  await check.keys();
  const snapshots = await check.snapshots();
  const documents = await check.index();
  const { used, trees } = await check.trees(snapshots);
  const packs = await check.packs(used, documents);
  const read =
    options.readData === undefined
      ? { packs: 0, bytes: 0 }
      : await check.data(packs, options.readData, documents);
  const { problems } = check;
  return {
    problems: problems.kept,
    damageCount: problems.damageCount,
    untidyCount: problems.untidyCount,
    statistics: {
      snapshots: snapshots.length,
      trees,
      indexFiles: documents.length,
      packs: count(packs, LISTED),
      blobs: {
        used: sum(packs.usedBlobs),
        unused: sum(packs.unusedBlobs),
        duplicate: sum(packs.duplicateBlobs),
      },
      read,
    },
  };
}

class Check {
  readonly problems: ProblemList;
  readonly #repository: Repository;
  readonly #options: CheckOptions;

  constructor(repository: Repository, options: CheckOptions) {
    this.#repository = repository;
    this.#options = options;
    this.problems = new ProblemList(options.onProblem);
  }

  async keys(): Promise<void> {
    await listKeys(this.#repository, (problem) =>
      this.problems.damage(`${problem.message}; its password opens nothing any more`),
    );
  }

  /** Snapshots are listed before the index: then the index has everything that the snapshots need. */
  async snapshots(): Promise<TreePlace[]> {
    const places: TreePlace[] = [];
    await this.#repository.relist(['snapshots'], this.#options.signal);
    for await (const { id, snapshot } of this.#repository.snapshots(this.#walk())) {
      places.push({ id: snapshot.tree, path: `snapshot ${shortId(id)}:/` });
    }
    return places;
  }

  /** Loads what can be loaded of the index. Returns the readable files. */
  async index(): Promise<readonly { readonly id: Id; readonly size: number }[]> {
    const damaged = new Set<Id>();
    await this.#repository.relist(['index'], this.#options.signal);
    const walk = this.#walk();
    await this.#repository.loadIndex({
      ...walk,
      onProblem: (problem, file) => {
        damaged.add(file.id);
        walk.onProblem(problem);
      },
    });
    return this.#repository
      .listed('index')
      .filter((file) => !damaged.has(file.name))
      .map((file) => ({ id: file.name, size: file.size }));
  }

  async trees(snapshots: readonly TreePlace[]): Promise<{ used: BitSet; trees: number }> {
    const { index } = this.#repository;
    const used = new BitSet(index.entryCount);
    const met = new BitSet(index.entryCount);
    let trees = 0;
    await walkTrees(
      this.#repository,
      snapshots,
      {
        tree: (place, nodes) => {
          trees++;
          if (trees % 100 === 0) this.#options.onProgress?.({ step: 'trees', done: trees });
          for (const node of nodes) this.#node(childPath(place.path, node.name), node, used);
        },
        broken: (place, error) => this.problems.damage(`${place.path} is lost: ${error.message}`),
      },
      { met, ...(this.#options.signal && { signal: this.#options.signal }) },
    );
    for (const ordinal of met) used.add(ordinal);
    return { used, trees };
  }

  /** Sizes of packs against the index, and what is missing or too much. */
  async packs(
    used: BitSet,
    documents: readonly { readonly id: Id; readonly size: number }[],
  ): Promise<PackTable> {
    const { store, index } = this.#repository;
    const { signal } = this.#options;
    const usage = await measureUsage(index, used, listPacks(store, signal), () => this.#documents(documents));
    for (const sentence of usage.contradictions) this.problems.damage(sentence);
    for (const file of usage.indexFiles) {
      if (file.untidy)
        this.problems.untidy(
          `${fileSubject('index', file.id)} lists packs that another index file lists too`,
        );
    }
    const { packs } = usage;
    for (let row = 0; row < packs.length; row++) this.#pack(packs, row);
    return packs;
  }

  async data(
    packs: PackTable,
    subset: Subset,
    documents: readonly { readonly id: Id; readonly size: number }[],
  ): Promise<{ packs: number; bytes: number }> {
    const { store, key } = this.#repository;
    const candidates: SubsetPack[] = [];
    for (let row = 0; row < packs.length; row++) {
      if (!packs.has(row, LISTED) || !packs.has(row, INDEXED)) continue;
      candidates.push({
        row,
        firstByte: parseInt(packs.id(row).slice(0, 2), 16),
        size: packs.size[row] ?? 0,
      });
    }
    const chosen = chooseSubset(candidates, subset);
    const wanted = new BitSet(packs.length);
    for (const { row } of chosen) wanted.add(row);
    const read = { packs: 0, bytes: 0 };
    const { signal } = this.#options;
    const threads = new CheckThreads(key);
    const readPack = async (pack: Pack): Promise<number> => {
      const size = packs.size[packs.find(toBytes(pack.id))] ?? 0;
      const load = (into: Uint8Array): Promise<Uint8Array> =>
        store.load({ type: 'data', name: pack.id }, { into, ...(signal && { signal }) });
      try {
        for (const sentence of await threads.verify(pack, size, load)) this.problems.damage(sentence);
        return size;
      } catch (error) {
        if (!isDamage(error)) throw error;
        this.problems.damage(`pack ${pack.id} cannot be read: ${error.message}`);
        return 0;
      }
    };
    try {
      for await (const { id, json } of this.#documents(documents)) {
        const here = effectivePacks(decodeIndexFile(json, fileSubject('index', id)), packs).filter((pack) => {
          const row = packs.find(toBytes(pack.id));
          const first = wanted.has(row);
          wanted.remove(row);
          return first;
        });
        for await (const bytes of inFlight(here, threads.width, readPack)) {
          read.packs++;
          read.bytes += bytes;
          this.#options.onProgress?.({ step: 'data', done: read.packs, total: chosen.length });
        }
      }
    } finally {
      await threads.close();
    }
    return read;
  }

  #node(path: string, node: TreeNode, used: BitSet): void {
    if (!NODE_TYPES.has(node.type))
      this.problems.damage(`${path} has the type ${node.type}, which nothing can restore`);
    if (node.type !== 'file') return;
    const { index } = this.#repository;
    let length = 0;
    for (const id of node.content ?? []) {
      const raw = toBytes(id);
      const location = index.lookup('data', raw);
      if (location === undefined) {
        this.problems.damage(`${path} is damaged: no index file names its data blob ${id}`);
        length = NaN;
        continue;
      }
      used.add(index.ordinal('data', raw));
      length += location.uncompressedLength || location.length - SEAL_OVERHEAD;
    }
    const size = node.size ?? 0;
    if (Number.isNaN(length) || length === size) return;
    const sentence = `${path} has ${size} bytes, its blobs have ${length}`;
    // Restic stores a file that grows while it is read just so, and lets it pass; nothing of ours ever looks like that.
    if (node.mtime === FIXED_TIME) this.problems.damage(`${sentence}: it is damaged`);
    else this.problems.untidy(`${sentence}: it changed while it was backed up`);
  }

  #pack(packs: PackTable, row: number): void {
    const name = `pack ${packs.id(row)}`;
    const used = packs.usedBlobs[row] ?? 0;
    const loss = used > 0 ? `${used} blobs in use were in it` : 'nothing in it is in use';
    if (!packs.has(row, INDEXED)) {
      if (packs.has(row, LISTED)) {
        this.problems.untidy(
          `${name} is in no index file: left over from a crash, or of a backup that runs now`,
        );
      }
    } else if (!packs.has(row, LISTED)) this.problems.damage(`${name} is missing; ${loss}`);
    else if (packs.size[row] !== packs.indexedSize[row]) {
      const [size, expected] = [packs.size[row] ?? 0, packs.indexedSize[row] ?? 0];
      this.problems.damage(`${name} has ${size} bytes instead of ${expected}; ${loss}`);
    }
  }

  async *#documents(
    files: readonly { readonly id: Id; readonly size: number }[],
  ): AsyncGenerator<IndexDocument> {
    for (const { id, size } of files) {
      yield { id, size, json: await this.#repository.loadFile('index', id, this.#options.signal) };
    }
  }

  #walk(): { onProblem: (problem: DatamoverError) => void; signal?: AbortSignal } {
    const { signal } = this.#options;
    return { onProblem: (problem) => this.problems.damage(problem.message), ...(signal && { signal }) };
  }
}

function count(packs: PackTable, flag: number): number {
  let total = 0;
  for (let row = 0; row < packs.length; row++) if (packs.has(row, flag)) total++;
  return total;
}

function sum(column: Uint32Array): number {
  return column.reduce((total, value) => total + value, 0);
}
