import { REASONS, type Reason } from '../../api/names.ts';
import type { VolumeSnapshotBackupStatus } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestoreStatus } from '../../api/volume-snapshot-restore.ts';
import { formatBytes } from '../cli/units.ts';
import type { ByteKind, Operation } from '../http/metrics.ts';
import type { Condition } from '../kubernetes/conditions.ts';
import type { Message, TransferProgress } from './transfer-process.ts';

/** The fields of a status that an agent owns; which of them belong to a backup and which to a restore, their writers below know. */
export interface OwnedStatus {
  readonly phase?: 'SnapshotBackupDone' | 'SnapshotRestoreDone';
  readonly claimedBy?: string;
  readonly startTimestamp?: string;
  readonly message?: string;
  readonly moved?: string;
  readonly snapshotID?: string;
  readonly format?: 'image' | 'stream';
  readonly progress?: {
    readonly totalBytes?: number;
    readonly bytesDone?: number;
    readonly percent?: number;
    readonly bytesStoredAgain?: number;
  };
  readonly amounts?: VolumeSnapshotBackupStatus['amounts'] | VolumeSnapshotRestoreStatus['amounts'];
  readonly base?: VolumeSnapshotBackupStatus['base'];
  readonly changes?: VolumeSnapshotBackupStatus['changes'];
  readonly verification?: VolumeSnapshotRestoreStatus['verification'];
  readonly transferred?: TransferredCondition;
}

/** The one condition that is the agent's. */
export interface TransferredCondition {
  readonly status: Condition['status'];
  readonly reason: Reason;
}

/** The API refuses longer ones (K-22). */
const LONGEST_MESSAGE = 4096;

/** The condition, and the sentence that it shares with `message` and the event. */
export function transferred(
  status: Condition['status'],
  reason: Reason,
  sentence: string,
): Required<Pick<OwnedStatus, 'transferred' | 'message'>> {
  const message = sentence.length > LONGEST_MESSAGE ? `${sentence.slice(0, LONGEST_MESSAGE - 1)}…` : sentence;
  return { message, transferred: { status, reason } };
}

/** Percent is rounded down: 100 is the end and nothing before it. */
export function progressStatus({
  bytesDone,
  totalBytes,
  bytesStoredAgain,
  bytesVerified,
}: TransferProgress): Pick<OwnedStatus, 'progress' | 'moved' | 'verification'> {
  const known = totalBytes !== undefined && totalBytes > 0;
  return {
    moved: formatBytes(bytesDone),
    progress: {
      bytesDone,
      ...optional('bytesStoredAgain', bytesStoredAgain),
      ...(known && { totalBytes, percent: Math.min(99, Math.floor((bytesDone / totalBytes) * 100)) }),
    },
    ...(bytesVerified !== undefined && { verification: { state: 'Running', bytesRead: bytesVerified } }),
  };
}

/** The end of a transfer that went well, from the summary that the command printed. */
export function completedStatus(
  operation: Operation,
  subject: string,
  summary: Message,
  now: Date,
): OwnedStatus & ReturnType<typeof transferred> {
  const number = (name: string): number | undefined => {
    const value = summary[name];
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : undefined;
  };
  const text = (name: string): string | undefined => {
    const value = summary[name];
    return typeof value === 'string' ? value : undefined;
  };
  const snapshotID = text('snapshot_id');
  const bytes = number(operation === 'backup' ? 'total_bytes_processed' : 'total_bytes') ?? 0;
  const common = {
    ...(snapshotID !== undefined && { snapshotID }),
    progress: { totalBytes: bytes, bytesDone: bytes, percent: 100 },
  };
  if (operation === 'restore') {
    const written = number('bytes_written') ?? 0;
    const verified = summary['verified'] === true;
    return {
      ...common,
      phase: 'SnapshotRestoreDone',
      moved: formatBytes(written),
      amounts: {
        written,
        ...optional('zeros', number('bytes_skipped_zero')),
        ...optional('downloaded', number('bytes_downloaded')),
      },
      ...(verified && {
        verification: { state: 'Passed', completionTimestamp: timestamp(now), bytesRead: bytes } as const,
      }),
      ...transferred(
        'True',
        REASONS.complete,
        `${subject} is restored: ${formatBytes(bytes)}, ${formatBytes(written)} written${verified ? ', read back and verified' : ''}`,
      ),
    };
  }
  const read = number('bytes_read') ?? 0;
  const uploaded = number('data_added_packed') ?? 0;
  const format = text('format');
  const base = text('base') ?? text('parent');
  const distrusted = distrustOf(subject, summary['distrusted']);
  return {
    ...common,
    ...(distrusted !== undefined && { verification: foundWrong(distrusted, now) }),
    phase: 'SnapshotBackupDone',
    moved: formatBytes(read),
    ...(format === 'image' || format === 'stream' ? { format } : {}),
    amounts: {
      ...{ read, uploaded },
      ...optional('changed', number('bytes_changed')),
      ...optional('deduplicated', number('deduplicated_bytes')),
    },
    ...(base !== undefined && { base: { snapshotID: base } }),
    ...changesOf(summary['changes']),
    ...transferred(
      'True',
      REASONS.complete,
      `${subject} is backed up as ${snapshotID?.slice(0, 8) ?? 'nothing'}: ${formatBytes(bytes)}, ${formatBytes(read)} read, ${formatBytes(uploaded)} uploaded`,
    ),
  };
}

/** Bytes were compared and were not what they had to be. */
export function foundWrong(message: string, now: Date): NonNullable<OwnedStatus['verification']> {
  return { state: 'Failed', completionTimestamp: timestamp(now), message };
}

/** What a sample of "unchanged" bytes told of the list of changes (docs/cli.md); the backup itself is of a full read then. */
function distrustOf(subject: string, value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('mechanism' in value)) return undefined;
  const base = 'base' in value ? ` since backup ${String(value.base).slice(0, 8)}` : '';
  const at = 'differs_at' in value ? `byte ${String(value.differs_at)} changed and was not named` : 'it lied';
  return `back up ${subject}: what ${String(value.mechanism)} says${base} is wrong: ${at} (all of the volume was read instead)`;
}

/** For the metrics. */
export function bytesOf({ amounts }: OwnedStatus): Partial<Record<ByteKind, number>> {
  return { ...amounts };
}

const MECHANISMS = [
  'zfs-send-increment',
  'rbd-export-diff',
  'rbd-diff-by-snap-id',
  'rbd-object-map',
  'allocated-extents',
  'everything',
] as const;

/** One that this version does not know is left out: the API would refuse the whole status for it. */
function changesOf(value: unknown): Pick<OwnedStatus, 'changes'> {
  if (typeof value !== 'object' || value === null || !('mechanism' in value)) return {};
  const mechanism = MECHANISMS.find((known) => known === value.mechanism);
  if (mechanism === undefined) return {};
  const because =
    'because' in value && typeof value.because === 'string' ? value.because.slice(0, 1024) : undefined;
  return { changes: { mechanism, ...(because !== undefined && { because }) } };
}

function optional<Name extends string>(name: Name, value: number | undefined): Partial<Record<Name, number>> {
  const entry: Partial<Record<Name, number>> = {};
  if (value !== undefined) entry[name] = value;
  return entry;
}

/** RFC 3339 without fractions, as metav1.Time is written. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}
