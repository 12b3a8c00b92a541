#!/bin/sh
# Run the tests of two groups of folders below tests/ at the same time: most of them wait for a disk or a server.
#
#     scripts/test-side-by-side.sh PATTERN "FOLDER..." "FOLDER..."
#
# The first group shows its progress; what the second has to say follows at the end.
set -u
cd "$(dirname "$0")/.."

run() {
    bad=0
    for folder in $2; do
        echo "== tests/$folder/$1"
        .venv/bin/python -m unittest discover -s "tests/$folder" -t . -p "$1" || bad=1
    done
    return $bad
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run "$1" "$3" >"$log" 2>&1 &
beside=$!
outcome=0
run "$1" "$2" || outcome=1
wait "$beside" || outcome=1
cat "$log"
exit $outcome
