/** How often the parent is looked at; the look is one system call. */
const INTERVAL_MS = 500;

/**
 * Ends this process when its parent is gone: a host that was killed cannot ask its plugins to stop. Standard input tells nothing, for the server's is
 * at its end from the beginning in a pod.
 */
export function endWithParent(onOrphaned: () => void): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) onOrphaned();
  }, INTERVAL_MS).unref();
}
