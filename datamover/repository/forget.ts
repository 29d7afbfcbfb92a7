import { DatamoverError } from '../errors.ts';
import {
  DEFAULT_GROUPING,
  describeGroup,
  groupSnapshots,
  type GroupField,
  type GroupKey,
} from '../retention/group.ts';
import { localZone, momentOf } from '../retention/moment.ts';
import { applyPolicy, isEmptyPolicy, type Kept, type KeepPolicy } from '../retention/policy.ts';
import { inFlight } from './in-flight.ts';
import type { Repository } from './repository.ts';
import type { Snapshot } from './snapshot.ts';
import type { Id } from './types.ts';

/** A snapshot with its name. */
export interface NamedSnapshot extends Snapshot {
  readonly id: Id;
}

export interface ForgetFilter {
  /** Any of these hosts. */
  readonly hosts?: readonly string[];
  /** All tags of any of these lists; the list [''] means "has no tags". */
  readonly tags?: readonly (readonly string[])[];
  /** All of these paths. */
  readonly paths?: readonly string[];
}

export interface ForgetOptions {
  readonly policy: KeepPolicy;
  readonly filter?: ForgetFilter;
  /** Default: host and paths. */
  readonly groupBy?: readonly GroupField[];
  readonly now?: Date;
}

export interface ForgetGroup {
  readonly key: GroupKey;
  readonly keep: readonly Kept<NamedSnapshot>[];
  readonly remove: readonly NamedSnapshot[];
}

/** What forget would do, to be shown and then done. */
export interface ForgetPlan {
  readonly groups: readonly ForgetGroup[];
  /** Snapshots that were named one by one. */
  readonly named: readonly NamedSnapshot[];
}

export interface ForgetResult {
  readonly removed: readonly Id[];
}

/**
 * Applies a policy to each group of snapshots on its own, as `restic forget` does. Refuses a policy that says nothing, and one that would
 * take the last snapshot of a group: that is how a mistyped tag deletes everything. A snapshot file that cannot be read ends it, for what
 * is in it might change the answer.
 */
export async function planForget(repository: Repository, options: ForgetOptions): Promise<ForgetPlan> {
  const { policy, filter = {}, groupBy = DEFAULT_GROUPING, now = new Date() } = options;
  if (isEmptyPolicy(policy)) {
    throw new DatamoverError({
      operation: 'forget snapshots',
      cause: 'the policy keeps nothing',
      hint: 'say what to keep, for example --keep-daily 7, or name the snapshots to remove',
      kind: 'usage',
    });
  }
  const snapshots = (await readSnapshots(repository)).filter((snapshot) => matches(snapshot, filter));
  const groups = groupSnapshots(snapshots, groupBy).map(({ key, members }) => ({
    key,
    ...applyPolicy(members, policy, { now: momentOf(now), zone: localZone }),
  }));
  for (const { key, keep } of groups) {
    if (keep.length > 0) continue;
    throw new DatamoverError({
      operation: 'forget snapshots',
      subject: describeGroup(key),
      cause: 'the policy would remove the last snapshot of this group',
      hint: 'keep at least one, or name the snapshots to remove',
      kind: 'usage',
    });
  }
  return { groups, named: [] };
}

/** Plans the removal of snapshots by id or a beginning of an id that fits one alone. */
export async function planForgetNamed(repository: Repository, names: readonly string[]): Promise<ForgetPlan> {
  const snapshots = await readSnapshots(repository);
  const named = new Set<NamedSnapshot>();
  for (const name of names) {
    const found = snapshots.filter((snapshot) => name !== '' && snapshot.id.startsWith(name));
    const [snapshot] = found;
    if (snapshot === undefined || found.length > 1) {
      throw new DatamoverError({
        operation: 'forget snapshot',
        subject: name,
        cause: found.length > 1 ? `${found.length} snapshots begin so` : 'there is no such snapshot',
        kind: 'usage',
      });
    }
    named.add(snapshot);
  }
  return { groups: [], named: [...named] };
}

/**
 * Removes the snapshot files of a plan; data stays until prune. The repository must be locked (`sweep` or `exclusive`). Stopped midway
 * or repeated it does no harm: each removal stands for itself.
 */
export async function executeForget(
  repository: Repository,
  plan: ForgetPlan,
  options: { readonly signal?: AbortSignal; readonly onRemoved?: (id: Id) => void } = {},
): Promise<ForgetResult> {
  const ids = [...plan.groups.flatMap((group) => group.remove), ...plan.named].map((snapshot) => snapshot.id);
  const removed: Id[] = [];
  const remove = async (id: Id): Promise<Id> => {
    options.signal?.throwIfAborted();
    await repository.removeFile('snapshots', id);
    return id;
  };
  for await (const id of inFlight(ids, repository.store.concurrency, remove)) {
    removed.push(id);
    options.onRemoved?.(id);
  }
  return { removed };
}

async function readSnapshots(repository: Repository): Promise<NamedSnapshot[]> {
  const snapshots: NamedSnapshot[] = [];
  for await (const { id, snapshot } of repository.snapshots()) snapshots.push({ ...snapshot, id });
  return snapshots;
}

function matches(snapshot: Snapshot, { hosts = [], tags = [], paths = [] }: ForgetFilter): boolean {
  const has = snapshot.tags ?? [];
  return (
    (hosts.length === 0 || hosts.includes(snapshot.hostname ?? '')) &&
    (tags.length === 0 ||
      tags.some((list) => list.every((tag) => has.includes(tag) || (tag === '' && has.length === 0)))) &&
    paths.every((path) => snapshot.paths.includes(path))
  );
}
