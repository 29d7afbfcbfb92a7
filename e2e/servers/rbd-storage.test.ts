import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { startCeph, type CephCluster } from './ceph.ts';
import { boundVolume, claim, readySnapshot, snapshotOf } from './claims.ts';
import { describePeers } from './describe-peers.ts';
import { addRbdStorage, type RbdStorage } from './rbd-storage.ts';
import { RBD_STORAGE_PEERS, startStorageCluster, type StorageCluster } from './storage-cluster.ts';

describePeers(RBD_STORAGE_PEERS, 'a cluster with Ceph RBD', () => {
  let ceph: CephCluster;
  let cluster: StorageCluster;
  let rbd: RbdStorage;
  let namespace: string;

  beforeAll(async () => {
    [ceph, cluster] = await Promise.all([startCeph(), startStorageCluster()]);
    rbd = await addRbdStorage(cluster, ceph);
    namespace = await cluster.makeNamespace();
  }, 300_000);
  afterAll(async () => {
    await rbd.stop();
    await cluster.stop();
    await ceph.stop();
  });

  const make = (name: string, more: { size?: string; snapshot?: string } = {}) =>
    cluster.apply(claim({ namespace, name, storageClass: rbd.storageClass, size: '16Mi', ...more }));
  const events = () => cluster.kubectl(['get', 'events', '--namespace', namespace, '--output=wide']);

  test('a claim gets an image, named and written down as ceph-csi does', async () => {
    await make('data');
    const { spec } = await boundVolume(cluster, namespace, 'data');
    const [, uuid] = /^0001-0009-rook-ceph-[0-9a-f]{16}-([0-9a-f-]{36})$/.exec(spec.csi.volumeHandle) ?? [];
    expect(spec.csi).toMatchObject({
      driver: 'rbd.csi.ceph.com',
      volumeAttributes: { clusterID: 'rook-ceph', pool: rbd.pool, imageName: `csi-vol-${uuid}` },
    });
    expect(await rbd.images()).toEqual([`csi-vol-${uuid}`]);
  });

  test('a snapshot becomes a claim with its content, and goes without a trace', async () => {
    await rbd.write(namespace, 'data', 4096, randomBytes(3_000_000));
    const before = await rbd.digest(namespace, 'data');
    await cluster.apply(
      snapshotOf({ namespace, name: 'first', claim: 'data', snapshotClass: rbd.snapshotClass }),
    );
    expect(await readySnapshot(cluster, namespace, 'first')).toMatch(/^0001-0009-rook-ceph-/);
    await rbd.write(namespace, 'data', 0, randomBytes(5000));
    await make('copy', { snapshot: 'first', size: '32Mi' });
    await boundVolume(cluster, namespace, 'copy');
    expect(await rbd.digest(namespace, 'copy')).not.toBe(before);
    await make('same', { snapshot: 'first' });
    expect(await rbd.digest(namespace, 'same')).toBe(before);

    await cluster.kubectl(['delete', 'pvc', '--all', '--namespace', namespace]);
    await cluster.kubectl(['delete', 'volumesnapshot', 'first', '--namespace', namespace]);
    await until(
      async () => (await rbd.images()).length === 0 && (await rbd.trash()).length === 0,
      () => 'images are left over',
    );
  }, 300_000);

  test('a handle that nobody made is found out', async () => {
    const handle = `0001-0009-rook-ceph-${'0'.repeat(16)}-00000000-0000-4000-8000-000000000000`;
    const kind = { apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotContent' };
    await cluster.apply({
      ...{ ...kind, metadata: { name: 'foreign' } },
      spec: {
        ...{ driver: rbd.driver, deletionPolicy: 'Retain', volumeSnapshotClassName: rbd.snapshotClass },
        ...{ source: { snapshotHandle: handle }, volumeSnapshotRef: { namespace, name: 'foreign' } },
      },
    });
    const error = '--for=jsonpath={.status.error.message}';
    await cluster.kubectl(['wait', error, 'volumesnapshotcontent/foreign', '--timeout=90s']);
    await cluster.kubectl(['delete', 'volumesnapshotcontent', 'foreign']);
  }, 120_000);

  test('a wrong key in the secret is a failure of provisioning', async () => {
    const { namespace: where, name } = rbd.secret;
    const secret = (key: string) => ['patch', 'secret', name, '--namespace', where, '--patch', key];
    const good = await cluster.kubectl([
      'get',
      'secret',
      name,
      '--namespace',
      where,
      '--output=jsonpath={.data.userKey}',
    ]);
    await cluster.kubectl(
      secret('{"data":{"userKey":"QVFBQUFBQUFBQUFBQUJBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE9PQ=="}}'),
    );
    await make('refused');
    await until(
      async () => (await events()).includes('ProvisioningFailed'),
      () => 'no event of a failure',
    );
    await cluster.kubectl(secret(JSON.stringify({ data: { userKey: good } })));
    expect(await rbd.imageOf(namespace, 'refused')).toMatch(/^csi-vol-/);
  }, 300_000);
});
