import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'datamover-test-';

/** Where servers keep their data: memory where the machine has that, for none of it is worth a disk's fsync. */
function root(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
}

/** A new empty directory that carries this process's id, so that `sweep` can tell when it is left over. */
export async function scratchDirectory(name: string): Promise<string> {
  mkdirSync(root(), { recursive: true });
  return mkdtemp(join(root(), `${PREFIX}${process.pid}-${name}-`));
}

/** Removes the directories of processes that are no more (killed runs). */
export function sweep(): void {
  for (const entry of readdirSync(root())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(entry)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(root(), entry), { recursive: true, force: true });
  }
}
