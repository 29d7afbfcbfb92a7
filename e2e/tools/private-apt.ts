import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';

/** Where packages come from: `{ uri, suite: 'bookworm', components: 'main contrib' }`. */
export interface Source {
  readonly uri: string;
  readonly suite: string;
  readonly components: string;
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * An apt beside the machine's own, for packages that are unpacked and never installed: sources, state and cache of its own in
 * `home`, so that the machine's stay as they are.
 */
export class PrivateApt {
  readonly #home: string;
  readonly #options: readonly string[];

  private constructor(home: string, options: readonly string[]) {
    this.#home = home;
    this.#options = options;
  }

  /** Fetches the indexes of these sources. */
  static async open(home: string, sources: readonly Source[]): Promise<PrivateApt> {
    for (const folder of ['state/lists/partial', 'cache/archives/partial']) {
      await mkdir(join(home, folder), { recursive: true });
    }
    const list = join(home, 'sources.list');
    const lines = sources.map(
      ({ uri, suite, components }) => `deb [signed-by=${KEYRING}] ${uri} ${suite} ${components}\n`,
    );
    await writeFile(list, lines.join(''));
    await writeFile(join(home, 'status'), '');
    const settings = {
      'Dir::Etc::SourceList': list,
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
    return new PrivateApt(home, options);
  }

  /** The control record of the newest version of a package, as text. */
  async show(name: string): Promise<string> {
    const args = [...this.#options, 'show', '--no-all-versions', name];
    return (await run({ file: 'apt-cache', args })).stdout;
  }

  /** Downloads packages (`name` or `name/suite`) into an empty folder; gives the paths of the .deb files. */
  async download(packages: readonly string[], folder = join(this.#home, 'packages')): Promise<string[]> {
    await mkdir(folder, { recursive: true });
    await run({ file: 'apt-get', args: [...this.#options, 'download', ...packages], cwd: folder });
    return (await readdir(folder)).filter((name) => name.endsWith('.deb')).map((name) => join(folder, name));
  }
}

/** Unpacks packages over each other into a folder. */
export async function unpack(archives: readonly string[], folder: string): Promise<void> {
  for (const archive of archives) await run({ file: 'dpkg-deb', args: ['--extract', archive, folder] });
}
