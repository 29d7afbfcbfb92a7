{{- /* What the controller may do in single namespaces: each becomes one Role there (controller-roles.yaml). */ -}}
{{- define "datamover.rules.mover" }}
- apiGroups: ['']
  resources: [secrets]
  verbs: [get, create, patch, delete]
- apiGroups: ['']
  resources: [configmaps]
  verbs: [get]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, update, delete]
{{- end }}
{{- define "datamover.rules.protected" }}
- apiGroups: ['']
  resources: [secrets]
  verbs: [get]
- apiGroups: [datamover.io]
  resources: [backuptargets]
  verbs: [get, list, watch]
- apiGroups: [datamover.io]
  resources: [backuptargets/status]
  verbs: [get, patch]
- apiGroups: [datamover.io]
  resources: [snapshotdeleterequests]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [datamover.io]
  resources: [snapshotdeleterequests/status]
  verbs: [get, patch]
- apiGroups: [velero.io]
  resources: [backups, restores, backupstoragelocations]
  verbs: [get, list]
- apiGroups: [oadp.openshift.io]
  resources: [dataprotectionapplications]
  verbs: [get, list]
{{- end }}
{{- define "datamover.rules.velero" }}
- apiGroups: [velero.io]
  resources: [backups, restores, backupstoragelocations]
  verbs: [get, list]
- apiGroups: [velero.io]
  resources: [datauploads, datadownloads]
  verbs: [get, list, watch, update, patch]
- apiGroups: [velero.io]
  resources: [datauploads/status, datadownloads/status]
  verbs: [get, update, patch]
{{- end }}
{{- define "datamover.rules.zfs" }}
- apiGroups: [zfs.openebs.io]
  resources: [zfsvolumes, zfssnapshots]
  verbs: [get, list]
{{- end }}
{{- define "datamover.rules.config" }}
- apiGroups: ['']
  resources: [configmaps]
  verbs: [get]
{{- end }}
{{- define "datamover.rules.secrets" }}
- apiGroups: ['']
  resources: [secrets]
  verbs: [get]
{{- end }}
