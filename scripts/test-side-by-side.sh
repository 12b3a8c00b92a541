#!/bin/sh
# Run the tests of several groups of folders below tests/ at the same time: most of them wait for a disk or a server.
#
#     scripts/test-side-by-side.sh PATTERN "FOLDER..." ["FOLDER..."]...
#
# The first group shows its progress; what the others have to say follows at the end.
set -u
cd "$(dirname "$0")/.."

pattern=$1
first=$2
shift 2

run() {
    bad=0
    for folder in $1; do
        echo "== tests/$folder/$pattern"
        .venv/bin/python -m unittest discover -s "tests/$folder" -t . -p "$pattern" --durations 25 || bad=1
    done
    return $bad
}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
number=0
for group in "$@"; do
    number=$((number + 1))
    { run "$group" || touch "$logs/failed"; } >"$logs/$number" 2>&1 &
done
run "$first" || touch "$logs/failed"
wait
cat "$logs"/[0-9]* 2>/dev/null
[ ! -e "$logs/failed" ]
