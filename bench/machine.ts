import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { requirePeer } from '../e2e/servers/peers.ts';
import { programVersion } from '../datamover/version.ts';

/** What the figures depend on besides the programs. */
export interface Machine {
  readonly date: string;
  readonly processor: string;
  readonly cores: number;
  /** GiB. */
  readonly memory: string;
  readonly system: string;
  readonly versions: readonly string[];
  /** The load of the last minute: with more than the benchmark itself at work, trust CPU seconds and not speeds. */
  readonly loadBefore: string;
  readonly loadAfter: string;
}

export function describeMachine(date: Date, loadBefore: string): Machine {
  return {
    date: date.toISOString().slice(0, 10),
    processor: cpus()[0]?.model.trim() ?? arch(),
    cores: availableParallelism(),
    memory: (totalmem() / 2 ** 30).toFixed(0),
    system: `${type()} ${release()}`,
    versions: [
      `datamover ${programVersion()} on Node.js ${process.versions.node}`,
      requirePeer('restic-current').version.split(' compiled')[0] ?? 'restic',
    ],
    loadBefore,
    loadAfter: load(),
  };
}

export function load(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}
