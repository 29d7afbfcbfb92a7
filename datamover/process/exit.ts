import { readFileSync } from 'node:fs';
import { setImmediate as immediate } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { native } from './native.ts';

const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
/** As they were before a stream of Node's was made of one. */
const STDIO = [0, 1, 2].map((fd) => ({ fd, flags: statusFlags(fd) }));

/**
 * Ends this process as `process.exit` does, but waits for no thread. Node's own waits for V8's: one that compiles may be waiting for a
 * collection of garbage that the main thread alone could make, and then the process never ends
 * (https://github.com/nodejs/node/issues/54918; seen in one of some thousand commands on a busy machine). Nor are threads of ours waited
 * for: only what holds the kernel itself (a disk that is gone) holds the process.
 */
export function exit(status: number): never {
  prepareExit(status);
  try {
    native().load(null).func('void _exit(int status)')(status);
  } catch {
    // Whoever lacks the native part ends the ordinary way.
  }
  process.exit(status);
}

/** The same once all is written that was said: a pipe takes 64 KiB at a time, and the rest waits in this process for its reader. */
export async function exitWhenWritten(status: number): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) await written(stream);
  // A write that failed says so a moment later.
  await immediate();
  return exit(status);
}

/** What an end owes to others: the listeners of `exit` run, and the terminal and the standard streams are as they were. */
export function prepareExit(status: number): void {
  process.emit('exit', status);
  process.removeAllListeners('exit');
  // Whatever else it is would be opened for nothing.
  if (isatty(0) && process.stdin.isRaw) process.stdin.setRawMode(false);
  try {
    restoreStdio();
  } catch {
    // As above.
  }
}

/** An error of the stream is its listeners' affair. Nothing is written to one that has nothing to say: it may be broken. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
}

/** Others may have the same open files: a pipe that we made non-blocking would stay so for them. */
function restoreStdio(): void {
  const fcntl = native().load(null).func('int fcntl(int fd, int command, ...)');
  for (const { fd, flags } of STDIO) {
    const now = statusFlags(fd);
    if (flags !== undefined && now !== undefined && (flags ^ now) & O_NONBLOCK)
      fcntl(fd, F_SETFL, 'int', flags);
  }
}

/** proc_pid_fdinfo(5). Undefined where it is not open. */
function statusFlags(fd: number): number | undefined {
  try {
    const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    return flags === undefined ? undefined : Number.parseInt(flags, 8);
  } catch {
    return undefined;
  }
}
