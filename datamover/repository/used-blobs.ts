import { BitSet } from './bit-set.ts';
import { shortId, toBytes } from './id.ts';
import type { Snapshot } from './snapshot.ts';
import { childPath, walkTrees, type BlobSource } from './tree-walk.ts';
import type { Id } from './types.ts';

export interface UsedBlobs {
  /** The ordinals of all blobs that a snapshot needs. */
  readonly used: BitSet;
  /** What a snapshot needs and nobody has, a sentence each; at most `MISSING_NAMED` of them. */
  readonly missing: readonly string[];
  readonly missingCount: number;
}

/** So many missing blobs are named; a repository that lost a pack can miss millions. */
const MISSING_NAMED = 1000;

/** Finds every blob that one of these snapshots needs. Each tree is read once. */
export async function findUsedBlobs(
  source: BlobSource,
  snapshots: Iterable<{ readonly id: Id; readonly snapshot: Pick<Snapshot, 'tree'> }>,
  signal?: AbortSignal,
): Promise<UsedBlobs> {
  const { index } = source;
  const used = new BitSet(index.entryCount);
  const missing: string[] = [];
  let missingCount = 0;
  const miss = (sentence: string): void => {
    missingCount++;
    if (missing.length < MISSING_NAMED) missing.push(sentence);
  };
  const roots = [...snapshots].map(({ id, snapshot }) => ({
    id: snapshot.tree,
    path: `snapshot ${shortId(id)}:/`,
  }));
  // The walk notes the trees that it meets in its own set: a broken tree is one that is needed all the same.
  const trees = new BitSet(index.entryCount);
  await walkTrees(
    source,
    roots,
    {
      tree: ({ path }, nodes) => {
        for (const node of nodes) {
          for (const blob of node.content ?? []) {
            const ordinal = index.ordinal('data', toBytes(blob));
            if (ordinal >= 0) used.add(ordinal);
            else miss(`data blob ${blob} of ${childPath(path, node.name)} is in no index file`);
          }
        }
      },
      broken: (_place, error) => miss(error.message),
    },
    { met: trees, ...(signal && { signal }) },
  );
  for (const ordinal of trees) used.add(ordinal);
  return { used, missing, missingCount };
}
