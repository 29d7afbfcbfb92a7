import type { Repository } from '../../repository/repository.ts';
import { decodeTree, encodeTree, type TreeNode } from '../../repository/tree.ts';
import type { Id } from '../../repository/types.ts';
import { IMAGE_FOLDER, VOLUME_FILE } from '../layout.ts';

/**
 * A backup that is not what it says: the image of one and `volume.json` of another, a second later than that. It stands for a base
 * that was restored or rolled back behind the mover's back.
 */
export async function forgeBackup(repository: Repository, image: Id, record: Id): Promise<Id> {
  const [content, claim] = [await repository.loadSnapshot(image), await repository.loadSnapshot(record)];
  const node = async (tree: Id, name: string): Promise<TreeNode> => {
    const found = decodeTree(await repository.loadBlob('tree', tree), tree).find(
      (entry) => entry.name === name,
    );
    if (found === undefined) throw new Error(`tree ${tree} has no ${name}`);
    return found;
  };
  const session = repository.beginBackup();
  const tree = await session.saveTree(
    encodeTree([await node(claim.tree, VOLUME_FILE), await node(content.tree, IMAGE_FOLDER)]),
  );
  await session.flush();
  const time = new Date(Date.parse(claim.time) + 1000).toISOString();
  return repository.saveSnapshot({ ...claim, time, tree });
}
