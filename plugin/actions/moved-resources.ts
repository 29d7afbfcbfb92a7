import type { ResourceIdentifier } from './contract.ts';

/** What Velero's selectors call the resources that the actions are about. */
export const CLAIMS = 'persistentvolumeclaims';
export const SNAPSHOTS = 'volumesnapshots.snapshot.storage.k8s.io';
export const CONTENTS = 'volumesnapshotcontents.snapshot.storage.k8s.io';
export const BACKUPS = 'volumesnapshotbackups.datamover.oadp.openshift.io';
export const RESTORES = 'volumesnapshotrestores.datamover.oadp.openshift.io';
export const DATA_UPLOADS = 'datauploads.velero.io';

/** A VolumeSnapshotBackup for Velero's lists of items. */
export function identify({
  metadata: { namespace = '', name = '' },
}: {
  readonly metadata: { readonly namespace?: string; readonly name?: string };
}): ResourceIdentifier {
  return { group: 'datamover.oadp.openshift.io', resource: 'volumesnapshotbackups', namespace, name };
}
