import { createHash } from 'node:crypto';
import type { SnapshotDeleteRequestSpec } from './snapshot-delete-request.ts';

const LONGEST = 63;

/**
 * A name as the value of a label: 63 characters at most, longer ones end in 6 hexadecimal digits of their SHA-256. Velero shortens so
 * (`label.GetValidName`), so that its labels and ours can be compared.
 */
export function labelValue(name: string): string {
  if (name.length <= LONGEST) return name;
  return name.slice(0, LONGEST - 6) + sha256(name).slice(0, 6);
}

/** The id of the transfer of the object with this UID: the same whoever computes it, and however often. */
export function transferIdOf(kind: 'VolumeSnapshotBackup' | 'VolumeSnapshotRestore', uid: string): string {
  return (kind === 'VolumeSnapshotBackup' ? 'b' : 'r') + sha256(uid).slice(0, 16);
}

/** The name of an object that is made once for an owner and a subject, such as a backup's UID and a volume: `vsb-0123456789abcdef`. */
export function deterministicName(prefix: string, ownerUid: string, subject: string): string {
  return `${prefix}-${sha256(`${ownerUid}/${subject}`).slice(0, 16)}`;
}

/**
 * The name of the SnapshotDeleteRequest for a snapshot of a claim: asked for twice, it is made once. Another claim's, which is refused,
 * does not stand in its place.
 */
export function snapshotDeleteRequestName({
  resticrepository,
  snapshotID,
  sourceNamespace,
  claim = '',
}: Pick<SnapshotDeleteRequestSpec, 'resticrepository' | 'snapshotID' | 'sourceNamespace' | 'claim'>): string {
  return deterministicName('dmd', resticrepository, `${snapshotID}/${sourceNamespace}/${claim}`);
}

const SECRET_SUFFIX = '-volsync-restic';

/** OADP's name for the secret that leads to a BackupStorageLocation's repositories. */
export function secretOfLocation(location: string): string {
  return location + SECRET_SUFFIX;
}

/** The BackupStorageLocation whose secret this would be. */
export function locationOfSecret(secret: string): string | undefined {
  return secret.endsWith(SECRET_SUFFIX) && secret.length > SECRET_SUFFIX.length
    ? secret.slice(0, -SECRET_SUFFIX.length)
    : undefined;
}

/** What the secret of a backup that another cluster made is called here, where its storage location may have another name. */
export function secretHere(secret: string, location: string): string {
  return location === '' || locationOfSecret(secret) === undefined ? secret : secretOfLocation(location);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
