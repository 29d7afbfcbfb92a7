import { describe, expect, it } from '@jest/globals';
import type { Stored } from '../../kubernetes/object.ts';
import type { PersistentVolumeClaim } from '../../kubernetes/storage-resources.ts';
import type { VolumeSnapshotClass } from '../../../api/neighbours/snapshot.ts';
import { chooseSnapshotClass } from './helper-snapshot.ts';
import { helperClaim, wishFor, type Restore } from './helper.ts';
import { Mapping } from './mapping.ts';

const MAPPING = new Mapping(
  new Map([
    ['storageclass.old-zfs', 'new-zfs\n'],
    ['node.old-node', 'new-node'],
  ]),
);

function restore(target?: Restore['spec']['target'], claim: object = {}): Restore {
  return {
    ...{ apiVersion: 'v1', kind: 'VolumeSnapshotRestore' },
    metadata: { name: 'one', namespace: 'shop', uid: 'u-1', resourceVersion: '1' },
    spec: {
      ...{ protectedNamespace: 'velero', backupTarget: 'main', ...(target && { target }) },
      volumeSnapshotMoverBackupRef: {
        sourcePVCData: {
          name: 'db',
          size: '2Gi',
          storageClassName: 'old-zfs',
          volumeMode: 'Block',
          ...claim,
        },
      },
    },
  };
}

describe('what a restore into another cluster asks for', () => {
  it('has the class and the node that the mapping names, else those of the backup', () => {
    expect(wishFor(restore({ node: 'old-node' }), undefined, MAPPING)).toEqual({
      ...{ storageClass: 'new-zfs', size: '2Gi', accessModes: ['ReadWriteOnce'], volumeMode: 'Block' },
      node: 'new-node',
    });
    expect(
      wishFor(restore({ node: 'other' }, { storageClassName: 'rbd' }), undefined, MAPPING),
    ).toMatchObject({
      ...{ storageClass: 'rbd', node: 'other' },
    });
  });

  it('takes what the object says before the mapping, and what the claim says before both', () => {
    const said = restore({ storageClassName: 'mine', size: '3Gi' });
    expect(wishFor(said, undefined, MAPPING)).toMatchObject({ storageClass: 'mine', size: '3Gi' });
    const claim: Stored<PersistentVolumeClaim> = {
      ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim' },
      metadata: { name: 'db', namespace: 'shop', uid: 'c', resourceVersion: '1' },
      spec: {
        storageClassName: 'claimed',
        volumeMode: 'Filesystem',
        resources: { requests: { storage: '4Gi' } },
      },
    };
    expect(wishFor(said, claim, MAPPING)).toMatchObject({
      ...{ storageClass: 'claimed', size: '4Gi', volumeMode: 'Filesystem' },
    });
  });

  it('says what is missing, and refuses what is too small', () => {
    expect(() => wishFor(restore({}, { storageClassName: undefined }), undefined, MAPPING)).toThrow(
      'the storage class is not known (give target.storageClassName)',
    );
    expect(() => wishFor(restore({ size: '1Gi' }), undefined, MAPPING)).toThrow(
      '1Gi is too small for a backup of 2Gi',
    );
  });

  it('takes the class of the backup for a snapshot, else a default one, however many there are', () => {
    const snapshotClass = (name: string, isDefault: boolean, driver = 'rbd'): VolumeSnapshotClass => ({
      ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotClass', driver },
      deletionPolicy: 'Delete',
      metadata: {
        name,
        annotations: { 'snapshot.storage.kubernetes.io/is-default-class': String(isDefault) },
      },
    });
    const classes = [
      ...[snapshotClass('c', true), snapshotClass('b', true), snapshotClass('a', false)],
      snapshotClass('theirs', true, 'zfs'),
    ];
    expect(chooseSnapshotClass(classes, 'rbd', 'a')).toBe('a');
    expect(chooseSnapshotClass(classes, 'rbd', 'gone')).toBe('b');
    expect(chooseSnapshotClass(classes, 'rbd', 'theirs')).toBe('b');
    expect(chooseSnapshotClass(classes, 'lvm', undefined)).toBeUndefined();
  });

  it('a helper of a block volume is one, on the mapped node where its class waits for a consumer', () => {
    const object = restore({ node: 'old-node' });
    const wish = wishFor(object, undefined, MAPPING);
    const late = {
      ...{ metadata: { name: 'new-zfs' }, provisioner: 'zfs.csi.openebs.io' },
      volumeBindingMode: 'WaitForFirstConsumer',
    } as const;
    expect(helperClaim(object, wish, late, [], 'zfs')).toMatchObject({
      metadata: { namespace: 'shop', annotations: { 'volume.kubernetes.io/selected-node': 'new-node' } },
      spec: { volumeMode: 'Block', storageClassName: 'new-zfs', resources: { requests: { storage: '2Gi' } } },
    });
  });
});
