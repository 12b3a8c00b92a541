#!/usr/bin/env bash
# Makes small outputs with another release, and packs them: make_release_outputs.sh CHECKOUT ARCHIVE
# CHECKOUT is a work tree of that release after `make setup`; README.md says which, and what the outputs are for.
set -euo pipefail

checkout=$(realpath "$1") archive=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"

# The configuration of an output: its name, format, partition and speed, then orders per second.
configure() {
    cat >"$1.yaml" <<YAML
clock: {start: "2026-01-01T23:57:00Z", speed: $4, batch_seconds: 60}
ecommerce: {customers: 50, products: 20, orders_per_second: $5, customer_growth_per_year: 1.0}
partition: $3
output: {format: $2, uri: /proc/self/cwd/$1, compression: none}
server: {port: 0}
log: {format: json, level: warning}
YAML
}

run_shard() { # the output's name, the index, the count, until when
    "$checkout/.venv/bin/emitter" run -c "$1.yaml" --set "shard.index=$2" --set "shard.count=$3" --until "$4"
}

# A minute by one shard, a minute at another rate, then past midnight by two, of which the second stays behind.
shop() {
    configure "$@" 0.25
    run_shard "$1" 0 1 2026-01-01T23:58:00Z
    configure "$@" 0.5
    run_shard "$1" 0 1 2026-01-01T23:59:00Z
    run_shard "$1" 0 2 2026-01-02T00:01:00Z
    run_shard "$1" 1 2 2026-01-02T00:00:00Z
}

shop parquet parquet day max
shop hourly parquet hour 600
shop delta delta day max
shop iceberg iceberg day max
shop ducklake ducklake day max

# The first again, after its second shard has caught up; and after that has died between an intent and its renames.
cp -a parquet caught-up
configure caught-up parquet day max 0.5
run_shard caught-up 1 2 2026-01-02T00:01:00Z
cp -a parquet crashed
configure crashed parquet day max 0.5
echo 'shard: {index: 1, count: 2}' >>crashed.yaml
PYTHONPATH=$checkout "$checkout/.venv/bin/python" -m tests.support.driver crashed.yaml 240 parquet.intent 2 && exit 1

# delta-rs alone resolves the links of its place, and notes for people where a table was created.
sed -i 's|"location":"file://[^"]*/delta/|"location":"file:///proc/self/cwd/delta/|' delta/*/_delta_log/*0.json

tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --exclude='*.yaml' --exclude='*.lock' ./*/ |
    xz -9e >"$archive"
