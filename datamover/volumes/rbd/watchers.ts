import { askRbd, type RbdConnection } from './command.ts';
import { nameOptions, type ImageName } from './image-name.ts';

/** Somebody who has an image open to write: a mapping, a virtual machine, a restore. */
export interface Watcher {
  readonly address?: string;
}

/** One of those who have the image open to write; undefined where nobody has. */
export async function findWatcher(
  connection: RbdConnection,
  name: ImageName,
  signal?: AbortSignal,
): Promise<Watcher | undefined> {
  const status = await askRbd(connection, {
    operation: 'look who uses rbd image',
    name,
    args: ['status', ...nameOptions(name)],
    ...(signal && { signal }),
  });
  const watchers = (status as { watchers?: unknown } | null)?.watchers;
  // A list in new releases, an object of objects in old ones.
  const [first] = Object.values(typeof watchers === 'object' && watchers !== null ? watchers : {}) as {
    address?: unknown;
  }[];
  if (first === undefined) return undefined;
  return typeof first.address === 'string' ? { address: first.address } : {};
}
