{{/* Fails the installation with what would be right, where the schema of the values can't tell. */}}
{{- define "holdfast.check" -}}
{{- if and .Values.snapshots.enabled (not .Values.csiController.enabled) }}
{{- fail "snapshots.enabled needs csiController.enabled" }}
{{- end }}
{{- /* There is no cluster to look into when the chart is only rendered. */}}
{{- $namespace := lookup "v1" "Namespace" "" .Release.Namespace | default dict }}
{{- $enforced := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "privileged" $namespace }}
{{- if ne $enforced "privileged" }}
{{- fail (printf "the namespace %s admits %s pods only, and the agents touch their nodes' devices: kubectl label namespace %s pod-security.kubernetes.io/enforce=privileged --overwrite" .Release.Namespace $enforced .Release.Namespace) }}
{{- end }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "holdfast.labels" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Labels by which a program's pods are found. Call: (list $ "operator") */}}
{{- define "holdfast.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image. Call: (list $ .Values.image) */}}
{{- define "holdfast.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* A manifest of files/, which is written for the namespace holdfast-system. Call: (list $ "files/rbac/operator.yaml") */}}
{{- define "holdfast.file" -}}
{{- $root := index . 0 -}}
{{ $root.Files.Get (index . 1) | replace "holdfast-system" $root.Release.Namespace }}
{{- end }}

{{/* What every pod of ours has. Call: (list $ .Values.operator "operator") */}}
{{- define "holdfast.pod" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
serviceAccountName: {{ index . 2 }}
priorityClassName: {{ $values.priorityClassName | quote }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Options that all programs share. */}}
{{- define "holdfast.options" -}}
- --namespace={{ .Release.Namespace }}
- --lease-duration={{ .Values.leaseDuration }}
- --log-level={{ .Values.logLevel }}
{{- end }}

{{/* Probes of a program. Call: (list $host $port) ; no host: the pod's own address */}}
{{- define "holdfast.probes" -}}
# A program that starts slowly on a busy node is not helped by being started again.
startupProbe:
  httpGet: { path: /livez, port: {{ index . 1 }}{{ with index . 0 }}, host: {{ . }}{{ end }} }
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 150
livenessProbe:
  httpGet: { path: /livez, port: {{ index . 1 }}{{ with index . 0 }}, host: {{ . }}{{ end }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: {{ index . 1 }}{{ with index . 0 }}, host: {{ . }}{{ end }} }
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/* A container that needs nothing of its node. */}}
{{- define "holdfast.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}
