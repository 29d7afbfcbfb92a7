import type { OpenZfs } from '../../../e2e/servers/openzfs.ts';

/** What a dataset holds: names, modes, sizes and times, and the files' digests. */
export const LISTING =
  'find . -exec stat -c "%n %f %s %Y" {} + | sort; find . -type f -exec sha256sum {} + | sort';

/** Runs a script in a dataset, which is mounted for it where it is not. */
export async function inDataset(zfs: OpenZfs, dataset: string, script: string): Promise<string> {
  await zfs.run('sh', '-c', `mount | grep -q ' /${dataset} ' || zfs mount ${dataset}`);
  return (await zfs.run('sh', '-ec', `cd /${dataset} && { ${script}; } 2>/dev/null`)).stdout;
}
