import { DatamoverError } from '../errors.ts';
import { BitSet } from './bit-set.ts';
import { isDamage } from './damage.ts';
import type { BlobIndex } from './blob-index.ts';
import { shortId, toBytes } from './id.ts';
import { decodeTree, type TreeNode } from './tree.ts';
import type { BlobType, Id } from './types.ts';

/** What a walk reads from; a Repository is one. */
export interface BlobSource {
  readonly index: BlobIndex;
  loadBlob(type: BlobType, id: Id, signal?: AbortSignal): Promise<Uint8Array>;
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
  /** Trees that are loaded at the same time. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  /** Trees to pass over, by ordinal; the walk adds those it has met. */
  readonly met?: BitSet;
}

const CONCURRENCY = 8;

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
  const { concurrency = CONCURRENCY, signal, met = new BitSet(source.index.entryCount) } = options;
  const unknown = new Set<Id>();
  const waiting = [...roots].reverse();
  const running = new Set<Promise<void>>();

  const visit = async (place: TreePlace): Promise<void> => {
    const subject = `tree ${shortId(place.id)} (${place.path})`;
    let nodes: TreeNode[];
    try {
      nodes = decodeTree(await source.loadBlob('tree', place.id, signal), subject);
    } catch (error) {
      if (!isDamage(error)) throw error;
      visitor.broken(place, error);
      return;
    }
    visitor.tree(place, nodes);
    for (const node of nodes.toReversed()) {
      if (node.subtree === undefined) continue;
      waiting.push({ id: node.subtree, path: childPath(place.path, node.name) });
    }
  };

  const isNew = (place: TreePlace): boolean => {
    const ordinal = source.index.ordinal('tree', toBytes(place.id));
    if (ordinal >= 0) return met.add(ordinal);
    if (unknown.has(place.id)) return false;
    unknown.add(place.id);
    const subject = `tree ${shortId(place.id)} (${place.path})`;
    visitor.broken(
      place,
      new DatamoverError({ operation: 'read', subject, cause: 'no index file names it' }),
    );
    return false;
  };

  try {
    while (waiting.length > 0 || running.size > 0) {
      signal?.throwIfAborted();
      for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
        if (!isNew(place)) continue;
        const task: Promise<void> = visit(place).finally(() => running.delete(task));
        running.add(task);
        if (running.size >= concurrency) break;
      }
      // A race of none would never end: all that was waiting may have been met before.
      if (running.size > 0) await Promise.race(running);
    }
  } finally {
    await Promise.allSettled(running);
  }
}

export function childPath(parent: string, name: string): string {
  return parent.endsWith('/') ? parent + name : `${parent}/${name}`;
}
