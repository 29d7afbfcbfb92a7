import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { run } from '../datamover/process/spawn.ts';
import { VmDevices } from '../datamover/volumes/zfs/testing/vm-devices.ts';
import { startOpenZfs } from '../e2e/servers/openzfs.ts';
import type { BenchVolume } from './storage.ts';

/** The machine also runs the program that writes the changes. */
const MEMORY = 2048;
/** The pool is so many times as large as the volume: snapshots keep what was overwritten. */
const POOL_TIMES = 1.5;

/** The file as a zvol with a snapshot `first`, on real OpenZFS in an emulated machine: 40 MiB/s come out of it. */
export async function openZfsVolume(file: string): Promise<BenchVolume> {
  const { size } = await stat(file);
  const poolSize = Math.max(8192, Math.ceil((POOL_TIMES * size) / 2 ** 20));
  const zfs = await startOpenZfs({ own: true, memory: MEMORY, poolSize });
  const volume = `${zfs.pool}/bench`;
  try {
    await zfs.zfs('create', '-s', '-V', String(size), volume);
    const device = await zfs.device(volume);
    const args = ['sh', '-c', `cat > ${device} && sync`];
    await run({ file: 'vm', args, env: zfs.environment, input: createReadStream(file) });
    await zfs.zfs('snapshot', `${volume}@first`);
    return {
      storage: 'zfs',
      tool: 'zfs send -i',
      env: zfs.environment,
      change: async (writes, snapshot) => {
        const devices = await VmDevices.start(zfs);
        const open = await devices.open(device, size, false);
        for (const { offset, bytes } of writes) await open.write(offset, bytes);
        await open.finish();
        await open.close();
        await devices.stop();
        await zfs.zfs('snapshot', `${volume}@${snapshot}`);
      },
      // The devices are in the emulated machine: nothing can be compared at random from here.
      backupArguments: (snapshot) => [`zfs:${volume}@${snapshot}`, '--sample', '0'],
      send: (snapshot, from) => ({
        file: 'zfs',
        args: ['send', ...(from === undefined ? [] : ['-i', `@${from}`]), `${volume}@${snapshot}`],
      }),
      print: () => ['vm', 'cat', device],
      stop: () => zfs.stop(),
    };
  } catch (error) {
    await zfs.stop();
    throw error;
  }
}
