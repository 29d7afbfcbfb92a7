import { describe, expect, it } from '@jest/globals';
import { findCephCluster } from './ceph-csi-config.ts';
import { decodeCephCsiHandle } from './ceph-csi-handle.ts';
import { storageOf } from './csi-driver.ts';
import { decodeZfsSnapshotHandle, zfsSnapshotName } from './zfs-localpv-handle.ts';

const UUID = '7b0c9a5e-24f1-11ee-8f3a-0a580a810212';

describe('CSI drivers', () => {
  it.each([
    ['zfs.csi.openebs.io', 'zfs'],
    ['rbd.csi.ceph.com', 'rbd'],
    ['rook-ceph.rbd.csi.ceph.com', 'rbd'],
    ['openshift-storage.rbd.csi.ceph.com', 'rbd'],
    ['cephfs.csi.ceph.com', undefined],
    ['myrbd.csi.ceph.com', undefined],
    ['rbd.csi.ceph.com.example.org', undefined],
    ['local.csi.openebs.io', undefined],
  ])('%s is %s', (name, storage) => expect(storageOf(name)).toBe(storage));
});

describe('handles of ceph-csi', () => {
  it('has the cluster, the pool and the UUID', () => {
    expect(decodeCephCsiHandle(`0001-0009-rook-ceph-0000000000000002-${UUID}`)).toEqual({
      clusterId: 'rook-ceph',
      poolId: 2,
      uuid: UUID,
    });
  });

  it('takes the cluster ID by its length: dashes and hex digits in it mislead nobody', () => {
    const clusterId = '0001-a-0000000000000009-b';
    const handle = `0001-${clusterId.length.toString(16).padStart(4, '0')}-${clusterId}-00000000000000ff-${UUID}`;
    expect(decodeCephCsiHandle(handle)).toEqual({ clusterId, poolId: 255, uuid: UUID });
  });

  it.each([
    ['', 'does not begin with a version'],
    ['pvc-1', 'does not begin with a version'],
    [`0002-0009-rook-ceph-0000000000000002-${UUID}`, 'its version is 0002'],
    [`0001-0008-rook-ceph-0000000000000002-${UUID}`, 'no pool and UUID follow'],
    [`0001-ffff-rook-ceph-0000000000000002-${UUID}`, 'no pool and UUID follow'],
    [`0001-0009-rook-ceph-2-${UUID}`, 'no pool and UUID follow'],
    [`0001-0009-rook-ceph-0000000000000002-${UUID}x`, 'no pool and UUID follow'],
    [`0001-0009-rook-ceph-0000000000000002-${UUID.toUpperCase()}`, 'no pool and UUID follow'],
    [`0001-0004---id-0000000000000002-${UUID}`, 'its cluster ID is "--id"'],
    [`0001-0000--0000000000000002-${UUID}`, 'its cluster ID is ""'],
    [`0001-0009-rook-ceph-ffffffffffffffff-${UUID}`, 'out of range'],
    ['0'.repeat(200), 'longer than 128'],
  ])('refuses %j: %s', (handle, cause) => expect(() => decodeCephCsiHandle(handle)).toThrow(cause));
});

describe('the configuration of ceph-csi', () => {
  const config = JSON.stringify([
    { clusterID: 'a', monitors: ['10.0.0.1:6789', 'v2:[fd00::1]:3300', 'mon-c'] },
    { clusterID: 'b', monitors: ['10.0.0.2'], rbd: { radosNamespace: 'tenant' } },
    { clusterID: 'old', monitors: ['10.0.0.3'], radosNamespace: 'before' },
    { clusterID: 'silent', monitors: [] },
    { clusterID: 'odd', monitors: ['10.0.0.1 --conf=/etc/shadow'] },
    { clusterID: 'named', monitors: ['10.0.0.1'], rbd: { radosNamespace: '--id' } },
  ]);

  it('has the monitors and the namespace of a cluster', () => {
    expect(findCephCluster(config, 'a')).toEqual({
      monitors: ['10.0.0.1:6789', 'v2:[fd00::1]:3300', 'mon-c'],
    });
    expect(findCephCluster(config, 'b')).toEqual({ monitors: ['10.0.0.2'], radosNamespace: 'tenant' });
    expect(findCephCluster(config, 'old')).toEqual({ monitors: ['10.0.0.3'], radosNamespace: 'before' });
  });

  it.each([
    ['c', 'it knows no cluster "c"'],
    ['silent', 'cluster silent has no monitors'],
    ['odd', 'a monitor is "10.0.0.1 --conf=/etc/shadow"'],
    ['named', 'the radosNamespace of cluster named is "--id"'],
  ])('refuses cluster %s: %s', (cluster, cause) =>
    expect(() => findCephCluster(config, cluster)).toThrow(cause),
  );

  it('refuses what is no list of clusters', () => {
    expect(() => findCephCluster('{}', 'a')).toThrow('it is no list of clusters');
    expect(() => findCephCluster('[', 'a')).toThrow('read the configuration of ceph-csi');
    expect(() => findCephCluster('[null]', 'a')).toThrow('it knows no cluster');
  });
});

describe('handles of zfs-localpv', () => {
  it('leads to the name that zfs knows', () => {
    const handle = decodeZfsSnapshotHandle('pvc-73402f6e@snapshot-0b6e');
    expect(handle).toEqual({ volume: 'pvc-73402f6e', snapshot: 'snapshot-0b6e' });
    expect(zfsSnapshotName('zfspv-pool/nodes', handle)).toBe('zfspv-pool/nodes/pvc-73402f6e@snapshot-0b6e');
  });

  it.each([
    '',
    'pvc-1',
    'pvc-1@',
    '@snap',
    'pvc-1@a@b',
    '-pvc@a',
    'tank/pvc@a',
    'pvc@a/b',
    'PVC@a',
    'pvc@a b',
  ])('refuses %j', (handle) =>
    expect(() => decodeZfsSnapshotHandle(handle)).toThrow('not of the form VOLUME@SNAPSHOT'),
  );

  it.each(['', '-tank', '/tank', 'tank/', 'tank//a', 'tank/-a', 'ta nk', 'tank@a'])(
    'refuses pool %j',
    (pool) =>
      expect(() => zfsSnapshotName(pool, { volume: 'v', snapshot: 's' })).toThrow('no pools of that name'),
  );
});
