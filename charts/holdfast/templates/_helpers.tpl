{{- define "holdfast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "holdfast.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "holdfast.selectorLabels" -}}
app.kubernetes.io/name: {{ include "holdfast.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "holdfast.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "holdfast.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "holdfast.serviceAccountName" -}}
{{- if .Values.serviceAccount.name }}
{{- .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}
{{- include "holdfast.fullname" . }}
{{- else }}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty: name the account that is there. `default` is no choice, because every pod of the namespace would be holdfast." }}
{{- end }}
{{- end }}

{{- define "holdfast.subjects" -}}
- kind: ServiceAccount
  name: {{ include "holdfast.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{/* An image without a registry is asked for at a public one by most container runtimes, so a registry has to be named. */}}
{{- define "holdfast.image" -}}
{{- $repository := .Values.image.repository }}
{{- $host := first (splitList "/" $repository) }}
{{- $hosted := and (contains "/" $repository) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) }}
{{- if not $hosted }}
{{- $registry := (.Values.global).imageRegistry | default "" | trimSuffix "/" }}
{{- if not (and $registry $repository) }}
{{- fail (printf "\n\nThe image %q names no registry, and none is assumed. Mirror holdfast's image into a registry this cluster reaches, then give one of\n  --set global.imageRegistry=registry.corp.internal\n  --set image.repository=registry.corp.internal/holdfast\n" $repository) }}
{{- end }}
{{- $repository = printf "%s/%s" $registry $repository }}
{{- end }}
{{- if .Values.image.digest }}
{{- $repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}@{{ .Values.image.digest }}
{{- else }}
{{- $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "holdfast.imagePullSecrets" -}}
{{- with concat ((.Values.global).imagePullSecrets | default list) .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The digests that may run as holdfast, sorted: none where the image is not pinned and none is listed. */}}
{{- define "holdfast.releaseDigests" -}}
{{- append .Values.releaseDigests .Values.image.digest | compact | uniq | sortAlpha | toJson }}
{{- end }}

{{/* A list of texts as CEL writes it. What comes in is held by the schema to characters that need no escaping. */}}
{{- define "holdfast.cel.texts" -}}
{{- $texts := list }}
{{- range . }}{{ $texts = append $texts (printf "'%s'" .) }}{{ end -}}
[{{ join ", " $texts }}]
{{- end }}

{{- define "holdfast.cel.approving" -}}
{{- include "holdfast.cel.texts" (.Values.approvingServiceAccounts | uniq | sortAlpha) }}
{{- end }}

{{- define "holdfast.cel.release" -}}
{{- $ends := list }}
{{- range include "holdfast.releaseDigests" . | fromJsonArray }}{{ $ends = append $ends (printf "@%s" .) }}{{ end }}
{{- include "holdfast.cel.texts" $ends }}
{{- end }}

{{- define "holdfast.config" -}}
serviceAccount: {{ include "holdfast.serviceAccountName" . | quote }}
listen: {{ printf "%s:%d" (contains ":" .Values.listenAddress | ternary (printf "[%s]" .Values.listenAddress) .Values.listenAddress) (int .Values.port) | quote }}
logFormat: {{ .Values.log.format }}
logLevel: {{ .Values.log.level | quote }}
leaseName: {{ .Values.leaseName | quote }}
distributionNames: {{ .Values.distributionNames | uniq | sortAlpha | toJson }}
sourceNamespaces: {{ .Values.sourceNamespaces | uniq | sortAlpha | toJson }}
approvingServiceAccounts: {{ .Values.approvingServiceAccounts | uniq | sortAlpha | toJson }}
releaseDigests: {{ include "holdfast.releaseDigests" . }}
evidenceDir: /var/lib/holdfast/evidence
evidenceMebibytes: {{ int .Values.scan.evidenceMebibytes }}
{{- end }}
