{{- define "attune.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "attune.labels" -}}
app.kubernetes.io/name: attune
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What selects the pods of one part: (list $ "part") */}}
{{- define "attune.selector" -}}
app.kubernetes.io/name: attune
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "attune.claim" -}}
{{- .Values.home.existingClaim | default (printf "%s-home" (include "attune.name" .)) -}}
{{- end }}

{{/* Of every pod: who it runs as, and where. With a volume for one node, where the others are. */}}
{{- define "attune.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.home.accessMode "ReadWriteOnce" }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            app.kubernetes.io/name: attune
            app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
volumes:
  - name: home
    persistentVolumeClaim: {claimName: {{ include "attune.claim" . }}}
  - {name: scratch, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
{{- end }}

{{/* Of every container: image, environment, volumes; its file system is not written but there. */}}
{{- define "attune.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: home, mountPath: /var/lib/attune}
  - {name: scratch, mountPath: /tmp}
  - {name: memory, mountPath: /dev/shm}
env:
  - {name: ATTUNE_HOME, value: /var/lib/attune}
  - {name: ATTUNE_PROFILE, value: {{ .Values.profile }}}
  - {name: ATTUNE_ACCESS_LOG, value: json}
  - {name: NUMBA_CACHE_DIR, value: /var/lib/attune/kernels} # compiled once, not by each pod
  {{- range $name, $value := .Values.settings }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
{{- with .Values.existingSecret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}
