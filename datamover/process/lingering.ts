import { readFile } from 'node:fs/promises';

/** After SIGTERM, 5 s and SIGKILL: whoever is still there waits for something that the kernel does not give up. */
const PATIENCE_MS = 20_000;

/**
 * Tells once, in words, of a process that is still there long after it was to end (`signal`). SIGKILL does not reach one that waits in
 * the kernel (state D), as for a disk or a server that does not answer. Returns what ends the watch.
 */
export function watchLingering(
  pid: number,
  signal: AbortSignal,
  onLingers: (cause: string) => void,
  patienceMs = PATIENCE_MS,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const begin = (): void => {
    timer = setTimeout(() => {
      stateOf(pid)
        .then((state) => {
          if (state === undefined) return;
          onLingers(`process ${pid} is there ${patienceMs / 1000} s after it was stopped, in state ${state}`);
        })
        // That it cannot be told must not end whoever waits for it, and for others beside it.
        .catch(() => undefined);
    }, patienceMs);
  };
  if (signal.aborted) begin();
  signal.addEventListener('abort', begin, { once: true });
  return () => {
    clearTimeout(timer);
    signal.removeEventListener('abort', begin);
  };
}

/** `D (disk sleep)`; undefined where it has ended. */
async function stateOf(pid: number): Promise<string | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const state = /^State:\s+(.+)$/m.exec(status)?.[1];
  return state?.startsWith('Z') === true ? undefined : state;
}
