import { Worker } from 'node:worker_threads';

/**
 * Threads that were started before there was work for them. A thread takes 60-100 ms until its modules are loaded; a command that is
 * about to need some starts them while it waits for something else, the key's derivation above all.
 */
const warm = new Map<string, Worker[]>();

/** Starts a thread for whoever asks for this script next. It keeps no process alive, and one that fails meanwhile is forgotten. */
export function warmThread(script: URL): void {
  const thread = tryThread(script);
  if (thread === undefined) return;
  thread.unref();
  const threads = warm.get(script.href) ?? [];
  warm.set(script.href, [...threads, thread]);
  const forget = (): void => {
    const others = (warm.get(script.href) ?? []).filter((other) => other !== thread);
    warm.set(script.href, others);
  };
  thread.once('error', forget);
  thread.once('exit', forget);
}

/** A thread that runs this script, and waits for its first message (thread-start.ts). */
export function takeThread(script: URL): Worker {
  const [thread, ...others] = warm.get(script.href) ?? [];
  if (thread === undefined) return newThread(script);
  warm.set(script.href, others);
  thread.removeAllListeners();
  thread.ref();
  return thread;
}

/** Where none can be had, whoever needs one will hear why. */
function tryThread(script: URL): Worker | undefined {
  try {
    return newThread(script);
  } catch {
    return undefined;
  }
}

function newThread(script: URL): Worker {
  // The young generation is where buffers' handles die: a small one is collected often and keeps RSS low.
  const resourceLimits = { maxYoungGenerationSizeMb: 2 };
  // A producer that the thread starts sees what this module sees, also where a test runner gives it an environment of its own.
  return new Worker(script, { resourceLimits, env: process.env });
}
