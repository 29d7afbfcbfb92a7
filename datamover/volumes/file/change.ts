import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';

const HINT = 'back up a copy or a snapshot of it, or stop what writes there';

/**
 * Says what shows that a file was written since. Times tell of every write(2) and truncation; what is written through a memory map
 * shows when the kernel writes it back, which may be later. A device tells nothing of the kind.
 */
export async function changeSince(path: string, before: BigIntStats): Promise<string | undefined> {
  const now = await stat(path, { bigint: true }).catch(() => undefined);
  // Replaced or removed: what was open is the old file, whole.
  if (now?.ino !== before.ino || now.dev !== before.dev) return undefined;
  const what =
    now.size !== before.size
      ? `its size went from ${before.size} to ${now.size} bytes`
      : now.mtimeNs !== before.mtimeNs
        ? 'it was written to'
        : now.ctimeNs !== before.ctimeNs
          ? 'its change time moved'
          : undefined;
  if (what === undefined) return undefined;
  return `${path} changed while it was read (${what}): the backup may hold parts of it from before and after; ${HINT}`;
}
