import { setTimeout as delay } from 'node:timers/promises';

const SHORTEST_MS = 20;
const LONGEST_MS = 250;

/** Asks until the answer is yes, after a while less often: an answer may cost a process. Throws after `patienceMs`, with what `describe` says. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  describe: () => string,
  patienceMs = 90_000,
): Promise<void> {
  const begun = performance.now();
  while (!(await condition())) {
    const waited = performance.now() - begun;
    if (waited > patienceMs) throw new Error(`not in ${patienceMs} ms: ${describe()}`);
    await delay(Math.min(SHORTEST_MS + waited / 10, LONGEST_MS));
  }
}

/** Calls until it succeeds: for writers that go on while a server is down. Errors of `accept` count as success. */
export async function insist<T>(call: () => Promise<T>, accept: (error: unknown) => boolean): Promise<void> {
  const deadline = performance.now() + 90_000;
  for (;;) {
    try {
      await call();
      return;
    } catch (error) {
      if (accept(error)) return;
      if (performance.now() > deadline) throw error;
      await delay(50);
    }
  }
}
