{{/* The probes of a service: plain HTTP on a port that the node alone reaches, with or without TLS elsewhere. */}}
{{- define "prisma.probes" -}}
startupProbe:
  httpGet: {path: /startupz, port: probes}
  periodSeconds: 2
  # Ten minutes, for tables that are migrated at the start.
  failureThreshold: 300
livenessProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{/* The pod of a service: (list root service). */}}
{{- define "prisma.pod" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := $root.Values -}}
{{- $own := index $values $name -}}
{{- $facts := index (include "prisma.services" $root | fromYaml) $name -}}
metadata:
  labels:
    {{- include "prisma.labels" . | nindent 4 }}
    {{- with $own.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    # Settings that pods read at start: they are replaced where these change.
    checksum/configuration: {{ print $values.database $values.blobs $values.nats $values.opensearch $values.providers | sha256sum }}
    {{- with $own.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "prisma.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- include "prisma.pullSecrets" $root | nindent 2 }}
  securityContext: {{ include "prisma.podSecurity" $root | nindent 4 }}
  {{- if eq $name "trainer" }}
  # Training processes that outlive their parent are reaped.
  shareProcessNamespace: true
  {{- with $own.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- end }}
  # Calls in progress end, jobs are handed back, and a training writes a checkpoint.
  terminationGracePeriodSeconds: 60
  {{- include "prisma.placement" (list $root $own $name) | nindent 2 }}
  containers:
    - name: {{ $name }}
      image: {{ include "prisma.image" . }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [python, -P, -m, {{ ternary "gateway" (printf "services.%s" $name) (eq $name "gateway") }}]
      env:
        {{- include "prisma.environment" . | nindent 8 }}
      {{- if and $facts.database $values.blobs.existingSecret }}
      envFrom:
        - secretRef: {name: {{ $values.blobs.existingSecret }}}
      {{- end }}
      ports:
        - {name: grpc, containerPort: {{ $facts.port }}}
        {{- if eq $name "gateway" }}
        - {name: http, containerPort: 8080}
        {{- end }}
        - {name: metrics, containerPort: {{ add $values.metrics.port $facts.place }}}
        - {name: probes, containerPort: {{ add 9200 $facts.place }}}
      {{- include "prisma.probes" . | nindent 6 }}
      lifecycle:
        # The pod serves on while its address is taken from DNS and from proxies.
        preStop: {exec: {command: [sleep, "5"]}}
      resources: {{ include "prisma.resources" . | nindent 8 }}
      securityContext: {{ include "prisma.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        {{- include "prisma.volumeMounts" . | nindent 8 }}
  volumes:
    {{- include "prisma.volumes" . | nindent 4 }}
{{- end }}
