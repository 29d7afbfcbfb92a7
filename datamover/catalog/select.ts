import { DatamoverError } from '../errors.ts';
import { compareTimes } from '../repository/time.ts';
import { ownTags, volumeName, type VolumeBackup } from './volume-backup.ts';

/** Which backups are meant; fields that are absent let all through. */
export interface BackupFilter {
  /** `NAMESPACE/NAME`. */
  readonly volume?: string;
  readonly hosts?: readonly string[];
  /** Where `hosts` says nothing: whose history `latest` means when several hosts have one of a volume (of two clusters both may have a shop/db). */
  readonly ownHost?: string;
  /** Alternatives; each is a list of which a backup must have every tag. The list [''] wants one without tags of its own. */
  readonly tagLists?: readonly (readonly string[])[];
}

/** Oldest first, as restic lists them. */
export function selectBackups(backups: readonly VolumeBackup[], filter: BackupFilter): VolumeBackup[] {
  return backups
    .filter(
      (backup) =>
        (filter.volume === undefined || volumeName(backup) === filter.volume) &&
        (filter.hosts === undefined || (backup.host !== undefined && filter.hosts.includes(backup.host))) &&
        (filter.tagLists === undefined || filter.tagLists.some((list) => hasTags(backup, list))),
    )
    .sort(byTime);
}

/**
 * Finds the one backup that `reference` names: an id, an unambiguous beginning of one, `latest`, or `latest~N` for the Nth
 * before it. Throws a DatamoverError that lists the candidates where there is not exactly one.
 */
export function resolveBackup(
  backups: readonly VolumeBackup[],
  reference: string,
  filter: BackupFilter = {},
): VolumeBackup {
  const match = /^latest(?:~(\d+))?$/.exec(reference);
  return match === null ? byId(backups, reference, filter) : latest(backups, Number(match[1] ?? 0), filter);
}

function byId(backups: readonly VolumeBackup[], reference: string, filter: BackupFilter): VolumeBackup {
  if (!/^[0-9a-f]{1,64}$/.test(reference)) {
    throw notFound(
      reference,
      'not a snapshot id',
      "an id is hexadecimal, as 'datamover snapshots' shows it, or latest",
    );
  }
  const matches = backups.filter(({ id }) => id.startsWith(reference));
  const [found, ...others] = matches;
  if (found === undefined) throw notFound(reference, 'no such snapshot', "see 'datamover snapshots'");
  if (others.length > 0) {
    const ids = matches.map(({ id }) => id.slice(0, Math.min(64, reference.length + 4))).slice(0, 5);
    throw notFound(
      reference,
      `${matches.length} snapshots begin so: ${ids.join(', ')}${matches.length > 5 ? ', ...' : ''}`,
      'give more digits',
    );
  }
  if (selectBackups([found], filter).length === 0) {
    throw notFound(
      reference,
      `it is a backup of ${volumeName(found) ?? 'no volume'}, which is not what was asked for`,
      'leave the filter out, or name another snapshot',
    );
  }
  return found;
}

function latest(backups: readonly VolumeBackup[], back: number, filter: BackupFilter): VolumeBackup {
  const all = selectBackups(backups, filter);
  const of = filter.volume === undefined ? '' : ` of ${filter.volume}`;
  const reference = back === 0 ? 'latest' : `latest~${back}`;
  refuseSeveralVolumes(all, reference);
  const candidates = ofOneHistory(all, reference, filter);
  const found = candidates.at(-1 - back);
  if (found === undefined) {
    throw notFound(
      reference,
      candidates.length === 0
        ? `there is no backup${of}`
        : `there are only ${candidates.length} backups${of}${candidates.length < all.length ? ` of host ${hostOf(candidates)}` : ''}`,
      "see 'datamover snapshots'",
    );
  }
  return found;
}

/** The latest of several volumes is whichever was backed up last: restoring that one by accident must not happen. */
function refuseSeveralVolumes(candidates: readonly VolumeBackup[], reference: string): void {
  const volumes = new Set(
    candidates.map((backup) => volumeName(backup) ?? `paths ${backup.paths.join(', ')}`),
  );
  if (volumes.size > 1) {
    const named = [...volumes].sort();
    throw notFound(
      reference,
      `the repository holds ${volumes.size} volumes (${named.slice(0, 3).join(', ')}${named.length > 3 ? ', ...' : ''})`,
      'say which with --volume NAMESPACE/NAME',
    );
  }
}

/**
 * Those of our own host; where it has none, those of the only other one, whose volume it then must be. Between several others nobody
 * but the user can choose: they are different volumes of one name.
 */
function ofOneHistory(
  candidates: readonly VolumeBackup[],
  reference: string,
  { hosts, ownHost }: BackupFilter,
): readonly VolumeBackup[] {
  if (ownHost === undefined || hosts !== undefined) return candidates;
  const own = candidates.filter(({ host }) => host === ownHost);
  if (own.length > 0) return own;
  const others = [...new Set(candidates.map(({ host }) => host ?? ''))].sort();
  if (others.length > 1) {
    throw notFound(
      reference,
      `none is of host ${ownHost}, and several others have backups of the volume (${others.slice(0, 3).join(', ')}${others.length > 3 ? ', ...' : ''})`,
      'say which with --host, or give the id of the snapshot',
    );
  }
  return candidates;
}

function hostOf([first]: readonly VolumeBackup[]): string {
  return first?.host ?? '';
}

function hasTags(backup: VolumeBackup, list: readonly string[]): boolean {
  return list.every((tag) => (tag === '' ? ownTags(backup).length === 0 : backup.tags.includes(tag)));
}

/**
 * By the instant, whatever zone it is written in; of one instant the one that was made later is the later (consolidate keeps the
 * time), and then by id, so that the answer does not depend on the listing.
 */
function byTime(a: VolumeBackup, b: VolumeBackup): number {
  return compareTimes(a.time, b.time) || compareTimes(ended(a), ended(b)) || (a.id < b.id ? -1 : 1);
}

function ended({ ended: time, time: begun }: VolumeBackup): string {
  return time ?? begun;
}

function notFound(reference: string, cause: string, hint: string): DatamoverError {
  return new DatamoverError({ operation: 'find snapshot', subject: reference, cause, hint, kind: 'usage' });
}
