import { open, stat, type FileHandle } from 'node:fs/promises';
import { native } from './native.ts';

/** flock(2): alone, or at once not at all. */
const EXCLUSIVE_OR_REFUSED = 2 | 4;

type Lock = (fd: number, operation: number) => number;

let flock: Lock | undefined;

/**
 * Locks a file that is there, for as long as the handle is open. The lock tells the living from the dead, whatever namespace their
 * processes are in: the kernel lifts it when they end. Undefined where somebody else has it, or took the file away before it was ours.
 */
export async function lockFile(path: string): Promise<FileHandle | undefined> {
  const handle = await open(path, 'r').catch(() => undefined);
  if (handle === undefined) return undefined;
  flock ??= native().load(null).func('int flock(int fd, int operation)') as unknown as Lock;
  if (flock(handle.fd, EXCLUSIVE_OR_REFUSED) === 0) {
    const [held, there] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
    if (held.ino === there?.ino) return handle;
  }
  await handle.close();
  return undefined;
}
