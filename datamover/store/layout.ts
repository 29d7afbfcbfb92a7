import { DatamoverError } from '../errors.ts';
import type { FileHandle, FileType } from './store.ts';

/**
 * Where restic's "default" layout puts each file, as paths with `/` below the place of the repository. Packs lie in 256
 * folders by the first two digits of their name. Source: restic's design document, "Repository Layout".
 */

/** The folders in the order in which a bucket lists them. */
export const FOLDERS = ['data', 'index', 'keys', 'locks', 'snapshots'] as const satisfies readonly FileType[];

const NAME = /^[0-9a-f]{64}$/;

/** The path of a file. Throws if the handle names none, so that no name can lead out of the repository. */
export function pathOf(file: FileHandle): string {
  if (file.type === 'config') {
    if (file.name === '') return 'config';
  } else if (NAME.test(file.name)) {
    return file.type === 'data' ? `data/${file.name.slice(0, 2)}/${file.name}` : `${file.type}/${file.name}`;
  }
  throw new DatamoverError({
    operation: 'name file',
    subject: file.type,
    cause: `${JSON.stringify(file.name)} is no file name`,
  });
}

/** The file at a path; undefined for anything that is not a file of a repository. */
export function fileAt(path: string): FileHandle | undefined {
  if (path === 'config') return { type: 'config', name: '' };
  const slash = path.indexOf('/');
  const type = FOLDERS.find((folder) => folder === path.slice(0, slash));
  if (type === undefined) return undefined;
  const name = path.slice(path.lastIndexOf('/') + 1);
  return NAME.test(name) && path === pathOf({ type, name }) ? { type, name } : undefined;
}

/** The 256 folders of packs, `00` to `ff`. */
export function packFolders(): string[] {
  return Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));
}
