import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { debianArchive, installPackages } from './apt.ts';
import { cached } from './cache.ts';
import type { Installed } from './install.ts';
import { PrivateApt, unpack } from './private-apt.ts';

/** The restic of this machine's Debian release: what people have. */
export async function installDebianRestic(): Promise<Installed> {
  await installPackages(['restic']);
  return { file: '/usr/bin/restic', version: await versionOf('/usr/bin/restic') };
}

/** Newest first; the second is for machines whose C library is too old for the first's program. */
const SUITES = ['sid', 'trixie'];

/**
 * A current restic, unpacked from a newer Debian suite beside the machine's own packages: a private sources list and state
 * keep its apt as it is.
 */
export async function installCurrentRestic(): Promise<Installed> {
  const system = await readFile('/etc/os-release', 'utf8');
  const { folder, version } = await cached('restic', [...SUITES, system, process.arch], async (target) => {
    const failures: unknown[] = [];
    for (const suite of SUITES) {
      try {
        await obtain(target, suite);
        return await versionOf(join(target, 'usr/bin/restic'));
      } catch (error) {
        failures.push(error);
      }
    }
    throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(String).join('; '));
  });
  return { file: join(folder, 'usr/bin/restic'), version };
}

async function obtain(target: string, suite: string): Promise<void> {
  const home = join(target, 'apt');
  const apt = await PrivateApt.open(home, [{ uri: await debianArchive(), suite, components: 'main' }]);
  await unpack(await apt.download(['restic']), target);
  await rm(home, { recursive: true, force: true });
}

async function versionOf(file: string): Promise<string> {
  return (await run({ file, args: ['version'] })).stdout.trim();
}
