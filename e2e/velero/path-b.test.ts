import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { snapshotDeleteRequestName } from '../../api/derived-names.ts';
import type { KubernetesObject } from '../../api/schema/kind.ts';
import type { SnapshotDeleteRequest } from '../../api/snapshot-delete-request.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { run } from '../../datamover/process/spawn.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { REPOSITORY } from './doubles/mover.ts';
import { PATH_B_PEERS, startPathB, type PathBSite } from './path-b-site.ts';

const SNAPSHOTS = { db: 'd0'.repeat(32), logs: '10'.repeat(32) };

interface Items {
  readonly items: readonly KubernetesObject[];
}

describePeers(PATH_B_PEERS, 'a plain CSI backup of a real Velero, moved by the plugin’s wish', () => {
  let site: PathBSite;
  let shop: string;
  let kiosk: string;
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'path-b-'));
    site = await startPathB();
    shop = await site.makeApplication(['db', 'logs']);
    kiosk = await site.makeApplication(['db']);
  }, 300_000);
  afterAll(async () => {
    await site.stop();
    await rm(directory, { recursive: true, force: true });
  }, 120_000);

  const backupOf = (namespace: string, name: string, ...more: string[]) =>
    site.velero.cli('backup', 'create', name, '--include-namespaces', namespace, ...more);
  const backup = (name: string, ...more: string[]) => backupOf(shop, name, ...more);
  const restore = (name: string, from: string, ...more: string[]) =>
    site.velero.cli('restore', 'create', name, '--from-backup', from, ...more);
  const describe = (kind: 'backup' | 'restore', name: string) =>
    site.velero.cli(kind, 'describe', name, '--details');

  /** A claim's and its VolumeSnapshotBackup, by the content's name. */
  async function claimOf({ spec, metadata }: VolumeSnapshotBackup): Promise<'db' | 'logs'> {
    const content = await site.json<{ spec: { volumeSnapshotRef: { name: string } } }>(
      ...['volumesnapshotcontent', spec.volumeSnapshotContent.name],
    );
    const snapshot = await site.json<{ spec: { source: { persistentVolumeClaimName: 'db' | 'logs' } } }>(
      ...['volumesnapshot', content.spec.volumeSnapshotRef.name, `--namespace=${metadata.namespace ?? ''}`],
    );
    return snapshot.spec.source.persistentVolumeClaimName;
  }

  async function completeAll(name: string): Promise<void> {
    for (const started of await site.mover.backupsOf(name, 2)) {
      const claim = await claimOf(started);
      await site.mover.complete(started, claim, SNAPSHOTS[claim]);
    }
  }

  test('what Velero would leave out of its archive is not moved, until it has seen the kind', async () => {
    await site.configure({});
    await site.installKinds();
    await backupOf(kiosk, 'early');
    await site.phase('backup', 'early', 'PartiallyFailed');
    const description = await describe('backup', 'early');
    expect(description).toContain('the snapshot stays on its storage alone: move VolumeSnapshot');
    expect(description).toContain('does not know the kind volumesnapshotbackups.datamover.oadp.openshift.io');
    expect(description).toContain('start Velero again, or make the backup again after');
    // The claim is in it all the same.
    expect(description).toContain(`${kiosk}/db`);
    expect((await site.mover.backups.list()).items).toEqual([]);
    await site.configure(undefined);
    await site.velero.server.stop();
    await site.velero.server.start();
  }, 240_000);

  test('not enabled, nothing is different from a Velero without the plugin', async () => {
    await backup('plain', '--wait');
    await site.phase('backup', 'plain', 'Completed');
    const { items } = await site.mover.backups.list();
    expect(items).toEqual([]);
    expect(await describe('backup', 'plain')).not.toContain('datamover.io');
  }, 180_000);

  test('enabled, each content gets a VolumeSnapshotBackup, and describe follows its bytes', async () => {
    await site.configure({});
    await backup('nightly');
    const [first, second] = await site.mover.backupsOf('nightly', 2);
    for (const started of [first!, second!]) {
      expect(started.metadata.namespace).toBe(shop);
      expect(started.spec).toEqual({
        volumeSnapshotContent: { name: expect.stringMatching(/^snapcontent-/) },
        protectedNamespace: site.velero.namespace,
        resticSecretRef: { name: 'default-volsync-restic' },
      });
    }
    await site.phase('backup', 'nightly', 'WaitingForPluginOperations');
    await site.mover.report(first!, {
      ...{ phase: 'InProgress', batchingStatus: 'Processing', startTimestamp: new Date().toISOString() },
      progress: { totalBytes: 1 << 30, bytesDone: 300 << 20 },
    });
    const description = await site.mover.eventually('progress', async () => {
      const said = await describe('backup', 'nightly');
      return said.includes('314572800 of 1073741824') ? said : undefined;
    });
    expect(description).toContain('datamover.io/move-snapshot');
    expect(description).toMatch(/Progress description:\s+InProgress\n/);
    expect(description).toMatch(/Progress:\s+314572800 of 1073741824 complete \(Bytes\)/);
  }, 180_000);

  test('it is Completed when the mover is done, with all bytes', async () => {
    await completeAll('nightly');
    await site.phase('backup', 'nightly', 'Completed');
    const description = await describe('backup', 'nightly');
    expect(description).toMatch(/Progress:\s+1073741824 of 1073741824 complete \(Bytes\)/);
    expect(description).not.toMatch(/(Errors|Warnings):\s+[1-9]/);
  }, 240_000);

  test('the archive holds what a restore needs, and no order of its own', async () => {
    const archive = join(directory, 'nightly.tar.gz');
    await site.velero.cli('backup', 'download', 'nightly', '--output', archive);
    await run({ file: 'tar', args: ['--extract', '--gzip', '--file', archive, '--directory', directory] });
    const { items } = await site.mover.backups.list({ namespace: shop });
    for (const { metadata, status } of items) {
      const path = `resources/volumesnapshotbackups.datamover.oadp.openshift.io/namespaces/${shop}/${metadata.name}.json`;
      const copy = JSON.parse(await readFile(join(directory, path), 'utf8')) as VolumeSnapshotBackup;
      expect(copy.metadata.annotations).toMatchObject({
        ...{ 'datamover.io/snapshot-id': status?.snapshotID, 'datamover.io/source-namespace': shop },
        ...{ 'datamover.io/source-pvc-size': '1Gi', 'datamover.io/source-pvc-accessmodes': 'ReadWriteOnce' },
      });
    }
    const claim = `resources/persistentvolumeclaims/namespaces/${shop}/db.json`;
    const copy = JSON.parse(await readFile(join(directory, claim), 'utf8')) as KubernetesObject;
    expect(copy.metadata.annotations?.['datamover.io/moved-by']).toMatch(/^vsb-[0-9a-f]{16}$/);
  }, 120_000);

  test('a restore into another namespace waits for the mover and binds its volumes', async () => {
    const other = `${shop}-again`;
    await restore('again', 'nightly', '--namespace-mappings', `${shop}:${other}`);
    const restores = await site.mover.restoresOf('again', 2);
    await site.phase('restore', 'again', 'WaitingForPluginOperations');
    for (const made of restores) {
      const claim = made.spec.target?.claimName as 'db' | 'logs';
      expect(made.metadata.namespace).toBe(other);
      expect(made.spec).toEqual({
        ...{ protectedNamespace: site.velero.namespace, target: { claimName: claim } },
        resticSecretRef: { name: 'default-volsync-restic' },
        volumeSnapshotMoverBackupRef: {
          ...{ resticrepository: `${REPOSITORY}/${shop}`, snapshotID: SNAPSHOTS[claim] },
          sourceNamespace: shop,
          sourcePVCData: {
            ...{ name: claim, size: '1Gi', storageClassName: 'double', volumeMode: 'Filesystem' },
            accessModes: ['ReadWriteOnce'],
          },
        },
      });
    }
    const claims = (await site.json<Items>('pvc', `--namespace=${other}`)).items;
    for (const { spec, metadata } of claims) {
      expect(spec).not.toHaveProperty('dataSource');
      expect(spec).toHaveProperty(['selector', 'matchLabels', 'velero.io/dynamic-pv-restore']);
      expect(
        Object.keys(metadata.annotations ?? {}).filter((key) => key.startsWith('datamover.io/')),
      ).toEqual([]);
    }
    for (const made of restores) await site.mover.fill(made);
    await site.phase('restore', 'again', 'Completed');
    expect(await describe('restore', 'again')).not.toMatch(/(Errors|Warnings):\s+[1-9]/);
    // Nothing waits for a snapshot that will never be there, and no order was restored.
    const left = (await site.json<Items>('volumesnapshot,vsb', `--namespace=${other}`)).items;
    expect(left).toEqual([]);
  }, 240_000);

  test('a claim that is there stays as it is, and nothing is moved', async () => {
    await restore('over', 'nightly', '--wait');
    await site.phase('restore', 'over', 'Completed');
    expect((await site.mover.restores.list({ labelSelector: 'velero.io/restore-name=over' })).items).toEqual(
      [],
    );
  }, 180_000);

  test('a restore whose filter leaves the record out says what to include', async () => {
    await restore(
      ...['filtered', 'nightly', '--wait', '--include-resources', 'persistentvolumeclaims'],
      ...['--namespace-mappings', `${shop}:${shop}-filtered`],
    );
    await site.phase('restore', 'filtered', 'PartiallyFailed');
    expect(await describe('restore', 'filtered')).toContain(
      `restore the volume of ${shop}-filtered/db: its record is a volumesnapshotbackups.datamover.oadp.openshift.io`,
    );
  }, 180_000);

  test('a failure is a failure, with the mover’s sentence', async () => {
    await backup('broken');
    const [first, second] = await site.mover.backupsOf('broken', 2);
    const sentence = 'open repository s3:https://minio/backups: the password is wrong; check the secret';
    await site.mover.report(first!, { phase: 'Failed', message: sentence });
    const claim = await claimOf(second!);
    await site.mover.complete(second!, claim, SNAPSHOTS[claim]);
    await site.phase('backup', 'broken', 'PartiallyFailed');
    expect(await describe('backup', 'broken')).toMatch(new RegExp(`Operation Error:\\s+${sentence}`));
  }, 240_000);

  test('what was not moved is restored from its snapshot, the rest by the mover', async () => {
    const other = `${shop}-half`;
    await restore('half', 'broken', '--namespace-mappings', `${shop}:${other}`);
    const [made] = await site.mover.restoresOf('half', 1);
    await site.mover.fill(made!);
    const claims = (
      await site.json<{ items: { metadata: { name: string }; spec: object }[] }>(
        ...['pvc', `--namespace=${other}`],
      )
    ).items;
    const local = claims.filter(({ metadata }) => metadata.name !== made!.spec.target?.claimName);
    expect(local).toHaveLength(1);
    expect(local[0]?.spec).toHaveProperty('dataSource.kind', 'VolumeSnapshot');
    expect((await site.json<Items>('volumesnapshot', `--namespace=${other}`)).items).toHaveLength(1);
    await site.provision(other, local[0]?.metadata.name ?? '');
    await site.phase('restore', 'half', 'Completed');
  }, 240_000);

  test('a claim’s missing class is an error of the backup, and the claim is in it all the same', async () => {
    const annotation = 'datamover.io/class=gone';
    await site.cluster.kubectl(['annotate', 'pvc', 'db', annotation, `--namespace=${shop}`]);
    await backup('classless');
    const [only] = await site.mover.backupsOf('classless', 1);
    await site.mover.complete(only!, 'logs', SNAPSHOTS.logs);
    await site.phase('backup', 'classless', 'PartiallyFailed');
    await site.cluster.kubectl(['annotate', 'pvc', 'db', 'datamover.io/class-', `--namespace=${shop}`]);
    const description = await describe('backup', 'classless');
    expect(description).toContain('the DataMoverClass gone that its claim names');
    expect(description).toContain(`${shop}/db`);
  }, 240_000);

  test('delete leaves the wish that the data be freed, and takes the transfers away', async () => {
    await site.velero.cli('backup', 'delete', 'nightly', '--confirm');
    await site.cluster.kubectl([
      ...['wait', '--for=delete', 'backup.velero.io/nightly'],
      ...[`--namespace=${site.velero.namespace}`, '--timeout=120s'],
    ]);
    for (const [claim, snapshotID] of Object.entries(SNAPSHOTS)) {
      const freed = { resticrepository: `${REPOSITORY}/${shop}`, sourceNamespace: shop, claim, snapshotID };
      const name = snapshotDeleteRequestName(freed);
      const { spec } = await site.json<SnapshotDeleteRequest>(
        ...['snapshotdeleterequest', name, `--namespace=${site.velero.namespace}`],
      );
      expect(spec).toEqual({
        ...{ resticSecretRef: { name: 'default-volsync-restic' }, ...freed },
      });
    }
    const labelSelector = 'velero.io/backup-name=nightly';
    expect((await site.mover.backups.list({ labelSelector })).items).toEqual([]);
    expect((await site.mover.restores.list({ labelSelector })).items).toEqual([]);
  }, 240_000);

  test('with actions of version 1, backup and restore stand still until the mover is done', async () => {
    await site.configure({ actions: 'v1', timeout: '2m' });
    await site.velero.server.stop();
    await site.velero.server.start();
    const plugins = await site.velero.cli('plugin', 'get');
    expect(plugins).toMatch(/datamover\.io\/move-snapshot-v1\s+BackupItemAction\n/);
    expect(plugins).not.toMatch(/datamover\.io\/(move-snapshot|restore-volume|restore-claim)\s/);
    await backup('standing');
    await site.mover.backupsOf('standing', 2);
    await site.phase('backup', 'standing', 'InProgress');
    await completeAll('standing');
    await site.phase('backup', 'standing', 'Completed');
    const other = `${shop}-standing`;
    await restore('standing', 'standing', '--namespace-mappings', `${shop}:${other}`);
    const restores = await site.mover.restoresOf('standing', 2);
    for (const made of restores) await site.mover.fill(made);
    await site.phase('restore', 'standing', 'Completed');
    expect((await site.json<Items>('volumesnapshot,vsb', `--namespace=${other}`)).items).toEqual([]);
    for (const { metadata } of (await site.json<Items>('pvc', `--namespace=${other}`)).items)
      expect(metadata.annotations).toHaveProperty(['datamover.io/restored-by']);
  }, 300_000);

  test('the plugin has not troubled the server', async () => {
    const log = (await site.velero.log()).split('\n');
    expect(log.filter((line) => /panic|Plugin process exited/.test(line))).toEqual([]);
  });
});
