{{- define "plugin-mirror.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "plugin-mirror.selector" -}}
app: {{ include "plugin-mirror.name" . }}
higress: {{ include "plugin-mirror.name" . }}
{{- end -}}

{{- define "plugin-mirror.labels" -}}
{{ include "plugin-mirror.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "plugin-mirror.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "plugin-mirror.port" -}}
{{- if .Values.service.port -}}{{ .Values.service.port }}{{- else if .Values.tls.secretName -}}443{{- else -}}80{{- end -}}
{{- end -}}

{{- /* The address inside the cluster, without a slash at its end. */ -}}
{{- define "plugin-mirror.url" -}}
{{- $port := include "plugin-mirror.port" . -}}
{{- $scheme := ternary "https" "http" (ne .Values.tls.secretName "") -}}
{{- $usual := ternary "443" "80" (ne .Values.tls.secretName "") -}}
{{ $scheme }}://{{ include "plugin-mirror.name" . }}.{{ .Release.Namespace }}.svc{{ if ne $port $usual }}:{{ $port }}{{ end }}{{ .Values.basePath }}
{{- end -}}

{{- define "plugin-mirror.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  {{- if .values.tls.secretName }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
