import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scratchDirectory } from '../../../e2e/servers/scratch.ts';
import type { Peer } from '../../../e2e/servers/peers.ts';
import { LocalStore } from '../../store/local/store.ts';
import { sha256 } from '../id.ts';
import { createKeyFile, encodeKeyFile } from '../key-file.ts';
import { Repository, type OpenOptions } from '../repository.ts';
import { noise, prose } from './bytes.ts';
import { PASSWORD, Restic } from './restic.ts';

/** A folder that is removed with everything in it. */
export class Scratch {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(name: string): Promise<Scratch> {
    return new Scratch(await scratchDirectory(name));
  }

  join(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  /** A copy of one of its folders, under a new name. */
  async copy(from: string, to: string): Promise<string> {
    await cp(this.join(from), this.join(to), { recursive: true });
    return this.join(to);
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** Opens a local repository that real programs wrote or will read. */
export async function openLocal(
  path: string,
  password = PASSWORD,
  options: OpenOptions = {},
): Promise<Repository> {
  return Repository.open(new LocalStore(path), password, options);
}

/**
 * Puts a key file in the place of the others that costs a millisecond to open instead of a quarter of a second: the programs of a test
 * open a repository hundreds of times.
 */
export async function cheapenKey(path: string): Promise<void> {
  const { key } = await openLocal(path);
  const keys = join(path, 'keys');
  for (const name of await readdir(keys)) await rm(join(keys, name));
  const file = encodeKeyFile(await createKeyFile(key, PASSWORD, {}, { N: 1024, r: 8, p: 1 }));
  await writeFile(join(keys, sha256(file)), file);
}

/**
 * A repository made by a real restic: three backups of a folder that changes. `init` holds further arguments of `restic init`, `backup`
 * of `restic backup`.
 */
export async function makeWithRestic(
  scratch: Scratch,
  peer: Peer,
  options: {
    readonly init?: readonly string[];
    readonly backup?: readonly string[];
    readonly name?: string;
  } = {},
): Promise<Restic> {
  const { init = [], backup = [], name = 'repository' } = options;
  const restic = new Restic(peer, scratch.join(name));
  await restic.ok(['init', ...init]);
  await cheapenKey(restic.location);
  const source = scratch.join(`${name}-source`);
  await mkdir(join(source, 'folder'), { recursive: true });
  const save = async (day: number): Promise<void> => {
    const args = ['backup', '.', '--host', 'h', '--time', `2024-03-0${day} 12:00:00`, '--tag', `day${day}`];
    await restic.ok([...args, ...backup], { cwd: source });
  };
  await writeFile(join(source, 'big'), noise('big', 3_000_000));
  await writeFile(join(source, 'folder', 'text'), prose('text', 900_000));
  await writeFile(join(source, 'folder', 'small'), 'small');
  await save(1);
  await writeFile(join(source, 'big'), noise('bigger', 2_500_000));
  await writeFile(join(source, 'folder', 'new'), prose('new', 500_000));
  await save(2);
  await writeFile(join(source, 'folder', 'small'), 'changed');
  await writeFile(join(source, 'empty'), '');
  await save(3);
  return restic;
}
