import { fileURLToPath } from 'node:url';
import { requirePeer } from '../e2e/servers/peers.ts';
import type { Job } from './measure.ts';

/** Where a repository is and how a program reaches it: restic's variables, which both programs read. */
export interface Place {
  readonly location: string;
  readonly env?: Readonly<Record<string, string>>;
}

export type Mode = 'image' | 'stream';

export interface Input {
  readonly path: string;
  readonly mode: Mode;
}

export type Output = 'null' | 'pipe' | { readonly file: string };

/** One of the two programs that are compared: how it is asked for each job. */
export interface Contender {
  readonly name: 'ours' | 'restic';
  init(place: Place): Job;
  backup(place: Place, input: Input): Job;
  restore(place: Place, mode: Mode, output: Output): Job;
}

export const PASSWORD = 'bench';
/** The checkout, seen from the compiled tree. */
const ROOT = new URL('../../', import.meta.url);
const DATAMOVER = fileURLToPath(new URL('bin/datamover', ROOT));

/** `scratch` takes temporary files and restic's cache, which it has here as every user of restic has. */
export function contenders(scratch: string): Record<Contender['name'], Contender> {
  const environment = (place: Place): Job['env'] => ({
    RESTIC_REPOSITORY: place.location,
    RESTIC_PASSWORD: PASSWORD,
    RESTIC_CACHE_DIR: `${scratch}/cache`,
    TMPDIR: scratch,
    ...place.env,
  });
  const restic = requirePeer('restic-current').file;
  return {
    ours: {
      name: 'ours',
      init: (place) => ({ file: DATAMOVER, args: ['init', '-q'], env: environment(place) }),
      backup: (place, { path, mode }) => ({
        file: DATAMOVER,
        args: ['backup', '-q', '--volume', `bench/${mode}`, ...sourceArguments(path, mode)],
        env: environment(place),
        ...(mode === 'stream' && { stdin: path }),
      }),
      restore: (place, mode, output) => ({
        file: DATAMOVER,
        args: ['restore', '-q', 'latest', '--volume', `bench/${mode}`, '--to', targetArgument(output)],
        env: environment(place),
        ...(output === 'pipe' && { stdout: { pipe: true } }),
      }),
    },
    // A file by its path would be skipped the second time, for its time stamp: a device has none, so both read.
    restic: {
      name: 'restic',
      init: (place) => ({ file: restic, args: ['init', '-q'], env: environment(place) }),
      backup: (place, { path }) => ({
        file: restic,
        args: ['backup', '-q', '--stdin', '--stdin-filename', 'data'],
        env: environment(place),
        stdin: path,
      }),
      restore: (place, _mode, output) => ({
        file: restic,
        args: ['dump', '-q', 'latest', '/data'],
        env: environment(place),
        ...(output === 'pipe' ? { stdout: { pipe: true } } : output !== 'null' && { stdout: output.file }),
      }),
    },
  };
}

function sourceArguments(path: string, mode: Mode): string[] {
  return mode === 'image' ? [`file:${path}`] : ['--stdin', '--as', 'stream'];
}

function targetArgument(output: Output): string {
  return typeof output === 'string' ? '-' : `file:${output.file}`;
}
