import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * What a build made, kept outside of checkouts, so that every clone and every later run finds it. A folder's name carries the
 * hash of everything that went into it: a changed input is a new folder, and a folder is whole or not there.
 */
export function cacheRoot(): string {
  const base = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return join(base, 'velero-datamover');
}

export interface CachedTool {
  /** The folder that `build` filled. */
  readonly folder: string;
  /** What `build` returned. */
  readonly version: string;
}

/** Gives the folder that `build` makes from `inputs`, building it at the first call. */
export async function cached(
  name: string,
  inputs: readonly string[],
  build: (folder: string) => Promise<string>,
): Promise<CachedTool> {
  const key = createHash('sha256').update(inputs.join('\0')).digest('hex');
  const folder = join(cacheRoot(), `${name}-${key}`);
  const versionFile = join(folder, 'version');
  if (!existsSync(versionFile)) {
    console.error(`${name} is not in ${cacheRoot()}: obtaining it, which may take minutes`);
    const partial = `${folder}.${process.pid}-${randomUUID()}`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    try {
      await writeFile(join(partial, 'version'), await build(partial));
      await rename(partial, folder).catch((error: unknown) => {
        // Somebody else built the same in the meantime.
        if (!existsSync(versionFile)) throw error;
      });
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  }
  return { folder, version: await readFile(versionFile, 'utf8') };
}
