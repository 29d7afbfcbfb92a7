import { readFile } from 'node:fs/promises';

const CHECK_MS = 1_000;

/**
 * Looks at a child's resident memory once a second, and tells once, in words with both figures, when it is more than it may be. Whoever
 * is told ends it: without that the kernel would, and in a pod perhaps its parent with it. Returns what ends the watch.
 */
export function watchMemory(
  pid: number,
  limitBytes: number,
  onExceeded: (cause: string) => void,
): () => void {
  const watch = setInterval(() => {
    void residentBytes(pid).then((bytes) => {
      if (bytes <= limitBytes) return;
      clearInterval(watch);
      onExceeded(`it took ${mebibytes(bytes)} of memory, its limit is ${mebibytes(limitBytes)}`);
    });
  }, CHECK_MS);
  return () => clearInterval(watch);
}

/** 0 for a process that is gone. */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
