/* Long, for one API server and one Velero serve the actions from a backup to its restore, in this order. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { labelValue } from '../../api/derived-names.ts';
import type { KubernetesObject } from '../../api/schema/kind.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../../e2e/servers/kubernetes.ts';
import { backupOf, restoreOf, startActionSite, type ActionSite } from '../testing/site.ts';
import { AskAgain, type KubernetesItem, type VeleroBackup } from './contract.ts';
import { markMoved } from './mark-moved.ts';
import { moveSnapshotV1 } from './move-snapshot-v1.ts';
import { moveSnapshot } from './move-snapshot.ts';
import { restoreClaim } from './restore-claim.ts';
import { restoreVolume } from './restore-volume.ts';
import { skipMoved } from './skip-moved.ts';
import { offeredActions } from './table.ts';
import { transferRecord } from './transfer-record.ts';

const SNAPSHOT = '0123456789abcdef'.repeat(4);
const OADP_CRD = {
  ...{ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' },
  metadata: { name: 'dataprotectionapplications.oadp.openshift.io' },
  spec: {
    ...{ group: 'oadp.openshift.io', scope: 'Namespaced' },
    names: { kind: 'DataProtectionApplication', plural: 'dataprotectionapplications' },
    versions: [
      {
        ...{ name: 'v1alpha1', served: true, storage: true },
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
};

describePeers([...KUBERNETES_PEERS, 'velero'], 'the actions on a real API server', () => {
  let site: ActionSite;
  let count = 0;
  beforeAll(async () => {
    site = await startActionSite();
  }, 180_000);
  afterAll(() => site.stop());
  afterEach(() => void site.logged.splice(0));

  /** Settings are remembered for some seconds, each namespace's for itself. */
  async function another(data?: Readonly<Record<string, string>>): Promise<void> {
    const velero = await site.cluster.makeNamespace();
    site = { ...site, velero, context: { ...site.context, veleroNamespace: velero } };
    if (data === undefined) return;
    await site.cluster.apply({
      ...{ apiVersion: 'v1', kind: 'ConfigMap', data },
      metadata: {
        ...{ name: 'datamover', namespace: velero },
        labels: { 'velero.io/plugin-config': '', 'datamover.io/move-snapshot': 'BackupItemActionV2' },
      },
    });
  }

  interface Snapshot {
    readonly claim: KubernetesItem;
    readonly snapshot: KubernetesItem;
    readonly content: KubernetesItem;
  }

  /** What Velero has made when it asks about a content. */
  async function snapshotOf(backup: VeleroBackup, claimMetadata: object = {}): Promise<Snapshot> {
    const name = `claim-${++count}`;
    const namespace = site.application;
    const labels = { 'velero.io/backup-name': labelValue(backup.metadata.name) };
    const content = `snapcontent-${name}`;
    const claim = {
      ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim' },
      metadata: { name, namespace, ...claimMetadata },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    const snapshot = {
      ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshot' },
      metadata: { name: `velero-${name}`, namespace, labels },
      spec: { source: { persistentVolumeClaimName: name } },
    };
    await site.cluster.apply(claim, snapshot);
    const status = { boundVolumeSnapshotContentName: content };
    await site.cluster.kubectl([
      ...['patch', 'volumesnapshot', `velero-${name}`, `--namespace=${namespace}`, '--subresource=status'],
      ...['--type=merge', `--patch=${JSON.stringify({ status })}`],
    ]);
    return {
      claim: {
        ...claim,
        metadata: {
          ...claim.metadata,
          labels,
          annotations: { 'velero.io/volume-snapshot-name': `velero-${name}` },
        },
      },
      snapshot: { ...snapshot, status },
      content: {
        ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotContent' },
        metadata: { name: content, labels },
        spec: { volumeSnapshotRef: { namespace, name: `velero-${name}` } },
      },
    };
  }

  const annotationsOf = (item: KubernetesItem | undefined) => item?.metadata.annotations ?? {};
  const find = (operationID: string | undefined) =>
    site.get<VolumeSnapshotBackup>('vsb', site.application, operationID?.split('/')[1] ?? '');

  async function report(operationID: string, status: object, kind = 'vsb'): Promise<void> {
    const [namespace, name] = operationID.split('/');
    await site.cluster.kubectl([
      ...['patch', kind, name ?? '', `--namespace=${namespace}`, '--subresource=status', '--type=merge'],
      `--patch=${JSON.stringify({ status })}`,
    ]);
  }

  const completed = {
    ...{ phase: 'Completed', snapshotID: SNAPSHOT, resticrepository: 's3:https://h/b/shop' },
    sourcePVCData: { name: 'db', size: '1Gi' },
  };

  describe('a backup', () => {
    test('is not touched where the mover is not enabled, or is turned off', async () => {
      for (const data of [undefined, { enabled: 'false' }]) {
        await another(data);
        const backup = backupOf(site.velero, 'b');
        const { claim, snapshot, content } = await snapshotOf(backup);
        for (const item of [claim, snapshot, content])
          expect(await markMoved.execute(item, backup, site.context)).toEqual({});
        expect(await moveSnapshot.execute(content, backup, site.context)).toEqual({});
      }
      expect(site.logged).toEqual([]);
    });

    test('is moved where OADP’s DataProtectionApplication says so', async () => {
      await site.cluster.apply(OADP_CRD);
      await site.cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
      await another();
      await site.cluster.apply({
        ...{ apiVersion: 'oadp.openshift.io/v1alpha1', kind: 'DataProtectionApplication' },
        metadata: { name: 'dpa', namespace: site.velero },
        spec: { features: { dataMover: { enable: true } } },
      });
      const backup = backupOf(site.velero, 'b');
      const { content } = await snapshotOf(backup);
      expect(await moveSnapshot.execute(content, backup, site.context)).toHaveProperty('operationID');
    });

    test('makes one VolumeSnapshotBackup, also when asked again', async () => {
      await another({});
      const backup = backupOf(site.velero, 'n'.repeat(80));
      const { content } = await snapshotOf(backup);
      const first = await moveSnapshot.execute(content, backup, site.context);
      expect(await moveSnapshot.execute(content, backup, site.context)).toEqual(first);
      const [namespace, name = ''] = first.operationID?.split('/') ?? [];
      expect(namespace).toBe(site.application);
      expect(first.postOperationItems).toEqual([
        { group: 'datamover.oadp.openshift.io', resource: 'volumesnapshotbackups', namespace, name },
      ]);
      const made = await find(first.operationID);
      expect(made?.metadata.labels).toMatchObject({
        'velero.io/backup-name': expect.stringMatching(/^n{57}[0-9a-f]{6}$/),
        'velero.io/backup-uid': backup.metadata.uid,
        'datamover.io/vsb-volumesnapshotcontent': content.metadata.name,
      });
      expect(made?.spec.resticSecretRef).toEqual({ name: 'default-volsync-restic' });
    });

    test('moves nothing while the Velero that asks does not know the kind of the record', async () => {
      await another({});
      const backup = backupOf(site.velero, 'b');
      const { content } = await snapshotOf(backup);
      const since = (milliseconds: number) => ({
        ...site.context,
        hostStarted: new Date(Date.now() - milliseconds),
      });
      // The kinds were installed some seconds ago.
      for (const action of [moveSnapshot, moveSnapshotV1])
        expect(await action.execute(content, backup, since(3_600_000))).toEqual({});
      expect(site.logged).toEqual([
        expect.stringMatching(/^error: .*does not know the kind volumesnapshotbackups.*start Velero again/),
        expect.stringMatching(/^error: .*does not know the kind volumesnapshotbackups.*start Velero again/),
      ]);
      expect(await moveSnapshot.execute(content, backup, since(0))).toHaveProperty('operationID');
    });

    test('starts nothing for other backups, for moves by Velero itself, or while it finalizes', async () => {
      await another({});
      const backup = backupOf(site.velero, 'b');
      const { content } = await snapshotOf(backup);
      const others = [
        backupOf(site.velero, 'other'),
        backupOf(site.velero, 'b', { spec: { snapshotMoveData: true } }),
        backupOf(site.velero, 'b', { phase: 'Finalizing' }),
        backupOf(site.velero, 'b', { phase: 'FinalizingPartiallyFailed' }),
      ];
      for (const other of others)
        expect(await moveSnapshot.execute(content, other, site.context)).toEqual({});
    });

    test('goes where its claim’s class says, or the settings, and stays away from other movers', async () => {
      await another({ resticSecret: 'mine' });
      const made = (name: string, spec: object) => ({
        ...{ apiVersion: 'datamover.io/v1alpha1', kind: 'DataMoverClass', metadata: { name }, spec },
      });
      await site.cluster.apply(
        made('gold', {
          mover: 'datamover.io',
          backupTarget: 'vault',
          selector: { matchLabels: { tier: 'gold' } },
        }),
        made('other', { mover: 'other.io', selector: { matchLabels: { tier: 'other' } } }),
        made('usual', { mover: 'datamover.io', default: true }),
      );
      const backup = backupOf(site.velero, 'b');
      const specFor = async (metadata: object) => {
        const { content } = await snapshotOf(backup, metadata);
        const { operationID } = await moveSnapshot.execute(content, backup, site.context);
        return operationID === undefined ? undefined : (await find(operationID))?.spec;
      };
      expect(await specFor({ labels: { tier: 'gold' } })).toMatchObject({
        backupTarget: 'vault',
        dataMoverClass: 'gold',
      });
      expect(await specFor({ annotations: { 'datamover.io/class': 'gold' } })).toMatchObject({
        dataMoverClass: 'gold',
      });
      expect(await specFor({})).toMatchObject({ resticSecretRef: { name: 'mine' }, dataMoverClass: 'usual' });
      expect(await specFor({ labels: { tier: 'other' } })).toBeUndefined();
      expect(site.logged.filter((line) => !line.startsWith('info:'))).toEqual([]);
      expect(await specFor({ annotations: { 'datamover.io/class': 'gone' } })).toBeUndefined();
      expect(site.logged.at(-1)).toMatch(
        /^error: the snapshot stays .*: move VolumeSnapshot .* DataMoverClass gone .* does not exist$/,
      );
      await site.cluster.kubectl(['delete', 'datamoverclass', '--all']);
    });

    test('with wrong settings says so, and goes on', async () => {
      await another({ target: 'x' });
      const backup = backupOf(site.velero, 'b');
      const { content } = await snapshotOf(backup);
      expect(await moveSnapshot.execute(content, backup, site.context)).toEqual({});
      expect(site.logged).toEqual([expect.stringMatching(/^error: .*"target" is none of its keys/)]);
    });
  });

  describe('progress', () => {
    let operationID: string;
    const backup = backupOf('velero', 'b');
    beforeAll(async () => {
      await another({});
      const of = backupOf(site.velero, 'b');
      const outcome = await moveSnapshot.execute((await snapshotOf(of)).content, of, site.context);
      operationID = outcome.operationID ?? '';
    });

    test('follows phase and bytes; cancel is the spec’s', async () => {
      const ask = () => moveSnapshot.progress(operationID, backup, site.context);
      expect(await ask()).toEqual({ state: 'running', description: 'New', done: 0, total: 0 });
      await report(operationID, { phase: 'InProgress', batchingStatus: 'Queued' });
      expect(await ask()).toMatchObject({ state: 'running', description: 'InProgress, Queued' });
      const startTimestamp = '2026-01-02T03:04:05Z';
      await report(operationID, {
        ...{ batchingStatus: 'Processing', startTimestamp, progress: { totalBytes: 5e12, bytesDone: 3 } },
      });
      const started = new Date(startTimestamp);
      expect(await ask()).toEqual({
        state: 'running',
        description: 'InProgress',
        done: 3,
        total: 5e12,
        started,
      });
      await moveSnapshot.cancel(operationID, backup, site.context);
      await moveSnapshot.cancel(operationID, backup, site.context);
      expect((await find(operationID))?.spec.cancel).toBe(true);
      await report(operationID, { phase: 'Canceled' });
      expect(await ask()).toEqual({
        ...{ state: 'failed', message: `VolumeSnapshotBackup ${operationID} was canceled` },
      });
    });

    test('of what is gone is a failure; of what is no operation of ours an error', async () => {
      const gone = `${site.application}/none`;
      expect(await moveSnapshot.progress(gone, backup, site.context)).toEqual({
        ...{ state: 'failed', message: `VolumeSnapshotBackup ${gone} is gone` },
      });
      await moveSnapshot.cancel(gone, backup, site.context);
      for (const wrong of ['', 'a', 'a/b/c', '/a'])
        await expect(moveSnapshot.progress(wrong, backup, site.context)).rejects.toThrow(
          'is no operation of this plugin',
        );
    });
  });

  describe('records and marks', () => {
    test('a completed move marks claim, snapshot and content; a failed one the claim alone', async () => {
      await another({});
      const backup = backupOf(site.velero, 'b');
      const { claim, snapshot, content } = await snapshotOf(backup);
      const { operationID = '' } = await moveSnapshot.execute(content, backup, site.context);
      const name = operationID.split('/')[1];
      const mark = async (item: KubernetesItem) =>
        annotationsOf((await markMoved.execute(item, backup, site.context)).item)['datamover.io/moved-by'];
      expect(await mark(claim)).toBe(name);
      expect(await mark(snapshot)).toBeUndefined();
      await report(operationID, completed);
      for (const item of [claim, snapshot, content]) expect(await mark(item)).toBe(name);
    });

    test('what a live object says in the plugin’s words is not believed', async () => {
      const forged = {
        ...{ 'datamover.io/moved-by': 'vsb-of-others', 'datamover.io/snapshot-id': 'f0'.repeat(32) },
        ...{ 'datamover.io/source-namespace': 'victim', 'datamover.io/source-pvc-name': 'db' },
        ...{
          'datamover.io/restic-repository': 's3:https://h/b/victim',
          'datamover.io/backup-target': 'main',
        },
      };
      const forge = (item: KubernetesItem): KubernetesItem => ({
        ...item,
        metadata: { ...item.metadata, annotations: { ...item.metadata.annotations, ...forged } },
      });
      const marks = async (item: KubernetesItem, of: VeleroBackup) => {
        const { item: said = forge(item) } = await markMoved.execute(forge(item), of, site.context);
        return Object.keys(annotationsOf(said)).filter((key) => key in forged);
      };
      await another();
      const backup = backupOf(site.velero, 'b');
      const { claim, snapshot, content } = await snapshotOf(backup);
      const elsewhere = [
        backupOf(site.velero, 'other'),
        backupOf(site.velero, 'b', { spec: { snapshotMoveData: true } }),
      ];
      for (const of of [backup, ...elsewhere])
        for (const item of [claim, snapshot, content]) expect(await marks(item, of)).toEqual([]);
      await another({});
      expect(await marks(claim, backup)).toEqual([]);
      const { operationID = '' } = await moveSnapshot.execute(content, backup, site.context);
      const { item } = await markMoved.execute(forge(claim), backup, site.context);
      expect(annotationsOf(item)).toEqual({
        ...annotationsOf(claim),
        'datamover.io/moved-by': operationID.split('/')[1],
      });
      await another({ strange: 'x' });
      expect(await marks(claim, backup)).toEqual([]);
    });

    test('what a restore needs goes into annotations; other transfers stay out of the backup', async () => {
      const backup = backupOf(site.velero, 'b');
      const record = {
        ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind: 'VolumeSnapshotBackup' },
        metadata: {
          ...{ name: 'v', namespace: 'shop' },
          labels: { 'velero.io/backup-name': 'b', 'velero.io/backup-uid': backup.metadata.uid ?? '' },
        },
        ...{ spec: { backupTarget: 'vault' }, status: { ...completed, volumeSnapshotClassName: 'csi' } },
      };
      const outcome = await transferRecord.execute(record, backup, site.context);
      expect(annotationsOf(outcome.item)).toEqual({
        ...{ 'datamover.io/restic-repository': 's3:https://h/b/shop', 'datamover.io/snapshot-id': SNAPSHOT },
        ...{ 'datamover.io/source-pvc-name': 'db', 'datamover.io/source-pvc-size': '1Gi' },
        ...{ 'datamover.io/source-pvc-volumesnapshotclass': 'csi', 'datamover.io/source-namespace': 'shop' },
        'datamover.io/backup-target': 'vault',
      });
      const others = [
        { ...record, metadata: { ...record.metadata, labels: { 'velero.io/backup-name': 'other' } } },
        {
          ...record,
          metadata: {
            ...record.metadata,
            labels: { 'velero.io/backup-name': 'b', 'velero.io/backup-uid': 'x' },
          },
        },
        { ...record, metadata: { ...record.metadata, labels: { 'velero.io/backup-name': 'b' } } },
        { ...record, kind: 'VolumeSnapshotRestore' },
      ];
      for (const other of others) {
        const { item } = await transferRecord.execute(other, backup, site.context);
        expect(annotationsOf(item)).toEqual({ 'velero.io/skip-from-backup': 'true' });
      }
      // One that has no data yet says nothing of data.
      const annotations = { 'datamover.io/snapshot-id': SNAPSHOT, 'datamover.io/moved-by': 'v', kept: 'yes' };
      const empty = { ...record, metadata: { ...record.metadata, annotations }, status: {} };
      expect(annotationsOf((await transferRecord.execute(empty, backup, site.context)).item)).toEqual({
        ...{ 'datamover.io/source-namespace': 'shop', 'datamover.io/backup-target': 'vault', kept: 'yes' },
      });
      const moving = backupOf(site.velero, 'b', { spec: { snapshotMoveData: true } });
      const { item } = await transferRecord.execute(record, moving, site.context);
      expect(annotationsOf(item)).toEqual({ 'velero.io/skip-from-backup': 'true' });
    });
  });

  describe('a restore', () => {
    const record = (): KubernetesItem => ({
      ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind: 'VolumeSnapshotBackup' },
      metadata: {
        ...{ name: 'vsb-1', namespace: 'shop' },
        annotations: {
          ...{ 'datamover.io/snapshot-id': SNAPSHOT, 'datamover.io/source-pvc-name': 'db' },
          // Not believed: the record lies in the namespace that was backed up.
          ...{ 'datamover.io/source-namespace': 'victim', 'datamover.io/backup-target': 'vault' },
        },
      },
      spec: {},
    });
    const archived = (annotations: Record<string, string>): KubernetesItem => ({
      ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim' },
      metadata: { name: 'db', namespace: 'shop', annotations },
      spec: { dataSource: { kind: 'VolumeSnapshot', name: 'x' }, volumeName: 'pv', storageClassName: 'slow' },
    });
    const mapped = (spec: object = {}) =>
      restoreOf(site.velero, 'r', { backupName: 'b', namespaceMapping: { shop: site.application }, ...spec });

    test('makes one VolumeSnapshotRestore of a record, and never the record itself', async () => {
      await another({});
      const restore = mapped();
      const input = { item: record(), itemFromBackup: record(), restore };
      const first = await restoreVolume.execute(input, site.context);
      expect(first.skipRestore).toBe(true);
      expect(await restoreVolume.execute(input, site.context)).toEqual(first);
      const name = first.operationID?.split('/')[1] ?? '';
      const made = await site.get<KubernetesObject>('vsr', site.application, name);
      expect(made?.spec).toEqual({
        ...{ protectedNamespace: site.velero, backupTarget: 'vault', target: { claimName: 'db' } },
        volumeSnapshotMoverBackupRef: {
          ...{ snapshotID: SNAPSHOT, sourceNamespace: 'shop', sourcePVCData: { name: 'db' } },
        },
      });
      const ask = () => restoreVolume.progress(first.operationID ?? '', restore, site.context);
      expect(await ask()).toMatchObject({ state: 'running', description: 'New' });
      await restoreVolume.cancel(first.operationID ?? '', restore, site.context);
      await report(
        first.operationID ?? '',
        { phase: 'Failed', message: 'restore db: no room; free some' },
        'vsr',
      );
      expect(await ask()).toEqual({ state: 'failed', message: 'restore db: no room; free some' });
    });

    test.each([
      ['of a move that failed', { annotations: {} }, {}],
      ['without its volumes', {}, { restorePVs: false }],
    ])('%s moves nothing', async (_what, metadata, spec) => {
      const itemFromBackup = { ...record(), metadata: { ...record().metadata, ...metadata } };
      const restore = mapped(spec);
      expect(await restoreVolume.execute({ item: record(), itemFromBackup, restore }, site.context)).toEqual({
        skipRestore: true,
      });
    });

    test('without the backup in the cluster says that the repository cannot be found', async () => {
      const annotations = { ...record().metadata.annotations };
      delete annotations['datamover.io/backup-target'];
      const itemFromBackup = { ...record(), metadata: { ...record().metadata, annotations } };
      await expect(
        restoreVolume.execute({ item: record(), itemFromBackup, restore: mapped() }, site.context),
      ).rejects.toThrow(`find the repository: there is no Backup ${site.velero}/b in this cluster`);
    });

    test('has its claims wait for the mover’s volume, without what was said of them before', async () => {
      await another({});
      const marks = { 'datamover.io/moved-by': 'vsb-1', 'datamover.io/restored-by': 'old', kept: 'yes' };
      const input = { item: archived(marks), itemFromBackup: archived(marks), restore: mapped() };
      const { item, additionalItems } = await restoreClaim.execute(input, site.context);
      expect(item?.metadata.annotations).toEqual({ kept: 'yes' });
      expect(item?.['spec']).toEqual({
        storageClassName: 'slow',
        selector: {
          matchLabels: { 'velero.io/dynamic-pv-restore': expect.stringMatching(/\.db\.[0-9a-f]{5}$/) },
        },
      });
      expect(additionalItems).toEqual([
        {
          group: 'datamover.oadp.openshift.io',
          resource: 'volumesnapshotbackups',
          namespace: 'shop',
          name: 'vsb-1',
        },
      ]);
      for (const spec of [
        { excludedResources: ['vsb'] },
        { includedResources: ['pods', 'persistentvolumeclaims'] },
      ])
        await expect(restoreClaim.execute({ ...input, restore: mapped(spec) }, site.context)).rejects.toThrow(
          /include it$/,
        );
    });

    test('leaves claims alone that are not ours, are there already, or have their snapshot', async () => {
      const plain = archived({});
      const restore = mapped();
      expect(
        await restoreClaim.execute({ item: plain, itemFromBackup: plain, restore }, site.context),
      ).toEqual({});
      const marked = archived({ 'datamover.io/moved-by': 'vsb-1' });
      const cleaned = { item: archived({}) };
      await site.cluster.apply({
        ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshot' },
        metadata: { name: 'x', namespace: site.application },
        spec: { source: { volumeSnapshotContentName: 'x' } },
      });
      const input = { item: marked, itemFromBackup: marked, restore };
      expect(await restoreClaim.execute(input, site.context)).toEqual(cleaned);
      await site.cluster.kubectl(['delete', 'volumesnapshot', 'x', `--namespace=${site.application}`]);
      await site.cluster.apply({
        ...{
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: { name: 'db', namespace: site.application },
        },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
      });
      expect(await restoreClaim.execute(input, site.context)).toEqual(cleaned);
      expect(
        await restoreVolume.execute({ item: record(), itemFromBackup: record(), restore }, site.context),
      ).toEqual({ skipRestore: true });
      await site.cluster.kubectl(['delete', 'pvc', 'db', `--namespace=${site.application}`]);
    });

    test('skips moved snapshots and all orders, and nothing else', async () => {
      const item = (kind: string, annotations = {}) => ({
        ...{ apiVersion: 'x/v1', kind, metadata: { name: 'a', annotations } },
      });
      const skipped = async (of: KubernetesItem) =>
        (await skipMoved.execute({ item: of, itemFromBackup: of, restore: mapped() }, site.context))
          .skipRestore;
      for (const kind of ['VolumeSnapshot', 'VolumeSnapshotContent']) {
        expect(await skipped(item(kind, { 'datamover.io/moved-by': 'v' }))).toBe(true);
        expect(await skipped(item(kind))).toBeUndefined();
      }
      expect(await skipped(item('VolumeSnapshotRestore'))).toBe(true);
    });
  });

  describe('version 1', () => {
    const names = async () => (await offeredActions(site.context)).map(({ name }) => name);

    test('is offered in place of version 2 when the ConfigMap says so, never beside it', async () => {
      await another();
      expect(await names()).toContain('datamover.io/move-snapshot');
      expect((await names()).some((name) => name.endsWith('-v1'))).toBe(false);
      await another({ actions: 'v1' });
      expect((await names()).filter((name) => /move-snapshot|restore-(claim|volume)/.test(name))).toEqual([
        'datamover.io/move-snapshot-v1',
        'datamover.io/restore-volume-v1',
        'datamover.io/restore-claim-v1',
      ]);
      await another({ actions: 'v3' });
      expect(await names()).toContain('datamover.io/move-snapshot');
      expect(site.logged.at(-1)).toMatch(/^info: actions of version 2 are offered: .*actions is "v3"/);
    });

    test('waits for the mover, takes the record along, and cancels what takes too long', async () => {
      await another({ timeout: '10s' });
      const backup = backupOf(site.velero, 'b');
      const [quick, slow] = [await snapshotOf(backup), await snapshotOf(backup)];
      const moving = moveSnapshotV1.execute(quick.content, backup, site.context);
      const late = moveSnapshotV1.execute(slow.content, backup, site.context);
      const content = `datamover.io/vsb-volumesnapshotcontent=${quick.content.metadata.name}`;
      let name = '';
      while (name === '')
        name = await site.cluster
          .kubectl([
            ...['get', 'vsb', `--namespace=${site.application}`, `--selector=${content}`],
            '--output=jsonpath={.items[0].metadata.name}',
          ])
          .catch(() => '');
      await report(`${site.application}/${name}`, completed);
      expect((await moving).additionalItems).toMatchObject([{ name }]);
      expect(await late).toEqual({});
      expect(site.logged.at(-1)).toMatch(/^error: .* it took longer than 10 seconds, and is canceled/);
      // The claim's copy says it all, for nothing comes after it in version 1.
      const marked = (await markMoved.execute(quick.claim, backup, site.context)).item;
      expect(annotationsOf(marked)).toMatchObject({ 'datamover.io/snapshot-id': SNAPSHOT });
    }, 60_000);
  });

  test('an API server that is away is "not yet" to progress, and an error to the rest', async () => {
    await another({});
    const backup = backupOf(site.velero, 'b');
    const { content } = await snapshotOf(backup);
    const { operationID = '' } = await moveSnapshot.execute(content, backup, site.context);
    await site.cluster.apiServer.kill();
    await expect(moveSnapshot.progress(operationID, backup, site.context)).rejects.toBeInstanceOf(AskAgain);
    await expect(moveSnapshot.cancel(operationID, backup, site.context)).rejects.toThrow('does not answer');
    expect(site.logged.filter((line) => /^(warn|error)/.test(line))).toEqual([]);
    await site.cluster.apiServer.start();
    expect(await moveSnapshot.progress(operationID, backup, site.context)).toMatchObject({
      state: 'running',
    });
  }, 120_000);
});
