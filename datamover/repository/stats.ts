import { DatamoverError } from '../errors.ts';
import { SEAL_OVERHEAD } from './crypto/cipher.ts';
import { listPacks } from './pack-list.ts';
import { shortId, toBytes } from './id.ts';
import type { Repository } from './repository.ts';
import type { Snapshot } from './snapshot.ts';
import { walkTrees } from './tree-walk.ts';
import type { Id } from './types.ts';
import { BitSet } from './bit-set.ts';

export interface SnapshotSize {
  readonly id: Id;
  readonly files: number;
  /** Bytes that a restore writes, holes included. */
  readonly restoreBytes: number;
}

export interface RepositoryStats {
  readonly snapshots: readonly SnapshotSize[];
  /** Sums over all snapshots. */
  readonly restore: { readonly files: number; readonly bytes: number };
  /** Blobs that these snapshots need, each once. */
  readonly blobs: {
    readonly count: number;
    /** Before compression and encryption. */
    readonly plainBytes: number;
    /** As they lie in packs. */
    readonly storedBytes: number;
  };
  /** All packs of the store, in use or not. */
  readonly packs: { readonly count: number; readonly bytes: number };
}

interface TreeSize {
  files: number;
  bytes: number;
  readonly subtrees: number[];
}

/**
 * Sizes of snapshots and of what they need. Reads each tree once; memory: some 100 bytes for each tree. A missing or damaged tree ends it:
 * a size without it would be wrong.
 */
export async function repositoryStats(
  repository: Repository,
  snapshots: readonly { readonly id: Id; readonly snapshot: Pick<Snapshot, 'tree'> }[],
  signal?: AbortSignal,
): Promise<RepositoryStats> {
  const { index } = repository;
  const counted = new BitSet(index.entryCount);
  const trees = new Map<number, TreeSize>();
  const blobs = { count: 0, plainBytes: 0, storedBytes: 0 };
  const countBlob = (type: 'data' | 'tree', id: Id): void => {
    const raw = toBytes(id);
    const ordinal = index.ordinal(type, raw);
    if (ordinal < 0 || !counted.add(ordinal)) return;
    const location = index.lookup(type, raw);
    if (location === undefined) return;
    blobs.count++;
    blobs.plainBytes += location.uncompressedLength || location.length - SEAL_OVERHEAD;
    blobs.storedBytes += location.length;
  };
  const roots = snapshots.map(({ id, snapshot }) => ({
    id: snapshot.tree,
    path: `snapshot ${shortId(id)}:/`,
  }));
  await walkTrees(
    repository,
    roots,
    {
      tree: ({ id }, nodes) => {
        countBlob('tree', id);
        const size: TreeSize = { files: 0, bytes: 0, subtrees: [] };
        for (const node of nodes) {
          if (node.type === 'file') {
            size.files++;
            size.bytes += node.size ?? 0;
          }
          for (const blob of node.content ?? []) countBlob('data', blob);
          if (node.subtree !== undefined) size.subtrees.push(index.ordinal('tree', toBytes(node.subtree)));
        }
        trees.set(index.ordinal('tree', toBytes(id)), size);
      },
      broken: (place, error) => {
        throw new DatamoverError({
          operation: 'measure',
          subject: place.path,
          cause: error,
          kind: 'incomplete',
        });
      },
    },
    { ...(signal && { signal }) },
  );
  const sizes = snapshots.map(({ id, snapshot }) => {
    const { files, bytes } = total(trees, index.ordinal('tree', toBytes(snapshot.tree)));
    return { id, files, restoreBytes: bytes };
  });
  const packs = { count: 0, bytes: 0 };
  for await (const { size } of listPacks(repository.store, signal)) {
    packs.count++;
    packs.bytes += size;
  }
  return {
    snapshots: sizes,
    restore: {
      files: sizes.reduce((sum, size) => sum + size.files, 0),
      bytes: sizes.reduce((sum, size) => sum + size.restoreBytes, 0),
    },
    blobs,
    packs,
  };
}

/** Adds up a tree and all below it; each sum is kept in the tree, which then has no subtrees any more. */
function total(trees: ReadonlyMap<number, TreeSize>, ordinal: number): { files: number; bytes: number } {
  const tree = trees.get(ordinal);
  if (tree === undefined) return { files: 0, bytes: 0 };
  for (const subtree of tree.subtrees.splice(0)) {
    const below = total(trees, subtree);
    tree.files += below.files;
    tree.bytes += below.bytes;
  }
  return tree;
}
