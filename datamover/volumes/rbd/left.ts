import { isRbdErrno, type RbdConnection } from './command.ts';
import { formatImageName, type ImageName } from './image-name.ts';
import { unremovedPartials } from './partial-image.ts';
import type { Session } from './session.ts';
import { findWatcher, type Watcher } from './watchers.ts';

const ENOENT = 2;

/** What a clean-up of an image leaves, a sentence for each thing: why, until when, and what takes it away sooner. */
export async function whatIsLeft(
  connection: RbdConnection,
  session: Session,
  image: ImageName,
  signal?: AbortSignal,
): Promise<string[]> {
  const asking = { operation: 'look what is left of rbd image', subject: formatImageName(image), signal };
  const [held, names] = await Promise.all([
    session.ask('unsure', image, asking),
    session.ask('names', image, asking),
  ]);
  const lines = held.map(({ snap, since }) =>
    unsure(snap, 'backup holds it', since, `rbd snap unprotect ${snap}`),
  );
  for (const { name, fate, since } of unremovedPartials(image, names)) {
    const partial = formatImageName(name);
    if (fate === 'unknown') {
      lines.push(unsure(partial, 'restore makes it', since, `rbd rm ${partial}`));
      continue;
    }
    const watcher = await orGone(findWatcher(connection, name, signal));
    if (watcher !== 'gone') lines.push(stillOpen(partial, watcher));
  }
  return lines;
}

function unsure(what: string, does: string, since: number, sooner: string): string {
  const when = new Date(since).toISOString();
  return `left ${what}: since ${when} a ${does} that may be at work on another machine; it goes a day after that (sooner: ${sooner})`;
}

/** Its restore is gone by its name, and yet Ceph does not remove it. */
function stillOpen(partial: string, watcher: Watcher | undefined): string {
  const by = watcher?.address === undefined ? 'somebody' : `somebody at ${watcher.address}`;
  const open = watcher === undefined ? 'it was open to write until now' : `${by} has it open to write`;
  return `left ${partial}: a restore that was killed had made it, and ${open}; the next clean-up after that takes it away (who has it: rbd status ${partial})`;
}

async function orGone<T>(asked: Promise<T>): Promise<T | 'gone'> {
  return asked.catch((error: unknown) => {
    if (isRbdErrno(error, ENOENT)) return 'gone' as const;
    throw error;
  });
}
