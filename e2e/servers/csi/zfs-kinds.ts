import type { ZFSSnapshot, ZFSVolume } from '../../../api/neighbours/openebs.ts';
import { defineResource } from '../../../datamover/kubernetes/resource.ts';

const where = { group: 'zfs.openebs.io', version: 'v1', namespaced: true };

export const ZFS_VOLUMES = defineResource<ZFSVolume>({ ...where, kind: 'ZFSVolume', plural: 'zfsvolumes' });
export const ZFS_SNAPSHOTS = defineResource<ZFSSnapshot>({
  ...{ ...where, kind: 'ZFSSnapshot', plural: 'zfssnapshots' },
});

const text = { type: 'string' };
const required = { type: 'string', minLength: 1 };
const oneOf = (...values: string[]) => ({ type: 'string', enum: values });

/** With the rules of zfs-localpv 2.6 (deploy/helm/charts/charts/crds of https://github.com/openebs/zfs-localpv). */
const SPEC = {
  type: 'object',
  required: ['capacity', 'ownerNodeID', 'poolName', 'volumeType'],
  properties: {
    capacity: required,
    ownerNodeID: required,
    poolName: required,
    volumeType: oneOf('ZVOL', 'DATASET'),
    snapname: text,
    fsType: text,
    recordsize: required,
    volblocksize: required,
    compression: text,
    dedup: oneOf('on', 'off'),
    encryption: text,
    keyformat: oneOf('passphrase', 'raw', 'hex'),
    keylocation: text,
    quotaType: oneOf('quota', 'refquota'),
    shared: oneOf('yes', 'no'),
    thinProvision: oneOf('yes', 'no'),
  },
};

/** The CustomResourceDefinitions of the kinds that the double keeps. They have no status of their own address. */
export function zfsCrds(): object[] {
  const status = { type: 'object', properties: { state: oneOf('Pending', 'Ready', 'Failed') } };
  return [ZFS_VOLUMES, ZFS_SNAPSHOTS].map(({ group, version, kind, plural }) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          ...{ name: version, served: true, storage: true },
          schema: {
            openAPIV3Schema: {
              type: 'object',
              required: kind === 'ZFSSnapshot' ? ['spec', 'status'] : ['spec'],
              properties: { spec: SPEC, status },
            },
          },
        },
      ],
    },
  }));
}
