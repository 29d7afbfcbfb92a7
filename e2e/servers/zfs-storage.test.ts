import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { boundVolume, claim, readySnapshot, snapshotOf } from './claims.ts';
import { describePeers } from './describe-peers.ts';
import { startOpenZfs, type OpenZfs } from './openzfs.ts';
import { startStorageCluster, ZFS_STORAGE_PEERS, type StorageCluster } from './storage-cluster.ts';
import { addZfsStorage, type ZfsStorage } from './zfs-storage.ts';

describePeers(ZFS_STORAGE_PEERS, 'a cluster with OpenEBS ZFS', () => {
  let machine: OpenZfs;
  let cluster: StorageCluster;
  let zfs: ZfsStorage;
  let namespace: string;

  beforeAll(async () => {
    [machine, cluster] = await Promise.all([startOpenZfs(), startStorageCluster()]);
    zfs = await addZfsStorage(cluster, machine);
    namespace = await cluster.makeNamespace();
  }, 300_000);
  afterAll(async () => {
    await zfs.stop();
    await cluster.stop();
    await machine.stop();
  });

  const make = (name: string, more: { size?: string; snapshot?: string; storageClass?: string } = {}) =>
    cluster.apply(claim({ namespace, name, storageClass: zfs.storageClass, size: '8Mi', ...more }));
  const datasets = async () => (await machine.zfs('list', '-Hro', 'name', zfs.poolName)).trim().split('\n');

  test('a claim gets a zvol on a node, and a ZFSVolume that says so', async () => {
    await make('data');
    const { metadata, spec } = await boundVolume(cluster, namespace, 'data');
    expect(spec.csi).toMatchObject({ driver: 'zfs.csi.openebs.io', volumeHandle: metadata.name });
    expect(JSON.stringify(spec.nodeAffinity)).toContain('openebs.io/nodeid');
    expect(await datasets()).toContain(`${zfs.poolName}/${metadata.name}`);
    const volume = ['get', 'zfsvolume', metadata.name, '--namespace', zfs.namespace];
    expect(await cluster.kubectl([...volume, '--output=jsonpath={.spec.volumeType} {.status.state}'])).toBe(
      'ZVOL Ready',
    );
  }, 180_000);

  test('a claim that waits is made on the selected node', async () => {
    await make('waiting', { storageClass: zfs.waitingStorageClass });
    const note = 'volume.kubernetes.io/selected-node=node-b';
    await cluster.kubectl(['annotate', 'pvc', 'waiting', note, '--namespace', namespace]);
    const { spec } = await boundVolume(cluster, namespace, 'waiting');
    expect(JSON.stringify(spec.nodeAffinity)).toContain('node-b');
  }, 180_000);

  test('a snapshot becomes a clone of the same size alone, and all of it goes again', async () => {
    await zfs.write(namespace, 'data', 1, randomBytes(1_000_000));
    const before = await zfs.digest(namespace, 'data');
    await cluster.apply(
      snapshotOf({ namespace, name: 'first', claim: 'data', snapshotClass: zfs.snapshotClass }),
    );
    const handle = await readySnapshot(cluster, namespace, 'first');
    expect(handle).toMatch(/^pvc-[0-9a-f-]{36}@snapshot-[0-9a-f-]{36}$/);
    await zfs.write(namespace, 'data', 0, randomBytes(5000));
    await make('same', { snapshot: 'first' });
    expect(await zfs.digest(namespace, 'same')).toBe(before);
    await make('larger', { snapshot: 'first', size: '16Mi' });
    await until(
      async () =>
        (await cluster.kubectl(['get', 'events', '-n', namespace])).includes('size is not matching'),
      () => 'no event says that a clone must have the size of its snapshot',
    );

    await cluster.kubectl(['delete', 'pvc', '--all', '--namespace', namespace]);
    await cluster.kubectl(['delete', 'volumesnapshot', 'first', '--namespace', namespace]);
    await until(
      async () => (await datasets()).length === 1,
      () => `datasets are left over: ${zfs.node.failures.join('; ')}`,
      180_000,
    );
  }, 400_000);
});
