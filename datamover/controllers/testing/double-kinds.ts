/**
 * Kinds of neighbours, for clusters of tests without the neighbour: everything is accepted in them. Doubles, for the controller reads
 * and writes these objects as they are and their own controllers have no part in it.
 */
const KINDS: readonly (readonly [group: string, version: string, kind: string])[] = [
  ['zfs.openebs.io', 'v1', 'ZFSVolume'],
  ['zfs.openebs.io', 'v1', 'ZFSSnapshot'],
  ['velero.io', 'v1', 'Backup'],
  ['velero.io', 'v1', 'Restore'],
  ['velero.io', 'v1', 'BackupStorageLocation'],
  ['velero.io', 'v2alpha1', 'DataUpload'],
  ['velero.io', 'v2alpha1', 'DataDownload'],
];

export const DOUBLE_CRDS: readonly object[] = KINDS.map(([group, version, kind]) => {
  const singular = kind.toLowerCase();
  const plural = `${singular}s`;
  const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      ...{ group, scope: 'Namespaced', names: { kind, plural, singular, listKind: `${kind}List` } },
      versions: [{ name: version, served: true, storage: true, schema: { openAPIV3Schema: open } }],
    },
  };
});

export const DOUBLE_CRD_NAMES = KINDS.map(([group, , kind]) => `crd/${kind.toLowerCase()}s.${group}`);
