import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { debianArchive, installPackages } from './apt.ts';
import { cached } from './cache.ts';
import type { Installed } from './install.ts';

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
        await unpack(target, suite);
        return await versionOf(join(target, 'usr/bin/restic'));
      } catch (error) {
        failures.push(error);
      }
    }
    throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(String).join('; '));
  });
  return { file: join(folder, 'usr/bin/restic'), version };
}

async function unpack(target: string, suite: string): Promise<void> {
  const home = join(target, 'apt');
  for (const folder of ['state/lists/partial', 'cache/archives/partial']) {
    await mkdir(join(home, folder), { recursive: true });
  }
  const sources = join(home, 'sources.list');
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  await writeFile(sources, `deb [signed-by=${keyring}] ${await debianArchive()} ${suite} main\n`);
  await writeFile(join(home, 'status'), '');
  const settings = {
    'Dir::Etc::SourceList': sources,
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State': join(home, 'state'),
    'Dir::State::status': join(home, 'status'),
    'Dir::Cache': join(home, 'cache'),
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': 'root',
    // Descriptions and icons for software centres are larger than the index itself.
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
    'Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled': 'false',
    'Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled': 'false',
    'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled': 'false',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  await run({ file: 'apt-get', args: [...options, 'update'] });
  await run({ file: 'apt-get', args: [...options, 'download', 'restic'], cwd: home });
  const archive = (await readdir(home)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error(`apt-get download left no package of restic from ${suite}`);
  await run({ file: 'dpkg-deb', args: ['--extract', join(home, archive), target] });
  await rm(home, { recursive: true, force: true });
}

async function versionOf(file: string): Promise<string> {
  return (await run({ file, args: ['version'] })).stdout.trim();
}
