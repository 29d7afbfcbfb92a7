{{- define "datamover.labels" -}}
app.kubernetes.io/name: datamover
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "datamover.selector" -}}
app.kubernetes.io/name: datamover
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "datamover.account" -}}
{{- $values := index .root.Values .component -}}
{{ $values.serviceAccount.name | default (printf "datamover-%s" .component) }}
{{- end }}

{{- /* Roles for the whole cluster: two releases must not share one. */ -}}
{{- define "datamover.clusterRole" -}}
{{ printf "datamover-%s-%s" .component .root.Release.Namespace }}
{{- end }}

{{- define "datamover.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- define "datamover.podEnv" -}}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
{{- end }}

{{- define "datamover.flags" -}}
{{- range $name, $value := . }}
- --{{ $name }}={{ $value }}
{{- end }}
{{- end }}
