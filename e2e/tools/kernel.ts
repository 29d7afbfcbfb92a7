import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { attachLoop, mountSmallDisk } from '../servers/kernel.ts';
import { installPackages } from './apt.ts';
import type { Installed } from './install.ts';

/** Whether this kernel, and whoever runs the tests, can attach block devices and mount small disks: tried, not guessed. */
export async function probeKernel(): Promise<Installed> {
  await installPackages(['util-linux', 'mount']);
  const folder = await mkdtemp(join(tmpdir(), 'datamover-kernel-'));
  try {
    const file = join(folder, 'disk');
    await writeFile(file, '');
    await truncate(file, 1 << 20);
    await (await attachLoop(file)).release();
    await (await mountSmallDisk(join(folder, 'mounted'), 1)).release();
    const { stdout } = await run({ file: 'uname', args: ['--kernel-release'] });
    return { file: '/dev/loop-control', version: stdout.trim() };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
