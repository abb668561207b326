{{- /*
Every template begins with this one. Values that were set to null get what the templates can read, and combinations that the
schema cannot describe end with a message.
*/ -}}
{{- define "plugin-mirror.prepare" -}}
{{- $_ := merge .Values (include "plugin-mirror.fallbacks" . | fromYaml) -}}
{{- $values := .Values -}}
{{- $name := include "plugin-mirror.name" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "fullnameOverride: %q cannot be the name of a Service, which begins with a letter and has letters, digits and hyphens; set fullnameOverride" $name) -}}
{{- end -}}
{{- if not $values.image.repository -}}
{{- fail "image.repository: give the name of the image that you pushed" -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas: %v is more than autoscaling.maxReplicas, %v" $values.autoscaling.minReplicas $values.autoscaling.maxReplicas) -}}
{{- end -}}
{{- range $key := list "app" "higress" -}}
{{- if hasKey $values.podLabels $key -}}
{{- fail (printf "podLabels.%s: the Deployment selects its pods by this label; use another key, or fullnameOverride to change its value" $key) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "app" "higress" "app.kubernetes.io/managed-by" "helm.sh/chart" -}}
{{- if hasKey $values.serviceMonitor.labels $key -}}
{{- fail (printf "serviceMonitor.labels: the chart sets the label %s; use another key" $key) -}}
{{- end -}}
{{- end -}}
{{- if hasKey $values.podAnnotations "checksum/manifest" -}}
{{- fail "podAnnotations: the chart sets the annotation checksum/manifest; use another key" -}}
{{- end -}}
{{- $instead := dict
  "PORT" "service.port is the port of the Service, and the container always listens on 8080"
  "BASE_PATH" "use basePath"
  "TLS_CERT" "use tls.secretName"
  "TLS_KEY" "use tls.secretName"
  "TREE" "use tree.from" -}}
{{- range $key, $hint := $instead -}}
{{- if hasKey $values.env (printf "PLUGIN_MIRROR_%s" $key) -}}
{{- fail (printf "env.PLUGIN_MIRROR_%s: the chart sets this option; %s" $key $hint) -}}
{{- end -}}
{{- end -}}
{{- if not (has (toString (get $values.env "PLUGIN_MIRROR_HOST" | default "::")) (list "::" "0.0.0.0")) -}}
{{- fail "env.PLUGIN_MIRROR_HOST: only :: and 0.0.0.0 are addresses at which probes and the Service reach the server; remove it" -}}
{{- end -}}
{{- if and (hasKey $values.env "PLUGIN_MIRROR_TLS_CLIENT_CA") (not $values.tls.secretName) -}}
{{- fail "env.PLUGIN_MIRROR_TLS_CLIENT_CA: client certificates need HTTPS; set tls.secretName" -}}
{{- end -}}
{{- if eq $values.tree.from "sync" -}}
{{- $manifest := required "tree.sync.manifest: with tree.from=sync, give the manifest: --set-file tree.sync.manifest=manifest.json" $values.tree.sync.manifest -}}
{{- range $key, $text := dict "manifest" $manifest "lock" ($values.tree.sync.lock | default "{}") -}}
{{- with get ($text | trimPrefix "\ufeff" | fromJson) "Error" -}}
{{- fail (printf "tree.sync.%s: expected the text of a JSON object, with --set-file tree.sync.%s=FILE: %v" $key $key .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* `merge` replaces empty values only, so each value here is what the chart does without one. */ -}}
{{- define "plugin-mirror.fallbacks" -}}
image: { pullPolicy: IfNotPresent }
replicas: 2
tree:
  from: image
  claim: {}
  imageVolume: { pullPolicy: IfNotPresent }
  sync: { sizeLimit: 2Gi }
env: {}
tls: {}
service: { type: ClusterIP }
ingress: {}
autoscaling: { minReplicas: 2, maxReplicas: 6, targetCPUUtilizationPercentage: 80 }
podDisruptionBudget: {}
networkPolicy: {}
serviceMonitor: { interval: 30s, labels: {} }
podAnnotations: {}
podLabels: {}
{{- end -}}

{{- define "plugin-mirror.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "plugin-mirror.selector" -}}
app: {{ include "plugin-mirror.name" . | quote }}
higress: {{ include "plugin-mirror.name" . | quote }}
{{- end -}}

{{- define "plugin-mirror.labels" -}}
{{ include "plugin-mirror.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
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
{{- $scheme := ternary "http" "https" (empty .Values.tls.secretName) -}}
{{- $usual := ternary "80" "443" (empty .Values.tls.secretName) -}}
{{ $scheme }}://{{ include "plugin-mirror.name" . }}.{{ .Release.Namespace }}.svc{{ if ne $port $usual }}:{{ $port }}{{ end }}{{ .Values.basePath }}
{{- end -}}

{{- /* The margin over --drain-delay and --grace is 12 s. */ -}}
{{- define "plugin-mirror.terminationSeconds" -}}
{{- $drain := get .Values.env "PLUGIN_MIRROR_DRAIN_DELAY" | toString | default "3" | float64 -}}
{{- $grace := get .Values.env "PLUGIN_MIRROR_GRACE" | toString | default "25" | float64 -}}
{{- addf $drain $grace 12 | ceil | int -}}
{{- end -}}

{{- define "plugin-mirror.probe" -}}
httpGet:
  path: {{ .path | quote }}
  port: http
  {{- if .values.tls.secretName }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
