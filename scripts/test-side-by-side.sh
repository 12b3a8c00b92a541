#!/bin/sh
# Run several groups of test files at the same time: most of them wait for a disk or a server. A group is a list of
# patterns of files, each below a folder of tests/.
#
#     scripts/test-side-by-side.sh "FOLDER/PATTERN..." ["FOLDER/PATTERN..."]...
#
# The first group shows its progress; what the others have to say follows at the end.
set -u
set -f # the patterns are for unittest, not for the shell
cd "$(dirname "$0")/.."

first=$1
shift

run() {
    bad=0
    for files in $1; do
        echo "== tests/$files"
        .venv/bin/python -m unittest discover -s "tests/${files%/*}" -t . -p "${files#*/}" --durations 25 || bad=1
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
set +f
cat "$logs"/[0-9]* 2>/dev/null
[ ! -e "$logs/failed" ]
