import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { snapshotDeleteRequestName } from '../../api/derived-names.ts';
import { formatSnapshotReference, type SnapshotReference } from '../../api/snapshot-reference.ts';
import { KUBERNETES_PEERS } from '../../e2e/servers/kubernetes.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { backupOf, startActionSite, type ActionSite } from '../testing/site.ts';
import type { KubernetesItem } from './contract.ts';
import { freeBackup } from './free-backup.ts';
import { freeDataUpload } from './free-data-upload.ts';

const SNAPSHOT = '0123456789abcdef'.repeat(4);
const REPOSITORY = 's3:https://minio:9000/backups/shop';

interface Request {
  readonly spec: object;
  readonly metadata: { readonly uid: string };
}

describePeers([...KUBERNETES_PEERS, 'velero'], 'deleting a backup frees what was moved', () => {
  let site: ActionSite;
  beforeAll(async () => {
    site = await startActionSite();
  }, 180_000);
  afterAll(() => site.stop());

  const request = (snapshotID: string, sourceNamespace = 'shop') =>
    site.get<Request>(
      ...(['snapshotdeleterequest', site.velero] as const),
      snapshotDeleteRequestName({ resticrepository: REPOSITORY, snapshotID, sourceNamespace, claim: 'db' }),
    );

  interface Upload {
    readonly spec?: object;
    readonly snapshotID?: string;
    readonly backup?: string;
    readonly backupUid?: string;
  }

  function dataUpload(more: Upload = {}): KubernetesItem {
    const reference: SnapshotReference = {
      repository: REPOSITORY,
      snapshotID: SNAPSHOT,
      protectedNamespace: site.velero,
      openedBy: { secret: 'default-volsync-restic' },
      ...{ sourceNamespace: 'shop', claim: 'db', driver: 'rbd', format: 'image', bytes: 1024 },
    };
    return {
      ...{ apiVersion: 'velero.io/v2alpha1', kind: 'DataUpload' },
      metadata: {
        name: 'nightly-abc',
        namespace: site.velero,
        creationTimestamp: '2026-03-01T02:00:10Z',
        labels: {
          'velero.io/backup-name': more.backup ?? 'nightly',
          ...(more.backupUid !== undefined && { 'velero.io/backup-uid': more.backupUid }),
        },
      },
      spec: { datamover: 'datamover.io', ...more.spec },
      status: { phase: 'Completed', snapshotID: more.snapshotID ?? formatSnapshotReference(reference) },
    };
  }

  test('a DataUpload leaves a SnapshotDeleteRequest, and twice asked leaves one', async () => {
    const backup = backupOf(site.velero, 'nightly');
    await freeDataUpload.execute(dataUpload(), backup, site.context);
    const first = await request(SNAPSHOT);
    expect(first?.spec).toEqual({
      ...{ resticSecretRef: { name: 'default-volsync-restic' }, resticrepository: REPOSITORY },
      ...{ sourceNamespace: 'shop', claim: 'db', snapshotID: SNAPSHOT },
    });
    await freeDataUpload.execute(dataUpload(), backup, site.context);
    expect((await request(SNAPSHOT))?.metadata.uid).toBe(first?.metadata.uid);
    await site.cluster.kubectl(['delete', 'snapshotdeleterequest', '--all', `--namespace=${site.velero}`]);
  });

  test.each([
    ['of another mover', { spec: { datamover: 'velero' } }],
    ['of another backup', { backup: 'other' }],
    ['that carried nothing away', { snapshotID: '' }],
  ])('a DataUpload %s is passed over', async (_what, more) => {
    await freeDataUpload.execute(dataUpload(more), backupOf(site.velero, 'nightly'), site.context);
    expect(await request(SNAPSHOT)).toBeUndefined();
  });

  test('in a cluster that has the backup from its bucket, its own uploads are known by their time', async () => {
    const upload = dataUpload({ backupUid: 'of the first cluster' });
    const synced = (startTimestamp: string, completionTimestamp: string) => ({
      ...backupOf(site.velero, 'nightly', { spec: { storageLocation: 'theirs' } }),
      status: { phase: 'Completed', startTimestamp, completionTimestamp },
    });
    const tomorrow = synced('2026-03-02T02:00:00Z', '2026-03-02T02:10:00Z');
    await freeDataUpload.execute(upload, tomorrow, site.context);
    expect(await request(SNAPSHOT)).toBeUndefined();
    await freeDataUpload.execute(
      upload,
      synced('2026-03-01T02:00:00Z', '2026-03-01T02:10:00Z'),
      site.context,
    );
    const found = await request(SNAPSHOT);
    await site.cluster.kubectl(['delete', 'snapshotdeleterequest', '--all', `--namespace=${site.velero}`]);
    // The storage location has another name here, and so has the secret.
    expect(found?.spec).toMatchObject({ resticSecretRef: { name: 'theirs-volsync-restic' } });
  });

  test('a VolumeSnapshotBackup of another cluster is freed with the secret of the storage location of here', async () => {
    const archived: KubernetesItem = {
      ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind: 'VolumeSnapshotBackup' },
      metadata: {
        ...{ name: 'vsb-theirs', namespace: site.application, creationTimestamp: '2026-03-01T02:00:10Z' },
        labels: { 'velero.io/backup-name': 'nightly', 'velero.io/backup-uid': 'of the first cluster' },
      },
      spec: {
        ...{ volumeSnapshotContent: { name: 'snapcontent-1' }, protectedNamespace: 'their-velero' },
        resticSecretRef: { name: 'default-volsync-restic' },
      },
      status: {
        ...{ phase: 'Completed', snapshotID: SNAPSHOT, resticrepository: REPOSITORY },
        sourcePVCData: { name: 'db' },
      },
    };
    const backup = {
      ...backupOf(site.velero, 'nightly', { spec: { storageLocation: 'theirs' } }),
      status: {
        ...{ phase: 'Completed', startTimestamp: '2026-03-01T02:00:00Z' },
        completionTimestamp: '2026-03-01T02:10:00Z',
      },
    };
    await freeBackup.execute(archived, backup, site.context);
    const found = await request(SNAPSHOT, site.application);
    await site.cluster.kubectl(['delete', 'snapshotdeleterequest', '--all', `--namespace=${site.velero}`]);
    expect(found?.spec).toMatchObject({ resticSecretRef: { name: 'theirs-volsync-restic' } });
  });

  test('what cannot be read is an error that names it', async () => {
    const strange = dataUpload({ snapshotID: 'datamover.io/v9?x=y' });
    await expect(
      freeDataUpload.execute(strange, backupOf(site.velero, 'nightly'), site.context),
    ).rejects.toThrow(
      `free the data of DataUpload ${site.velero}/nightly-abc: its snapshotID cannot be read: its version is datamover.io/v9`,
    );
  });

  test('a backup whose name is too long for a label is known by the shortened one', async () => {
    const name = 'n'.repeat(70);
    const shortened = `${'n'.repeat(57)}85069d`;
    const upload = dataUpload({ backup: shortened });
    await freeDataUpload.execute(upload, backupOf(site.velero, name), site.context);
    const found = await request(SNAPSHOT);
    await site.cluster.kubectl(['delete', 'snapshotdeleterequest', '--all', `--namespace=${site.velero}`]);
    expect(found).toBeDefined();
  });

  const transferSpec = () => ({
    volumeSnapshotContent: { name: 'snapcontent-1' },
    protectedNamespace: site.velero,
    backupTarget: 'main',
  });

  async function apply(object: object): Promise<KubernetesItem> {
    await site.cluster.apply(object);
    const { metadata, kind } = object as KubernetesItem;
    const made = await site.get(kind.toLowerCase(), site.application, metadata.name);
    if (made === undefined) throw new Error('it was not made');
    return made;
  }

  test('a VolumeSnapshotBackup leaves a request and goes itself, with the restores from it', async () => {
    const labels = { 'velero.io/backup-name': 'nightly', 'velero.io/backup-uid': 'u-1' };
    const backup = backupOf(site.velero, 'nightly', { uid: 'u-1' });
    const group = 'datamover.oadp.openshift.io/v1alpha1';
    const made = await apply({
      ...{ apiVersion: group, kind: 'VolumeSnapshotBackup', spec: transferSpec() },
      metadata: { name: 'vsb-1', namespace: site.application, labels },
    });
    const restore = (name: string, from: string) =>
      apply({
        ...{ apiVersion: group, kind: 'VolumeSnapshotRestore' },
        metadata: { name, namespace: site.application, labels: { ...labels, 'velero.io/vsb-name': from } },
        spec: {
          ...{ protectedNamespace: site.velero, backupTarget: 'main' },
          volumeSnapshotMoverBackupRef: { sourcePVCData: { name: 'db' } },
        },
      });
    await restore('vsr-1', 'vsb-1');
    await restore('vsr-2', 'vsb-2');
    const archived: KubernetesItem = {
      ...made,
      status: {
        ...{ phase: 'Completed', snapshotID: SNAPSHOT, resticrepository: REPOSITORY },
        sourcePVCData: { name: 'db' },
      },
    };
    // Somebody made it in the words of the backup: its UID is not there.
    const { metadata } = archived;
    const forged = { ...metadata, labels: { 'velero.io/backup-name': 'nightly' } };
    await freeBackup.execute({ ...archived, metadata: forged }, backup, site.context);
    expect(await request(SNAPSHOT, site.application)).toBeUndefined();
    await freeBackup.execute(archived, backup, site.context);
    await freeBackup.execute(archived, backup, site.context);
    expect((await request(SNAPSHOT, site.application))?.spec).toEqual({
      ...{ backupTarget: 'main', resticrepository: REPOSITORY, sourceNamespace: site.application },
      ...{ claim: 'db', snapshotID: SNAPSHOT },
    });
    expect(await site.get('volumesnapshotbackup', site.application, 'vsb-1')).toBeUndefined();
    expect(await site.get('volumesnapshotrestore', site.application, 'vsr-1')).toBeUndefined();
    expect(await site.get('volumesnapshotrestore', site.application, 'vsr-2')).toBeDefined();
  });

  test('a VolumeSnapshotBackup of another backup, or made anew under the same name, stays', async () => {
    const made = await apply({
      ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind: 'VolumeSnapshotBackup' },
      metadata: {
        ...{ name: 'vsb-3', namespace: site.application },
        labels: { 'velero.io/backup-name': 'nightly', 'velero.io/backup-uid': 'u-1' },
      },
      spec: transferSpec(),
    });
    const backup = backupOf(site.velero, 'nightly', { uid: 'u-1' });
    await freeBackup.execute(made, backupOf(site.velero, 'other'), site.context);
    await freeBackup.execute(made, backupOf(site.velero, 'nightly', { uid: 'u-2' }), site.context);
    const { metadata } = made;
    await freeBackup.execute({ ...made, metadata: { ...metadata, uid: 'older' } }, backup, site.context);
    expect(await site.get('volumesnapshotbackup', site.application, 'vsb-3')).toBeDefined();
    await freeBackup.execute(made, backup, site.context);
    expect(await site.get('volumesnapshotbackup', site.application, 'vsb-3')).toBeUndefined();
  });

  test('without the kinds, or without an answer, Velero gets an error', async () => {
    const backup = backupOf(site.velero, 'nightly');
    await site.cluster.kubectl(['delete', 'crd', 'snapshotdeleterequests.datamover.io']);
    await expect(freeDataUpload.execute(dataUpload(), backup, site.context)).rejects.toThrow(
      /^create SnapshotDeleteRequest .*; the snapshot 0123.* stays in s3:.* until the data mover's kinds are installed/,
    );
    await site.cluster.apiServer.kill();
    await expect(freeDataUpload.execute(dataUpload(), backup, site.context)).rejects.toThrow(
      /^create SnapshotDeleteRequest .*: https:.* does not answer: .*ECONNREFUSED/,
    );
  });
});
