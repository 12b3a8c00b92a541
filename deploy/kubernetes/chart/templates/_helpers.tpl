{{- define "emitter.name" -}}
{{- if contains "emitter" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name | trunc 44 | trimSuffix "-" }}-emitter{{ end }}
{{- end }}

{{- define "emitter.labels" -}}
app.kubernetes.io/name: emitter
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "emitter.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
{{- if eq $tag "latest" }}{{ fail "image.tag is latest, which is another image tomorrow: give a version" }}{{ end -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end }}

{{- /* The text of the configuration file. */ -}}
{{- define "emitter.config" -}}
{{- .Values.config | default (.Files.Get "files/emitter.yaml") }}
{{- end }}

{{- /* Its ConfigMap: another one for each content, so that a change rolls out, and no pod of before sees it. */ -}}
{{- define "emitter.configName" -}}
{{ include "emitter.name" . }}-{{ print (include "emitter.config" .) .Values.authorities | sha256sum | trunc 10 }}
{{- end }}

{{- /* The folder below which a disk is written to. */ -}}
{{- define "emitter.volume" -}}
/var/lib/emitter
{{- end }}

{{- /* "true" where the tables or their catalogue are files on a disk, else nothing. Fails where that cannot work. */ -}}
{{- define "emitter.isOnDisk" -}}
{{- $config := include "emitter.config" . | fromYaml }}
{{- with $config.Error }}{{ fail (printf "config is no YAML mapping: %s" .) }}{{ end }}
{{- $output := kindIs "map" $config.output | ternary $config.output dict }}
{{- $uri := $output.uri | default "" | toString }}
{{- if not $uri }}{{ fail "config has no output.uri: give a whole configuration file, --set-file config=emitter.yaml" }}{{ end }}
{{- $catalog := (kindIs "map" $output.catalog | ternary $output.catalog dict).uri | default "" | toString }}
{{- $paths := list }}
{{- if not (hasPrefix "s3://" $uri) }}{{ $paths = append $paths (trimPrefix "file://" $uri) }}{{ end }}
{{- if hasPrefix "sqlite:" $catalog }}{{ $paths = append $paths (trimPrefix "sqlite://" $catalog | replace "//" "/") }}{{ end }}
{{- range $paths }}
{{- if not (hasPrefix (printf "%s/" (include "emitter.volume" $)) .) }}
{{- fail (printf "config writes to %s: only what is below %s is on the volume, everything else is read-only" . (include "emitter.volume" $)) }}
{{- end }}
{{- end }}
{{- if and $paths (gt (int .Values.shards) 1) }}
{{- fail (printf "shards is %v, but config writes to a disk (%s): each pod would write to a volume of its own, and tables in several volumes are several tables, of which none is whole. Set shards to 1, or write to s3:// (Iceberg and DuckLake with a catalogue in Postgres)" .Values.shards (join ", " $paths)) }}
{{- end }}
{{- if $paths }}true{{ end }}
{{- end }}
