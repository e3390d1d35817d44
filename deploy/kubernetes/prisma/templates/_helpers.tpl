{{/* What the services are: port, place among the ports of metrics, whom each calls, and what it uses. */}}
{{- define "prisma.services" -}}
embedder: {port: 50051, place: 0, calls: [], database: true, providers: true}
trainer: {port: 50052, place: 1, calls: [embedder], database: true, providers: false}
interpreter: {port: 50053, place: 2, calls: [embedder, trainer], database: true, providers: true}
search: {port: 50054, place: 3, calls: [embedder, trainer, interpreter], database: false, providers: false}
gateway: {port: 50050, place: 4, calls: [embedder, trainer, interpreter, search], database: false, providers: false}
{{- end }}

{{- define "prisma.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels that select pods: (list root component). */}}
{{- define "prisma.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "prisma.labels" -}}
{{ include "prisma.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/part-of: prisma
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{- define "prisma.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "prisma.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "prisma.keysSecret" -}}
{{ .Values.keys.existingSecret | default (printf "%s-keys" (include "prisma.fullname" .)) }}
{{- end }}

{{/* The Secret of the addresses that hold passwords, where the values have them. */}}
{{- define "prisma.urlsSecret" -}}
{{ include "prisma.fullname" . }}-urls
{{- end }}

{{- define "prisma.hasDatabase" -}}
{{- if or .Values.database.url .Values.database.existingSecret }}true{{ end }}
{{- end }}

{{- define "prisma.hasOpensearch" -}}
{{- if or .Values.opensearch.url .Values.opensearch.existingSecret }}true{{ end }}
{{- end }}

{{/* Whether a service keeps nothing in its volume but caches, so that it can have replicas: (list root service). */}}
{{- define "prisma.shared" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if eq $name "gateway" }}true
{{- else if eq $name "search" }}{{ include "prisma.hasOpensearch" $root }}
{{- else if and (eq $name "trainer") (gt (int $root.Values.trainer.hosts) 1) }}
{{- else if and (include "prisma.hasDatabase" $root) $root.Values.blobs.url }}true
{{- end }}
{{- end }}

{{/* The services that run in the cluster, separated by spaces. */}}
{{- define "prisma.deployed" -}}
embedder {{ if eq .Values.trainer.mode "cluster" }}trainer {{ end }}interpreter search gateway
{{- end }}

{{/* host:port of a service: (list root service). Every pod is an address of its headless Service. */}}
{{- define "prisma.address" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $facts := index (include "prisma.services" $root | fromYaml) $name -}}
{{- if and (eq $name "trainer") (eq $root.Values.trainer.mode "external") }}{{ $root.Values.trainer.external.address }}
{{- else }}dns:///{{ include "prisma.fullname" $root }}-{{ $name }}:{{ $facts.port }}
{{- end }}
{{- end }}

{{- define "prisma.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := index $root.Values $name -}}
{{- $target := ternary "trainer-gpu" $name (and (eq $name "trainer") (gt (int $root.Values.trainer.gpus) 0)) -}}
{{ $values.image | default (printf "%s-%s:%s" $root.Values.image.repository $target ($root.Values.image.tag | default $root.Chart.AppVersion)) }}
{{- end }}

{{- define "prisma.natsUrl" -}}
{{- $name := printf "%s-nats" (include "prisma.fullname" .) -}}
{{- $servers := list -}}
{{- range $number := until (int .Values.nats.replicas) }}
{{- $servers = append $servers (printf "nats://prisma:$(PRISMA_NATS_PASSWORD)@%s-%d.%s:4222" $name $number $name) }}
{{- end }}
{{- join "," $servers }}
{{- end }}

{{- define "prisma.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "prisma.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* An environment variable from a Secret: (list variable secret key). */}}
{{- define "prisma.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}
{{- end }}

{{/* The database of services and of migrations: (list root secret). */}}
{{- define "prisma.databaseVariables" -}}
{{ include "prisma.fromSecret" (list "PRISMA_DATABASE_URL" (index . 1) "database-url") }}
{{- with (index . 0).Values.database.schema }}
- {name: PRISMA_DATABASE_SCHEMA, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{/* The environment of a service: (list root service). */}}
{{- define "prisma.environment" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := $root.Values -}}
{{- $facts := index (include "prisma.services" $root | fromYaml) $name -}}
- {name: PRISMA_DATA_DIR, value: /data}
- {name: HOME, value: /data}
- {name: PRISMA_LOG_FORMAT, value: json}
- {name: PRISMA_LOG_LEVEL, value: {{ $values.log.level | quote }}}
- {name: PRISMA_{{ upper $name }}_LISTEN, value: "0.0.0.0:{{ $facts.port }}"}
- {name: PRISMA_METRICS_LISTEN, value: "0.0.0.0:{{ $values.metrics.port }}"}
- {name: PRISMA_PROBE_LISTEN, value: "0.0.0.0:9200"}
# Clients find replicas that were added within a minute.
- {name: PRISMA_CONNECTION_AGE_SECONDS, value: "60"}
# Twice this and preStop are less than the pod's grace period.
- {name: PRISMA_DRAIN_SECONDS, value: "20"}
- {name: PRISMA_API_KEYS_FILE, value: /etc/prisma/keys/api-keys}
{{ include "prisma.fromSecret" (list "PRISMA_SERVICE_KEY" (include "prisma.keysSecret" $root) "service-key") }}
{{- if $values.nats.enabled }}
{{ include "prisma.fromSecret" (list "PRISMA_NATS_PASSWORD" (printf "%s-nats" (include "prisma.fullname" $root)) "password") }}
- {name: PRISMA_NATS_URL, value: {{ include "prisma.natsUrl" $root | quote }}}
- {name: PRISMA_NATS_REPLICAS, value: {{ min 3 (int $values.nats.replicas) | quote }}}
{{- else }}
{{ include "prisma.fromSecret" (list "PRISMA_NATS_URL" ($values.nats.existingSecret | default (include "prisma.urlsSecret" $root)) "nats-url") }}
- {name: PRISMA_NATS_REPLICAS, value: {{ $values.nats.streamReplicas | quote }}}
{{- if $values.nats.credentialsSecret }}
- {name: PRISMA_NATS_CREDENTIALS, value: /etc/prisma/nats-credentials/nats.creds}
{{- end }}
{{- if $values.nats.authoritySecret }}
- {name: PRISMA_NATS_TLS_AUTHORITY, value: /etc/prisma/nats-authority/ca.crt}
{{- end }}
{{- end }}
{{- with $values.tracing.endpoint }}
- {name: PRISMA_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: PRISMA_OTLP_PROTOCOL, value: {{ $values.tracing.protocol }}}
{{- end }}
{{- range $facts.calls }}
- {name: PRISMA_{{ upper . }}_ADDRESS, value: {{ include "prisma.address" (list $root .) | quote }}}
{{- end }}
{{- if $facts.database }}
{{- if include "prisma.hasDatabase" $root }}
{{ include "prisma.databaseVariables" (list $root ($values.database.existingSecret | default (include "prisma.urlsSecret" $root))) }}
{{- if $values.database.migration.enabled }}
- {name: PRISMA_MIGRATE, value: "off"}
{{- end }}
{{- end }}
{{- with $values.blobs.url }}
- {name: PRISMA_BLOB_URL, value: {{ . | quote }}}
{{- end }}
{{- range $variable, $value := $values.blobs.environment }}
- {name: {{ $variable }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- if $facts.providers }}
{{- with $values.providers.ollamaUrl }}
- {name: PRISMA_OLLAMA_URL, value: {{ . | quote }}}
{{- end }}
{{- if $values.providers.file }}
- {name: PRISMA_PROVIDERS, value: /etc/prisma/providers/providers.toml}
{{- end }}
{{- end }}
{{- if and (eq $name "search") (include "prisma.hasOpensearch" $root) }}
{{ include "prisma.fromSecret" (list "PRISMA_OPENSEARCH_URL" ($values.opensearch.existingSecret | default (include "prisma.urlsSecret" $root)) "opensearch-url") }}
- {name: PRISMA_OPENSEARCH_PREFIX, value: {{ $values.opensearch.prefix | quote }}}
{{- if $values.opensearch.authoritySecret }}
- {name: PRISMA_OPENSEARCH_AUTHORITY, value: /etc/prisma/opensearch/ca.crt}
{{- end }}
{{- end }}
{{- if eq $name "gateway" }}
- {name: PRISMA_HTTP_LISTEN, value: "0.0.0.0:8080"}
{{- $behind := or $values.ingress.enabled $values.gatewayApi.enabled }}
{{- if ternary $behind $values.gateway.trustForwarded (kindIs "invalid" $values.gateway.trustForwarded) }}
- {name: PRISMA_TRUST_FORWARDED, value: "true"}
{{- end }}
{{- end }}
{{- if eq $name "trainer" }}
{{- include "prisma.trainerEnvironment" $root }}
{{- end }}
{{- if $values.tls.existingSecret }}
- {name: PRISMA_TLS_CERTIFICATE, value: /etc/prisma/tls/tls.crt}
- {name: PRISMA_TLS_KEY, value: /etc/prisma/tls/tls.key}
- {name: PRISMA_TLS_AUTHORITY, value: /etc/prisma/tls/ca.crt}
{{- end }}
{{- range $variable, $value := merge (dict) (index $values $name).environment $values.environment }}
- {name: {{ $variable }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* How several training processes find each other. */}}
{{- define "prisma.trainerEnvironment" -}}
{{- $trainer := .Values.trainer }}
{{- if gt (int $trainer.gpus) 0 }}
- {name: PRISMA_TRAINER_DEVICE, value: cuda:0}
{{- end }}
{{- if or (gt (int $trainer.processes) 1) (gt (int $trainer.hosts) 1) }}
- {name: PRISMA_TRAINER_PROCESSES, value: {{ $trainer.processes | quote }}}
{{- end }}
{{- if gt (int $trainer.hosts) 1 }}
{{- $name := printf "%s-trainer" (include "prisma.fullname" .) }}
- {name: PRISMA_TRAINER_HOSTS, value: {{ $trainer.hosts | quote }}}
- {name: PRISMA_TRAINER_RENDEZVOUS, value: "{{ $name }}-0.{{ $name }}-hosts.{{ .Release.Namespace }}.svc.cluster.local:29400"}
{{- end }}
{{- end }}

{{- define "prisma.volumeMounts" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := $root.Values -}}
{{- $facts := index (include "prisma.services" $root | fromYaml) $name -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
- {name: keys, mountPath: /etc/prisma/keys, readOnly: true}
{{- if $values.tls.existingSecret }}
- {name: tls, mountPath: /etc/prisma/tls, readOnly: true}
{{- end }}
{{- if and (not $values.nats.enabled) $values.nats.credentialsSecret }}
- {name: nats-credentials, mountPath: /etc/prisma/nats-credentials, readOnly: true}
{{- end }}
{{- if and (not $values.nats.enabled) $values.nats.authoritySecret }}
- {name: nats-authority, mountPath: /etc/prisma/nats-authority, readOnly: true}
{{- end }}
{{- if and $facts.providers $values.providers.file }}
- {name: providers, mountPath: /etc/prisma/providers, readOnly: true}
{{- end }}
{{- if and $facts.providers $values.providers.keysSecret }}
- {name: provider-keys, mountPath: /etc/prisma/provider-keys, readOnly: true}
{{- end }}
{{- if and (eq $name "search") $values.opensearch.authoritySecret }}
- {name: opensearch, mountPath: /etc/prisma/opensearch, readOnly: true}
{{- end }}
{{- if eq $name "trainer" }}
- {name: shared-memory, mountPath: /dev/shm}
{{- end }}
{{- with (index $values $name).volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "prisma.volumes" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := $root.Values -}}
{{- $own := index $values $name -}}
{{- $facts := index (include "prisma.services" $root | fromYaml) $name -}}
{{- if include "prisma.shared" . }}
- {name: data, emptyDir: {sizeLimit: {{ $own.storage.size }}}}
{{- else if eq $name "trainer" }}
- name: data
  persistentVolumeClaim: {claimName: {{ $own.storage.existingClaim | default (printf "%s-trainer" (include "prisma.fullname" $root)) }}}
{{- end }}
- {name: tmp, emptyDir: {sizeLimit: 2Gi}}
- name: keys
  secret:
    secretName: {{ include "prisma.keysSecret" $root }}
    items: [{key: api-keys, path: api-keys}]
{{- with $values.tls.existingSecret }}
- {name: tls, secret: {secretName: {{ . }}}}
{{- end }}
{{- if and (not $values.nats.enabled) $values.nats.credentialsSecret }}
- {name: nats-credentials, secret: {secretName: {{ $values.nats.credentialsSecret }}}}
{{- end }}
{{- if and (not $values.nats.enabled) $values.nats.authoritySecret }}
- {name: nats-authority, secret: {secretName: {{ $values.nats.authoritySecret }}}}
{{- end }}
{{- if and $facts.providers $values.providers.file }}
- {name: providers, configMap: {name: {{ include "prisma.fullname" $root }}-providers}}
{{- end }}
{{- if and $facts.providers $values.providers.keysSecret }}
- {name: provider-keys, secret: {secretName: {{ $values.providers.keysSecret }}}}
{{- end }}
{{- if and (eq $name "search") $values.opensearch.authoritySecret }}
- {name: opensearch, secret: {secretName: {{ $values.opensearch.authoritySecret }}}}
{{- end }}
{{- if eq $name "trainer" }}
- {name: shared-memory, emptyDir: {medium: Memory, sizeLimit: {{ $own.sharedMemory }}}}
{{- end }}
{{- with $own.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Resources of a container, with the trainer's GPUs. */}}
{{- define "prisma.resources" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $resources := deepCopy (index $root.Values $name).resources -}}
{{- if and (eq $name "trainer") (gt (int $root.Values.trainer.gpus) 0) }}
{{- $_ := set $resources.limits "nvidia.com/gpu" (int $root.Values.trainer.gpus) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* Where pods run and how they are spread: (list root values component). */}}
{{- define "prisma.placement" -}}
{{- $root := index . 0 -}}
{{- $own := index . 1 -}}
{{- with $own.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "prisma.selector" (list $root (index . 2)) | nindent 8 }}
{{- end }}

{{- define "prisma.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}
