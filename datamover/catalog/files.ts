import { decodeTree, type TreeNode } from '../repository/tree.ts';
import type { BlobType, Id } from '../repository/types.ts';

/** One entry of a backup's tree. */
export interface BackupFile {
  /** From the root of the snapshot: `/image/000000/data`. */
  readonly path: string;
  /** restic's node type: `file`, `dir`, `symlink`, ... */
  readonly type: string;
  /** Bytes; 0 for folders. */
  readonly size: number;
  /** Data blobs of a file, in order. */
  readonly content: readonly Id[];
  readonly subtree?: Id;
}

/** What walking a tree needs of a repository. */
export interface BlobSource {
  loadBlob(type: BlobType, id: Id): Promise<Uint8Array>;
}

/** All entries below a tree, depth first, in the order of their names. Each folder's tree blob is loaded once it is reached. */
export async function* listFiles(source: BlobSource, tree: Id, folder = ''): AsyncGenerator<BackupFile> {
  const nodes = decodeTree(await source.loadBlob('tree', tree), `tree ${tree.slice(0, 8)}`);
  for (const node of nodes) {
    const path = `${folder}/${node.name}`;
    yield describeNode(path, node);
    if (node.subtree !== undefined) yield* listFiles(source, node.subtree, path);
  }
}

function describeNode(path: string, { type, size = 0, content = [], subtree }: TreeNode): BackupFile {
  return { path, type, size, content, ...(subtree === undefined ? {} : { subtree }) };
}
