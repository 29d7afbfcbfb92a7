import { randomBytes } from 'node:crypto';
import type { DataDownload, DataUpload } from '../../api/neighbours/velero.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { run } from '../../datamover/process/spawn.ts';
import type { System } from '../cluster/system.ts';
import { claim } from '../servers/claims.ts';
import { requirePeer } from '../servers/peers.ts';

export const MEBIBYTE = 2 ** 20;
/** Velero moves the data itself, by our mover. */
export const MOVE = ['--snapshot-move-data', '--data-mover', 'datamover.io'] as const;

/** A namespace with a ConfigMap and claims on RBD, each with data, and what must come back. */
export interface Application {
  readonly namespace: string;
  /** SHA-256 of each claim's volume as it was when the application was made or last written to. */
  readonly digests: Map<string, string>;
}

/** Makes an application with claims; of those that are `filled` a third holds data. */
export async function makeApplication(
  system: System,
  claims: readonly string[],
  mebibytes = 32,
  filled = claims,
): Promise<Application> {
  const { cluster, rbd } = system;
  const namespace = await cluster.makeNamespace();
  await cluster.apply(
    {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings', namespace } },
      data: { colour: 'green' },
    },
    ...claims.map((name) =>
      claim({ namespace, name, storageClass: rbd.storageClass, size: `${mebibytes}Mi` }),
    ),
  );
  const application: Application = { namespace, digests: new Map() };
  const bound = ['--for=jsonpath={.status.phase}=Bound', '--timeout=240s', '--namespace', namespace];
  await cluster.kubectl(['wait', 'persistentvolumeclaims', '--all', ...bound]);
  for (const name of filled)
    await change(system, application, name, 3 * MEBIBYTE, Math.floor((mebibytes * MEBIBYTE) / 3));
  return application;
}

/** Writes into a claim's volume, as the application would. */
export async function change(
  { rbd }: System,
  { namespace, digests }: Application,
  name: string,
  offset: number,
  length: number,
): Promise<void> {
  await rbd.write(namespace, name, offset, randomBytes(length));
  digests.set(name, await rbd.digest(namespace, name));
}

/** The whole namespace is gone, with its claims, volumes and images. */
export async function loseApplication({ cluster }: System, { namespace }: Application): Promise<void> {
  await cluster.kubectl(['delete', 'namespace', namespace, '--timeout=180s']);
}

/** The volumes of these claims, as they are now in this namespace. */
export async function digestsOf(
  { rbd }: System,
  namespace: string,
  claims: Iterable<string>,
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of claims) found.set(name, await rbd.digest(namespace, name));
  return found;
}

/** `velero backup create` to its end; gives what it and `describe` say. Throws when it is not Completed. */
export async function backUp(system: System, ...backup: VeleroBackup): Promise<string> {
  const { said, described } = await runBackup(system, ...backup);
  if (!said.includes('Backup completed with status: Completed'))
    throw new Error(await why(system, said, described));
  return described;
}

/** The same for one that must be PartiallyFailed. */
export async function failingBackUp(system: System, ...backup: VeleroBackup): Promise<string> {
  const { said, described } = await runBackup(system, ...backup);
  if (!said.includes('Backup completed with status: PartiallyFailed')) throw new Error(said + described);
  return described;
}

type VeleroBackup = [name: string, namespaces: readonly string[], ...flags: readonly string[]];

async function runBackup(
  { velero }: System,
  ...[name, namespaces, ...flags]: VeleroBackup
): Promise<{ readonly said: string; readonly described: string }> {
  const included = ['--include-namespaces', namespaces.join(',')];
  const said = await velero.cli('backup', 'create', name, ...included, ...flags, '--wait');
  const described = await velero.cli('backup', 'describe', name, '--details');
  return { said, described };
}

/** The DataUploads of a backup, by claim. */
export async function uploadsOf(system: System, backup: string): Promise<ReadonlyMap<string, DataUpload>> {
  const items = await movesOf<DataUpload>(system, 'datauploads', `velero.io/backup-name=${backup}`);
  return new Map(items.map((upload) => [upload.spec.sourcePVC, upload]));
}

/** The DataDownloads of a restore, by claim. */
export async function downloadsOf(
  system: System,
  restore: string,
): Promise<ReadonlyMap<string, DataDownload>> {
  const items = await movesOf<DataDownload>(system, 'datadownloads', `velero.io/restore-name=${restore}`);
  return new Map(items.map((download) => [download.spec.targetVolume.pvc, download]));
}

async function movesOf<T>(
  { cluster, velero }: System,
  kind: string,
  selector: string,
): Promise<readonly T[]> {
  const where = ['--namespace', velero.namespace, `--selector=${selector}`, '--output=json'];
  const found = await cluster.kubectl(['get', `${kind}.velero.io`, ...where]);
  return (JSON.parse(found) as { readonly items: readonly T[] }).items;
}

/** Changes an object by a merge patch. */
export async function patch(
  { cluster }: System,
  kind: string,
  name: string,
  namespace: string,
  body: object,
): Promise<void> {
  await cluster.kubectl([
    ...['patch', kind, name, '--namespace', namespace, '--type=merge', `--patch=${JSON.stringify(body)}`],
  ]);
}

/** What the mover has written down of a Velero backup, by claim. */
export async function recordsOf(
  { cluster }: System,
  backup: string,
): Promise<ReadonlyMap<string, VolumeSnapshotBackup>> {
  const selector = `--selector=velero.io/backup-name=${backup}`;
  const found = await cluster.kubectl(['get', 'vsb', '--all-namespaces', selector, '--output=json']);
  const { items } = JSON.parse(found) as { readonly items: readonly VolumeSnapshotBackup[] };
  return new Map(items.map((record) => [record.status?.sourcePVCData?.name ?? '', record]));
}

/** The ids of all restic snapshots in a namespace's repository. */
export async function snapshotIds(system: System, namespace: string): Promise<string[]> {
  const snapshots = JSON.parse(await restic(system, namespace, 'snapshots')) as { id: string }[];
  return snapshots.map(({ id }) => id).sort();
}

/** `velero backup delete` until Velero has forgotten it and the mover has freed all that it was asked to. */
export async function deleteBackup({ velero, cluster }: System, name: string): Promise<void> {
  await velero.cli('backup', 'delete', name, '--confirm');
  await awaitDeletion({ velero, cluster }, name);
}

/** Waits until a backup that is deleted or has expired is gone, and its data with it. */
export async function awaitDeletion(
  { velero, cluster }: Pick<System, 'velero' | 'cluster'>,
  name: string,
): Promise<void> {
  const where = ['--namespace', velero.namespace, '--timeout=240s'];
  await cluster.kubectl(['wait', '--for=delete', `backup.velero.io/${name}`, ...where]);
  await cluster.kubectl([
    ...['wait', '--for=jsonpath={.status.phase}=Completed', 'snapshotdeleterequests', '--all', ...where],
  ]);
}

/** Waits until a cluster has learned of a backup in its bucket. */
export async function awaitBackup({ velero, cluster }: System, name: string): Promise<void> {
  const where = ['--namespace', velero.namespace, '--timeout=240s'];
  await cluster.kubectl(['wait', '--for=create', `backup.velero.io/${name}`, ...where]);
}

/** `velero restore create` to its end; gives what `describe` says. Throws when it is not Completed. */
export async function restore(system: Pick<System, 'velero'>, ...asked: VeleroRestore): Promise<string> {
  const { said, described } = await runRestore(system, ...asked);
  if (!`${said}${described}`.includes('Restore completed with status: Completed'))
    throw new Error(await why(system, said, described));
  return described;
}

/** The same for one that must be PartiallyFailed; what it says is in one line. */
export async function failingRestore(
  system: Pick<System, 'velero'>,
  ...asked: VeleroRestore
): Promise<string> {
  const { said, described } = await runRestore(system, ...asked);
  if (!`${said}${described}`.includes('Restore completed with status: PartiallyFailed'))
    throw new Error(await why(system, said, described));
  return oneLine(described);
}

type VeleroRestore = [name: string, backup: string, ...flags: readonly string[]];

async function runRestore(
  { velero }: Pick<System, 'velero'>,
  ...[name, backup, ...flags]: VeleroRestore
): Promise<{ readonly said: string; readonly described: string }> {
  const said = await velero.cli('restore', 'create', name, '--from-backup', backup, ...flags, '--wait');
  return { said, described: await velero.cli('restore', 'describe', name, '--details') };
}

/** The phase of a claim, and what its warnings say, in one line each. */
export async function toldOf(
  { cluster }: System,
  namespace: string,
  claim: string,
): Promise<{ readonly phase: string; readonly warnings: readonly string[] }> {
  const where = ['--namespace', namespace];
  const phase = await cluster.kubectl([
    ...['get', 'pvc', claim, ...where, '--output=jsonpath={.status.phase}'],
  ]);
  const about = `involvedObject.kind=PersistentVolumeClaim,involvedObject.name=${claim},type=Warning`;
  const found = await cluster.kubectl([
    ...['get', 'events', ...where, `--field-selector=${about}`, '--output=json'],
  ]);
  const { items } = JSON.parse(found) as { readonly items: readonly { readonly message: string }[] };
  return { phase, warnings: items.map(({ message }) => oneLine(message)) };
}

/** Sentences may hold runs of blanks, and descriptions break none. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

async function why({ velero }: Pick<System, 'velero'>, said: string, described: string): Promise<string> {
  const log = await velero.log();
  const errors = log.split('\n').filter((line) => /level=(error|warning)/.test(line));
  return [said, described, ...errors.slice(-20)].join('\n');
}

/** What the rest of the world reads of the repository of a namespace: with a restic that we did not write. */
export async function restic(system: System, namespace: string, ...args: string[]): Promise<string> {
  const { s3, velero, mover } = system;
  const { stdout } = await run({
    file: requirePeer('restic-current').file,
    args: ['--no-cache', '--json', ...args],
    env: {
      ...{
        AWS_ACCESS_KEY_ID: s3.accessKey,
        AWS_SECRET_ACCESS_KEY: s3.secretKey,
        AWS_DEFAULT_REGION: s3.region,
      },
      // Beside Velero's own files, in a folder that it allows.
      RESTIC_REPOSITORY: `s3:${s3.endpoint}/${velero.bucket}/restic/datamover.io/${namespace}`,
      RESTIC_PASSWORD: mover.password,
    },
  });
  return stdout;
}
