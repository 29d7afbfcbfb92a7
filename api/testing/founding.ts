/**
 * The two objects of OADP's data mover design (datamover.md of 2022, "Data Mover CRD"), field by field, with a value for each of its
 * placeholders.
 */
export const FOUNDING_BACKUP = {
  apiVersion: 'datamover.oadp.openshift.io/v1alpha1',
  kind: 'VolumeSnapshotBackup',
  metadata: {
    annotations: {
      'datamover.io/restic-repository': 's3:s3.amazonaws.com/bucket/openshift-adp/backup-1/snapcontent-1-pvc',
      'datamover.io/source-pvc-name': 'mysql',
      'datamover.io/source-pvc-size': '10Gi',
      'datamover.io/source-pvc-storageclass': 'gp2-csi',
      'datamover.io/source-pvc-volumesnapshotclass': 'csi-snapclass',
    },
    labels: { 'velero.io/backup-name': 'backup-1' },
    name: 'vsb-founding',
  },
  spec: {
    protectedNamespace: 'openshift-adp',
    resticSecretRef: { name: 'default-volsync-restic' },
    volumeSnapshotContent: { name: 'snapcontent-1' },
  },
  status: {
    phase: 'SnapshotBackupDone',
    resticrepository: 's3:s3.amazonaws.com/bucket/openshift-adp/backup-1/snapcontent-1-pvc',
    sourcePVCData: { name: 'mysql', size: '10Gi', storageClassName: 'gp2-csi' },
    volumeSnapshotClassName: 'csi-snapclass',
  },
};

export const FOUNDING_RESTORE = {
  apiVersion: 'datamover.oadp.openshift.io/v1alpha1',
  kind: 'VolumeSnapshotRestore',
  metadata: { labels: { 'velero.io/restore-name': 'restore-1' }, name: 'vsr-founding' },
  spec: {
    protectedNamespace: 'openshift-adp',
    resticSecretRef: { name: 'default-volsync-restic' },
    volumeSnapshotMoverBackupRef: {
      resticrepository: 's3:s3.amazonaws.com/bucket/openshift-adp/backup-1/snapcontent-1-pvc',
      sourcePVCData: { name: 'mysql', size: '10Gi' },
    },
  },
  status: { phase: 'SnapshotRestoreDone', snapshotHandle: 'snap-0123456789abcdef0' },
};
