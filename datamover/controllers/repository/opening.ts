import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { REASONS, type Reason } from '../../../api/names.ts';
import { failureKindOf, type FailureKind } from '../../errors.ts';
import { watchMemory } from '../../process/memory-cap.ts';
import { commandFailure, run } from '../../process/spawn.ts';
import { Slots } from '../../store/slots.ts';
import { TransferFailure } from '../failure.ts';
import type { RepositoryAccess } from './access.ts';

/** The command, compiled beside this. */
const COMMAND = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

/** A Velero backup of many namespaces opens them all at once, and the chart's limit of memory is for the controller and so many children. */
const CHILDREN_AT_ONCE = 2;
/** Of this process, whoever starts them. */
const CHILDREN = new Slots(CHILDREN_AT_ONCE);

/** Whether no child of this process is at work: what is not urgent waits for that. */
export function areChildrenIdle(): boolean {
  return CHILDREN.taken === 0;
}

/** How a child on a repository is kept in bounds. */
export interface ChildBounds {
  /** Resident bytes at which it is ended; the controller would be, too, where the kernel does it. */
  readonly memoryBytes: number;
  readonly signal: AbortSignal;
}

/**
 * Runs the `datamover` command on a repository and gives what it printed, one JSON value a line. Its secrets are in the child's
 * environment and in a file of its own; it ends with this process. It waits until few others run.
 */
export async function runOnRepository(
  access: RepositoryAccess,
  operation: string,
  args: readonly string[],
  bounds: ChildBounds,
): Promise<readonly unknown[]> {
  const { signal } = bounds;
  if (!(await CHILDREN.take(signal))) throw signal.reason;
  try {
    return await runChild(access, operation, args, bounds);
  } finally {
    CHILDREN.give();
  }
}

async function runChild(
  access: RepositoryAccess,
  operation: string,
  args: readonly string[],
  { memoryBytes, signal }: ChildBounds,
): Promise<readonly unknown[]> {
  const limit = new AbortController();
  let unwatch = (): void => undefined;
  const folder = await mkdtemp(join(tmpdir(), 'datamover-repository-'));
  try {
    const ca = access.ca === undefined ? undefined : join(folder, 'ca.crt');
    if (ca !== undefined) await writeFile(ca, access.ca ?? '', { mode: 0o600 });
    const { stdout } = await run({
      ...{ file: process.execPath, args: [COMMAND, '--json', ...args] },
      ...{ operation, subject: access.repository, signal: AbortSignal.any([signal, limit.signal]) },
      onStart: (pid) => {
        unwatch = watchMemory(pid, memoryBytes, (cause) => {
          const hint = 'raise --child-memory of the controller, and the limit of its pod with it';
          const details = { operation, subject: access.repository, cause, hint };
          limit.abort(new TransferFailure({ ...details, reason: REASONS.transferFailed }));
        });
      },
      env: {
        ...{ RESTIC_REPOSITORY: access.repository, RESTIC_PASSWORD: access.password },
        ...{ AWS_ACCESS_KEY_ID: access.accessKeyId, AWS_SECRET_ACCESS_KEY: access.secretAccessKey },
        ...{ AWS_SESSION_TOKEN: access.sessionToken, AWS_DEFAULT_REGION: access.region, RESTIC_CACERT: ca },
        DATAMOVER_FOLLOW_PARENT: String(process.pid),
      },
    });
    const lines = stdout.split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as unknown);
  } catch (error) {
    if (limit.signal.aborted) throw limit.signal.reason;
    throw explain(error, operation, access.repository);
  } finally {
    unwatch();
    await rm(folder, { recursive: true, force: true });
  }
}

const REASON_OF: Readonly<Record<FailureKind, Reason>> = {
  failed: REASONS.storeUnavailable,
  usage: REASONS.error,
  incomplete: REASONS.transferFailed,
  'no-repository': REASONS.repositoryMissing,
  locked: REASONS.repositoryLocked,
  'wrong-password': REASONS.wrongPassword,
  'target-too-small': REASONS.targetTooSmall,
  'target-in-use': REASONS.targetInUse,
  cancelled: REASONS.canceled,
};

/** The command's own sentence, and the reason that its exit code stands for. */
function explain(error: unknown, operation: string, subject: string): unknown {
  const failure = commandFailure(error);
  if (failure === undefined) return error;
  const kind = failureKindOf(failure.status);
  const said = failure.stderr.split('\n').flatMap((line) => messageOf(line));
  const cause = said.at(-1) ?? failure;
  return new TransferFailure({ operation, subject, cause, kind, reason: REASON_OF[kind] });
}

function messageOf(line: string): string[] {
  try {
    const { message_type: type, message } = JSON.parse(line) as Readonly<Record<string, unknown>>;
    return type === 'exit_error' && typeof message === 'string' ? [message] : [];
  } catch {
    return [];
  }
}

/** One look costs a second of CPU time; a repository that was removed is made anew for the backups after this. */
const KNOWN_FOR_MS = 5 * 60_000;

/**
 * Opens repositories and makes those that are not there: by one process in the cluster, the leader, and one at a time for each
 * place, so that two first backups of a namespace do not make two (K-18).
 */
export class RepositoryMaker {
  readonly #childMemory: number;
  readonly #atWork = new Map<string, Promise<void>>();
  /** Places that were seen to open with this password, and when; only spares looking again for a while: it may be removed. */
  readonly #known = new Map<string, { readonly password: string; readonly at: number }>();

  constructor(childMemory: number) {
    this.#childMemory = childMemory;
  }

  /** Resolves when the repository opens with this password. `make` says what happens where there is none. */
  async ensure(access: RepositoryAccess, make: boolean, signal: AbortSignal): Promise<void> {
    const { repository, password } = access;
    if (this.#isKnown(access)) return;
    const before = this.#atWork.get(repository) ?? Promise.resolve();
    const work = before.then(() => this.#openInTurn(access, make, signal));
    const settled = work.catch(() => undefined);
    this.#atWork.set(repository, settled);
    try {
      await work;
      this.#known.set(repository, { password, at: performance.now() });
    } finally {
      if (this.#atWork.get(repository) === settled) this.#atWork.delete(repository);
    }
  }

  #isKnown({ repository, password }: RepositoryAccess): boolean {
    const known = this.#known.get(repository);
    return known?.password === password && performance.now() - known.at < KNOWN_FOR_MS;
  }

  async #openInTurn(access: RepositoryAccess, make: boolean, signal: AbortSignal): Promise<void> {
    if (!this.#isKnown(access)) await this.#open(access, make, signal);
  }

  async #open(access: RepositoryAccess, make: boolean, signal: AbortSignal): Promise<void> {
    const bounds = { memoryBytes: this.#childMemory, signal };
    const open = async (): Promise<void> => {
      await runOnRepository(access, 'open repository', ['inspect', 'config'], bounds);
    };
    try {
      await open();
    } catch (error) {
      if (!make || !(error instanceof TransferFailure) || error.reason !== REASONS.repositoryMissing)
        throw error;
      const failure = await runOnRepository(access, 'make repository', ['init'], bounds).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      // Somebody else may have made it meanwhile: whether it opens is what counts.
      await open().catch((again: unknown) => {
        throw failure ?? again;
      });
    }
  }
}
