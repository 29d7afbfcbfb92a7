import { parentPort, type MessagePort } from 'node:worker_threads';

/**
 * The whole of a thread's script: runs the job that its first message brings, which its starter types. Later messages mean `stop`;
 * who wants to hear them listens before it first waits.
 */
export function runThread(run: (start: never, port: MessagePort) => void | Promise<void>): void {
  if (parentPort === null) return;
  const port = parentPort;
  port.once('message', (start) => {
    const job = (async (): Promise<void> => run(start as never, port))();
    // A failure that `run` does not tell of itself ends the thread, and its starter hears of that.
    void job.finally(() => port.close());
  });
}
