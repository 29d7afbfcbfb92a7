/**
 * Runs a task for each item, at most `limit` at once, and yields the results as they come. The first failure ends the walk; what
 * is under way then has ended before the failure is thrown.
 */
export async function* inFlight<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  task: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const running = new Set<Promise<{ readonly result: R; readonly self: () => void }>>();
  const start = (item: T): void => {
    const promise = task(item).then((result) => ({ result, self: () => running.delete(promise) }));
    // Handled by `settle` when its turn comes, or by the end of the walk.
    promise.catch(() => undefined);
    running.add(promise);
  };
  try {
    for await (const item of items) {
      start(item);
      while (running.size >= limit) yield await settle(running);
    }
    while (running.size > 0) yield await settle(running);
  } finally {
    await Promise.allSettled(running);
  }
}

async function settle<R>(
  running: Set<Promise<{ readonly result: R; readonly self: () => void }>>,
): Promise<R> {
  const { result, self } = await Promise.race(running);
  self();
  return result;
}
