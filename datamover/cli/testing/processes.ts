import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { commandFailure, type Running } from '../../process/spawn.ts';

/** Waits until it is so, for some minutes at the most. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 240_000; Date.now() < deadline; await delay(20)) {
    if (await isSo()) return;
  }
  throw new Error('it did not come to it in four minutes');
}

/** The bytes of all packs of a local repository. */
export async function packBytes(repository: string): Promise<number> {
  const folder = join(repository, 'data');
  const names = await readdir(folder, { recursive: true });
  const packs = names.filter((name) => /[0-9a-f]{64}$/.test(name));
  const sizes = await Promise.all(packs.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The first program below this process that starts nothing itself and has such a command line. */
export async function programOf(pid: number, commandLine: RegExp): Promise<number> {
  for (const deadline = Date.now() + 240_000; Date.now() < deadline; await delay(2)) {
    for (const child of await descendants(pid)) {
      const text = await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '');
      const isLeaf = (await descendants(child)).length === 0;
      if (isLeaf && commandLine.test(text.replaceAll('\0', ' '))) return child;
    }
  }
  throw new Error(`no program ${String(commandLine)} was started in four minutes`);
}

async function descendants(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '')),
  );
  const words = lists.join(' ').split(/\s+/);
  const children = words.filter((word) => word !== '').map(Number);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

/**
 * Reads what the program prints to its end, and sends it the signal, once, when it has said something that matches. Whether it
 * is still under way then is the caller's matter: hold it back by a rate at which it cannot be over.
 */
export async function signalWhenSaid(
  { pid, stdout }: Running,
  pattern: RegExp,
  signal: NodeJS.Signals,
): Promise<void> {
  let said = '';
  let sent = false;
  for await (const chunk of stdout as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (sent || !pattern.test(said)) continue;
    process.kill(pid, signal);
    sent = true;
  }
  if (!sent) throw new Error(`the program ended before ${signal}, having said only: ${said}`);
}

/** How a program ended, whether well or not. */
export async function ended({ finished }: Running): Promise<{ status: number | undefined; stderr: string }> {
  return finished.then(
    ({ status, stderr }) => ({ status, stderr }),
    (error: unknown) => {
      const failure = commandFailure(error);
      return { status: failure?.status, stderr: failure?.stderr ?? '' };
    },
  );
}
