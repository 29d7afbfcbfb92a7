import { readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { refreshPackageLists } from './apt.ts';
import { cached } from './cache.ts';
import type { Installed } from './install.ts';

/** Debian's etcd, unpacked and not installed: installing it would start a server of the machine's own. */
export async function installEtcd(): Promise<Installed> {
  const system = await readFile('/etc/os-release', 'utf8');
  const { folder, version } = await cached('etcd', [system, process.arch], async (target) => {
    const download = () => run({ file: 'apt-get', args: ['download', 'etcd-server'], cwd: target });
    // A fresh machine knows no packages yet.
    await download().catch(async () => {
      await refreshPackageLists();
      await download();
    });
    const archive = (await readdir(target)).find((name) => name.endsWith('.deb'));
    if (archive === undefined) throw new Error('apt-get download left no package of etcd-server');
    await run({ file: 'dpkg-deb', args: ['--extract', join(target, archive), target] });
    await rm(join(target, archive));
    const { stdout } = await run({ file: join(target, 'usr/bin/etcd'), args: ['--version'] });
    return stdout.split('\n')[0] ?? 'unknown';
  });
  return { file: join(folder, 'usr/bin/etcd'), version };
}
