import { DatamoverError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { BitSet } from './bit-set.ts';
import { openBlob } from './blob.ts';
import type { BlobIndex } from './blob-index.ts';
import { isDamage } from './damage.ts';
import { shortId, toBytes } from './id.ts';
import { runsOf } from './pack-reader.ts';
import { decodeTree, type TreeNode } from './tree.ts';
import type { BlobLocation, Id, MasterKey, PackedBlob } from './types.ts';

/** What a walk reads from; a Repository is one. */
export interface BlobSource {
  readonly index: BlobIndex;
  readonly store: Store;
  readonly key: MasterKey;
}

export interface TreePlace {
  readonly id: Id;
  /** Where it was met first, for people: `snapshot 1a2b3c4d:/image`. */
  readonly path: string;
}

export interface TreeVisitor {
  /** Once for each tree that could be read, in no promised order. */
  tree(place: TreePlace, nodes: readonly TreeNode[]): void;
  /** Once for each tree that the index does not know or that could not be read; its folders are not walked. */
  broken(place: TreePlace, error: DatamoverError): void;
}

export interface WalkOptions {
  /** Requests at the same time. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  /** Trees to pass over, by ordinal; the walk adds those it has met. */
  readonly met?: BitSet;
}

const CONCURRENCY = 8;
/** So many waiting trees are looked through for neighbours in one pack: a folder of a thousand segments is a few requests. */
const BATCH = 256;
/** What one request for neighbours brings at most, in bytes. */
const MAX_RANGE = 2 * 1024 * 1024;

/** Trees that lie close together in a pack. */
interface Run {
  readonly pack: Id;
  readonly offset: number;
  readonly length: number;
  readonly trees: readonly { readonly place: TreePlace; readonly blob: PackedBlob }[];
}

/** Trees of one pack. */
interface Neighbours {
  readonly blobs: PackedBlob[];
  readonly places: Map<PackedBlob, TreePlace>;
}

/**
 * Walks the trees below some roots, each tree once however many snapshots share it. Memory: a bit a blob, the trees under way, and the
 * names of the folders still to visit.
 */
export async function walkTrees(
  source: BlobSource,
  roots: Iterable<TreePlace>,
  visitor: TreeVisitor,
  options: WalkOptions = {},
): Promise<void> {
  await new TreeWalk(source, visitor, options).run(roots);
}

class TreeWalk {
  readonly #source: BlobSource;
  readonly #visitor: TreeVisitor;
  readonly #signal: AbortSignal | undefined;
  readonly #concurrency: number;
  readonly #met: BitSet;
  readonly #unknown = new Set<Id>();
  /** Trees to visit, the next one last. */
  #waiting: TreePlace[] = [];
  readonly #requests: Run[] = [];
  readonly #running = new Set<Promise<void>>();

  constructor(source: BlobSource, visitor: TreeVisitor, options: WalkOptions) {
    this.#source = source;
    this.#visitor = visitor;
    this.#signal = options.signal;
    this.#concurrency = options.concurrency ?? CONCURRENCY;
    this.#met = options.met ?? new BitSet(source.index.entryCount);
  }

  async run(roots: Iterable<TreePlace>): Promise<void> {
    this.#waiting = [...roots].reverse();
    const running = this.#running;
    try {
      while (this.#waiting.length + this.#requests.length + running.size > 0) {
        this.#signal?.throwIfAborted();
        if (this.#requests.length === 0) this.#requests.push(...this.#nextRuns());
        while (running.size < this.#concurrency) {
          const run = this.#requests.pop();
          if (run === undefined) break;
          const task: Promise<void> = this.#load(run).finally(() => running.delete(task));
          running.add(task);
        }
        // A race of none would never end: all that was waiting may have been met before.
        if (running.size > 0) await Promise.race(running);
      }
    } finally {
      await Promise.allSettled(running);
    }
  }

  /** Takes trees that wait and puts those together that lie together. */
  #nextRuns(): Run[] {
    const packs = new Map<Id, Neighbours>();
    for (const place of this.#waiting.splice(-BATCH).reverse()) {
      const location = this.#meet(place);
      if (location === undefined) continue;
      const { pack, ...rest } = location;
      const blob: PackedBlob = { ...rest, id: place.id };
      const known: Neighbours = packs.get(pack) ?? { blobs: [], places: new Map() };
      packs.set(pack, known);
      known.blobs.push(blob);
      known.places.set(blob, place);
    }
    const runs: Run[] = [];
    for (const [pack, { blobs, places }] of packs) {
      for (const { offset, length, blobs: close } of runsOf(blobs, MAX_RANGE)) {
        const trees = close.flatMap((blob) => {
          const place = places.get(blob);
          return place === undefined ? [] : [{ place, blob }];
        });
        runs.push({ pack, offset, length, trees });
      }
    }
    return runs.reverse();
  }

  /** Where a tree lies that was not met before. */
  #meet(place: TreePlace): BlobLocation | undefined {
    const { index } = this.#source;
    const raw = toBytes(place.id);
    const ordinal = index.ordinal('tree', raw);
    const location = ordinal < 0 ? undefined : index.lookup('tree', raw);
    if (location !== undefined) return this.#met.add(ordinal) ? location : undefined;
    if (this.#unknown.has(place.id)) return undefined;
    this.#unknown.add(place.id);
    const details = { operation: 'read', subject: subjectOf(place), cause: 'no index file names it' };
    this.#visitor.broken(place, new DatamoverError(details));
    return undefined;
  }

  async #load(run: Run): Promise<void> {
    const { store } = this.#source;
    const range = { offset: run.offset, length: run.length };
    let bytes: Uint8Array;
    try {
      bytes = await store.load(
        { type: 'data', name: run.pack },
        { range, ...(this.#signal && { signal: this.#signal }) },
      );
    } catch (error) {
      if (!isDamage(error)) throw error;
      const [only, ...others] = run.trees;
      if (only !== undefined && others.length === 0) this.#visitor.broken(only.place, error);
      // A pack that was cut short still has its first trees: each is asked for alone.
      else for (const tree of run.trees) await this.#load({ ...run, ...tree.blob, trees: [tree] });
      return;
    }
    for (const { place, blob } of run.trees) {
      const at = blob.offset - run.offset;
      this.#open(place, run.pack, blob, bytes.subarray(at, at + blob.length));
    }
  }

  #open(place: TreePlace, pack: Id, blob: PackedBlob, sealed: Uint8Array): void {
    const subject = subjectOf(place);
    let nodes: TreeNode[];
    try {
      const json = openBlob(this.#source.key, blob, sealed, `${subject} in pack ${shortId(pack)}`);
      nodes = decodeTree(json, subject);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#visitor.broken(place, error);
      return;
    }
    this.#visitor.tree(place, nodes);
    for (const node of nodes.toReversed()) {
      if (node.subtree === undefined) continue;
      this.#waiting.push({ id: node.subtree, path: childPath(place.path, node.name) });
    }
  }
}

function subjectOf(place: TreePlace): string {
  return `tree ${shortId(place.id)} (${place.path})`;
}

export function childPath(parent: string, name: string): string {
  return parent.endsWith('/') ? parent + name : `${parent}/${name}`;
}
