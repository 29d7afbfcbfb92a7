import { describeCause } from '../../errors.ts';
import type { ClusterState } from '../../http/metrics.ts';
import type { Log } from '../log.ts';
import type { Site } from '../resolve/storage.ts';
import { findRepository, type RepositoryRequest } from './access.ts';
import { areChildrenIdle, runOnRepository, type ChildBounds } from './opening.ts';

/** A measurement costs a listing of all packs and the reading of the index. */
const MEASURED_FOR_MS = 60 * 60_000;
/** A store that hangs keeps its place from those who open repositories no longer than this. */
const MEASURE_WITHIN_MS = 5 * 60_000;
/** Of no snapshot: the packs are counted all the same. */
const PACKS_ALONE = ['stats', '--tag', 'datamover-none'];

type Size = ClusterState['repositories'][number];

/**
 * How large the repositories are that backups went into, for metrics: measured after a backup, each at most once an hour, one after the
 * other, when nothing else is done with repositories, and by whoever leads. A controller that begins knows none.
 */
export class RepositorySizes {
  readonly #site: Site;
  readonly #log: Log;
  readonly #sizes = new Map<string, Size>();
  readonly #measuredAt = new Map<string, number>();
  #work: Promise<void> = Promise.resolve();

  constructor(site: Site, log: Log) {
    this.#site = site;
    this.#log = log;
  }

  list(): readonly Size[] {
    return [...this.#sizes.values()];
  }

  /** Nobody waits for it. A failure is told, and is none of the backup's. */
  measure(request: RepositoryRequest, repository: string, signal: AbortSignal): void {
    const last = this.#measuredAt.get(repository);
    if (last !== undefined && performance.now() - last < MEASURED_FOR_MS) return;
    this.#measuredAt.set(repository, performance.now());
    this.#work = this.#work
      .then(() => this.#measure(request, repository, signal))
      .catch((error: unknown) => {
        if (!signal.aborted) this.#log.warn({ repository }, `its size is not known: ${describeCause(error)}`);
      });
  }

  async #measure(request: RepositoryRequest, repository: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    if (!areChildrenIdle()) {
      // After the next backup, then.
      this.#measuredAt.delete(repository);
      return;
    }
    const access = await findRepository(this.#site, { ...request, repository });
    const within = AbortSignal.any([signal, AbortSignal.timeout(MEASURE_WITHIN_MS)]);
    const bounds: ChildBounds = { memoryBytes: this.#site.settings.childMemory, signal: within };
    const said = await runOnRepository(access, 'measure repository', PACKS_ALONE, bounds);
    const bytes = said.map(packsSize).find((size) => size !== undefined);
    const name = request.backupTarget ?? request.resticSecretRef?.name ?? '';
    const target = `${request.protectedNamespace}/${name}`;
    if (bytes !== undefined)
      this.#sizes.set(repository, { target, scope: scopeOf(repository, request), bytes });
  }
}

/** What of the repository's place is the volume's: a namespace, a claim in one, or nothing. */
function scopeOf(repository: string, { volume: { namespace, claim } }: RepositoryRequest): string {
  const found = [`${namespace}/${claim}`, namespace].find((scope) => repository.endsWith(`/${scope}`));
  return found ?? '';
}

function packsSize(line: unknown): number | undefined {
  if (typeof line !== 'object' || line === null) return undefined;
  const { packs_size: bytes } = line as Readonly<Record<string, unknown>>;
  return typeof bytes === 'number' ? bytes : undefined;
}
