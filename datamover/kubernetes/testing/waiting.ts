import { setTimeout as delay } from 'node:timers/promises';

/** Asks until the answer is yes; throws after `patienceMs`, with what `describe` says. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  describe: () => string,
  patienceMs = 90_000,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not in ${patienceMs} ms: ${describe()}`);
    await delay(20);
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
