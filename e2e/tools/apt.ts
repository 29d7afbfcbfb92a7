import { DatamoverError } from '../../datamover/errors.ts';
import { run } from '../../datamover/process/spawn.ts';

const APT = { DEBIAN_FRONTEND: 'noninteractive' };
const WAIT_FOR_LOCK = ['-o', 'DPkg::Lock::Timeout=600'];

/** The versions of the packages that are installed, by name. */
async function installedVersions(packages: readonly string[]): Promise<Map<string, string>> {
  const { stdout } = await run({
    file: 'dpkg-query',
    args: ['--show', '--showformat', '${Package} ${db:Status-Status} ${Version}\\n', ...packages],
    accept: [0, 1],
  });
  const rows = stdout.split('\n').map((line) => line.split(' '));
  return new Map(
    rows.flatMap(([name, status, version]) =>
      name !== undefined && status === 'installed' && version !== undefined ? [[name, version]] : [],
    ),
  );
}

/** Installs Debian packages that are not there yet; gives the first one's version. */
export async function installPackages(packages: readonly [string, ...string[]]): Promise<string> {
  let versions = await installedVersions(packages);
  const wanted = packages.filter((name) => !versions.has(name));
  if (wanted.length > 0) {
    const hint = `as root: apt-get install ${wanted.join(' ')}`;
    if (process.getuid?.() !== 0) {
      const cause = `${wanted.join(', ')} not installed, and only root may install packages`;
      throw new DatamoverError({ operation: 'install', subject: packages[0], cause, hint });
    }
    await refreshPackageLists();
    await run({
      file: 'apt-get',
      args: [...WAIT_FOR_LOCK, 'install', '-y', '--no-install-recommends', ...wanted],
      env: APT,
    });
    versions = await installedVersions(packages);
  }
  return versions.get(packages[0]) ?? 'unknown';
}

/** Fetches what the configured archives hold now. */
export async function refreshPackageLists(): Promise<void> {
  await run({ file: 'apt-get', args: [...WAIT_FOR_LOCK, 'update'], env: APT });
}

/** The base address of the Debian archive that this machine's own apt is configured with. */
export async function debianArchive(): Promise<string> {
  const known = await archives();
  if (known[0] !== undefined) return known[0];
  // A fresh machine has not fetched any index yet, and does not know where its sources come from.
  await refreshPackageLists();
  const fetched = await archives();
  if (fetched[0] !== undefined) return fetched[0];
  throw new DatamoverError({ operation: 'find', subject: 'the Debian archive', cause: 'apt knows none' });
}

/** The base address of the archive with Debian's security updates. */
export async function securityArchive(): Promise<string> {
  const { stdout } = await run({
    file: 'apt-get',
    args: ['indextargets', '--format', '$(RELEASE) $(REPO_URI)', 'Created-By: Packages'],
  });
  const configured = /^[a-z]+-security (\S+)$/m.exec(stdout)?.[1];
  return configured ?? (await debianArchive()).replace(/debian\/*$/, 'debian-security/');
}

async function archives(): Promise<string[]> {
  const { stdout } = await run({
    file: 'apt-get',
    args: ['indextargets', '--format', '$(RELEASE) $(REPO_URI)', 'Created-By: Packages', 'Origin: Debian'],
  });
  const rows = stdout.split('\n').map((line) => line.split(' '));
  // Plain code names: updates and security are archives of their own, without newer suites.
  return rows.flatMap(([release, uri]) =>
    release !== undefined && uri !== undefined && /^[a-z]+$/.test(release) ? [uri] : [],
  );
}
