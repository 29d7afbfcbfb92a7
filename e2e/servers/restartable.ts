import { startDaemon, type Daemon, type DaemonCommand } from './daemon.ts';

/** A server that tests end, kill, hold and start again. */
export interface Restartable {
  /** The process that runs now. */
  readonly pid: number;
  /** Starts it again and waits until it is ready; nothing when it runs. */
  start(): Promise<void>;
  /** SIGTERM; resolves when it is gone. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: it keeps its connections and answers nothing. */
  pause(): void;
  resume(): void;
}

export async function startRestartable(command: DaemonCommand): Promise<Restartable> {
  let daemon: Daemon | undefined = await startDaemon(command);
  const running = (): Daemon => {
    if (daemon === undefined) throw new Error(`${command.file} does not run`);
    return daemon;
  };
  return {
    get pid() {
      return running().pid;
    },
    async start() {
      daemon ??= await startDaemon(command);
    },
    async stop() {
      await daemon?.stop();
      daemon = undefined;
    },
    async kill() {
      if (daemon === undefined) return;
      process.kill(daemon.pid, 'SIGKILL');
      await daemon.stop();
      daemon = undefined;
    },
    pause: () => void process.kill(running().pid, 'SIGSTOP'),
    resume: () => void process.kill(running().pid, 'SIGCONT'),
  };
}
