import { join } from 'node:path';
import { REASONS } from '../../api/names.ts';
import { TRANSFER_VARIABLE } from '../process/owner.ts';
import type { RbdConnection } from '../volumes/rbd/command.ts';
import { TransferFailure } from './reasons.ts';
import { transferID, volumeOf, type Transfer } from './transfer.ts';

/** How a transfer's child is started, as a value. Files are written by whoever executes it, readable by this user alone. */
export interface ChildCommand {
  /** What is done to what, for messages: `back up`, `shop/db`. */
  readonly operation: string;
  readonly subject: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Contents by path. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** How the child reaches Ceph, for the agent's own look at what a child left there. */
  readonly ceph?: RbdConnection;
}

/** What the transfer's secret may set in the child's environment; nothing that runs a program or reads a file. */
const FROM_SECRET = [
  'RESTIC_REPOSITORY',
  'RESTIC_PASSWORD',
  'RESTIC_HOST',
  'RESTIC_COMPRESSION',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_DEFAULT_REGION',
  'AWS_REGION',
] as const;
/** The host of the repository's snapshots where the secret has none: pods' names change and would split a volume's history. */
const DEFAULT_HOST = 'kubernetes';

export interface CommandContext {
  /** Values of the transfer's secret. */
  readonly secret: ReadonlyMap<string, Buffer>;
  /** The transfer's own folder. */
  readonly folder: string;
  /** Where the secret has no `ceph.conf`. */
  readonly cephConf?: string | undefined;
  /** Of this process: what it has for a repository of its own is not the transfer's. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
}

export function commandFor(transfer: Transfer, context: CommandContext): ChildCommand {
  const { secret, folder, inherited } = context;
  const subject =
    volumeOf(transfer) ?? `${transfer.object.metadata.namespace ?? ''}/${transfer.object.metadata.name}`;
  const operation = transfer.operation === 'backup' ? 'back up' : 'restore';
  const storage = transfer.object.status?.storage;
  if (storage === undefined) {
    throw new TransferFailure({
      operation,
      subject,
      cause: 'its place on the storage is not known',
      reason: REASONS.error,
    });
  }
  const files = new Map<string, Buffer>();
  const file = (key: string): string | undefined => {
    const content = secret.get(key);
    if (content === undefined) return undefined;
    const path = join(folder, key);
    files.set(path, content);
    return path;
  };
  const authority = file('ca.crt');
  const ceph = storage.driver === 'rbd' ? cephOf(file, secret, context.cephConf) : undefined;
  const url = `${storage.driver}:${storage.location}`;
  const job =
    transfer.operation === 'backup'
      ? backupArgs(transfer, url, subject)
      : restoreArgs(transfer, url, subject);
  const foreign = Object.keys(inherited).filter((name) => /^(RESTIC|AWS|DATAMOVER)_/.test(name));
  const given = FROM_SECRET.map((name) => [name, secret.get(name)?.toString('utf8')] as const);
  return {
    ...{ operation, subject, files },
    args: [...job, ...limitArgs(secret), ...cephArgs(ceph)],
    ...(ceph !== undefined && { ceph }),
    env: {
      ...Object.fromEntries(foreign.map((name) => [name, undefined])),
      RESTIC_HOST: DEFAULT_HOST,
      ...Object.fromEntries(given.filter(([, value]) => value !== undefined)),
      ...(authority !== undefined && { RESTIC_CACERT: authority }),
      TMPDIR: folder,
      // What an earlier attempt left, also on another node, is let go (K-13).
      [TRANSFER_VARIABLE]: transferID(transfer),
    },
  };
}

function backupArgs(
  transfer: Extract<Transfer, { operation: 'backup' }>,
  url: string,
  volume: string,
): string[] {
  const { base } = transfer.object.spec;
  return [
    ...['backup', url, '--volume', volume, '--once', `transfer=${transferID(transfer)}`],
    ...(base === undefined || base === 'auto' ? [] : ['--base', base]),
  ];
}

/** The filter is no convenience: a snapshot of another volume than the one named is refused, whatever its id (K-04). */
function restoreArgs(
  transfer: Extract<Transfer, { operation: 'restore' }>,
  url: string,
  volume: string,
): string[] {
  const { spec } = transfer.object;
  const { snapshotID, sourcePVCData } = spec.volumeSnapshotMoverBackupRef;
  if (sourcePVCData.name === undefined) {
    throw new TransferFailure({
      ...{ operation: 'restore', subject: volume, reason: REASONS.notAllowed },
      cause: 'the claim that was backed up is not named, and any volume of the repository could be meant',
      hint: 'give sourcePVCData.name',
    });
  }
  return [
    ...['restore', snapshotID ?? 'latest', '--to', url, '--force'],
    ...['--volume', volume],
    // The kind of the backup is not known here; of streams there is nothing to read back (K-24).
    ...(spec.verify === true ? ['--verify-image'] : []),
  ];
}

/** The command counts in KiB a second; what is less than one of them is one. Anything but a number is no limit of a BackupTarget. */
function limitArgs(secret: ReadonlyMap<string, Buffer>): string[] {
  return (['upload', 'download'] as const).flatMap((way) => {
    const bytes = secret.get(`limit.${way}`)?.toString('utf8') ?? '';
    if (!/^\d{1,15}$/.test(bytes)) return [];
    return [`--limit-${way}`, String(Math.max(1, Math.floor(Number(bytes) / 1024)))];
  });
}

function cephOf(
  file: (key: string) => string | undefined,
  secret: ReadonlyMap<string, Buffer>,
  fallback: string | undefined,
): RbdConnection {
  const conf = file('ceph.conf') ?? fallback;
  const keyring = file('ceph.keyring');
  const user = secret.get('ceph.user')?.toString('utf8').trim();
  return {
    ...(conf !== undefined && { conf }),
    ...(user !== undefined && user !== '' && { user }),
    ...(keyring !== undefined && { keyring }),
  };
}

function cephArgs({ conf, user, keyring }: RbdConnection = {}): string[] {
  return [
    ...(conf === undefined ? [] : ['--ceph-conf', conf]),
    ...(user === undefined ? [] : ['--ceph-id', user]),
    ...(keyring === undefined ? [] : ['--ceph-keyring', keyring]),
  ];
}
