import { run } from '../datamover/process/spawn.ts';
import { Librbd } from '../datamover/volumes/rbd/testing/librbd.ts';
import { startCeph } from '../e2e/servers/ceph.ts';
import type { BenchVolume } from './storage.ts';

const IMAGE = 'bench';

/** The file as an RBD image with a snap `first`, on a real cluster of this machine that keeps its data in memory. */
export async function openRbdVolume(file: string): Promise<BenchVolume> {
  const ceph = await startCeph({ own: true });
  const image = `${ceph.pool}/${IMAGE}`;
  const rbd = async (...args: string[]): Promise<void> => {
    await run({ file: 'rbd', args, env: ceph.environment });
  };
  try {
    await rbd('import', '--no-progress', file, image);
    await rbd('snap', 'create', '--no-progress', `${image}@first`);
  } catch (error) {
    await ceph.stop();
    throw error;
  }
  const client = new Librbd(ceph);
  return {
    storage: 'rbd',
    tool: 'rbd export-diff',
    env: ceph.environment,
    change: async (writes, snapshot) => {
      const open = client.open(IMAGE);
      for (const { offset, bytes } of writes) open.write(offset, bytes);
      open.snap(snapshot);
      open.close();
    },
    backupArguments: (snapshot) => [`rbd:${image}@${snapshot}`],
    send: (snapshot, from) => ({
      file: 'rbd',
      args: [
        ...['export-diff', '--no-progress', ...(from === undefined ? [] : ['--from-snap', from])],
        ...[`${image}@${snapshot}`, '-'],
      ],
    }),
    print: (snapshot) => ['rbd', 'export', '--no-progress', `${image}@${snapshot}`, '-'],
    stop: async () => {
      client.close();
      await ceph.stop();
    },
  };
}
