import { readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';

const EVERY_MS = 25;

/**
 * The most memory, in MiB, that each program held in one process at any moment, by the names of their files: of those that this
 * process starts while `job` runs, and of theirs. The kernel's own account (getrusage) has no names.
 */
export async function watchMemory<T>(
  job: () => Promise<T>,
): Promise<{ readonly result: T; readonly peaks: ReadonlyMap<string, number> }> {
  const peaks = new Map<string, number>();
  const look = async (parent: number): Promise<void> => {
    const children = (await readOf(parent, `task/${parent}/children`)).split(' ').filter(Boolean).map(Number);
    await Promise.all(
      children.map(async (pid) => {
        const program = basename(await readlink(`/proc/${pid}/exe`).catch(() => ''));
        const peak = /^VmHWM:\s+(\d+)/m.exec(await readOf(pid, 'status'))?.[1];
        if (peak !== undefined) peaks.set(program, Math.max(peaks.get(program) ?? 0, Number(peak) / 1024));
        await look(pid);
      }),
    );
  };
  const timer = setInterval(() => void look(process.pid), EVERY_MS);
  try {
    return { result: await job(), peaks };
  } finally {
    clearInterval(timer);
  }
}

/** Empty where the process has ended. */
async function readOf(pid: number, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
}
