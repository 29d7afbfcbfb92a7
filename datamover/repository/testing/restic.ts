import { run, type Output } from '../../process/spawn.ts';
import type { Peer } from '../../../e2e/servers/peers.ts';

export const PASSWORD = 'correct horse';

/** A real restic on one repository. */
export class Restic {
  readonly location: string;
  readonly #peer: Peer;
  readonly #password: string;

  constructor(peer: Peer, location: string, password = PASSWORD) {
    this.#peer = peer;
    this.location = location;
    this.#password = password;
  }

  get version(): string {
    return this.#peer.version.split(' ')[1] ?? '';
  }

  /** Runs a command; any exit status is an answer. */
  async try(
    args: readonly string[],
    options: { cwd?: string; env?: Record<string, string> } = {},
  ): Promise<Output> {
    return run({
      file: this.#peer.file,
      args: ['--no-cache', ...args],
      env: { RESTIC_REPOSITORY: this.location, RESTIC_PASSWORD: this.#password, TZ: 'UTC', ...options.env },
      accept: Array.from({ length: 256 }, (_, status) => status),
      ...(options.cwd !== undefined && { cwd: options.cwd }),
    });
  }

  /** Runs a command that must succeed, and returns its stdout. */
  async ok(
    args: readonly string[],
    options: { cwd?: string; env?: Record<string, string> } = {},
  ): Promise<string> {
    const { status, stdout, stderr } = await this.try(args, options);
    if (status !== 0) throw new Error(`restic ${args.join(' ')} ended with ${status}: ${stdout}${stderr}`);
    return stdout;
  }
}
