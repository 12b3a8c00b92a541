#!/bin/sh
# Make .venv exactly as uv.lock says, all formats and the tools included, on a machine with nothing but some
# Python 3.12 or newer.
#
#   scripts/bootstrap.sh             make or refresh .venv
#   scripts/bootstrap.sh lock        resolve again and write uv.lock
#   scripts/bootstrap.sh lock-check  fail if uv.lock does not fit pyproject.toml; writes nothing
#   scripts/bootstrap.sh into DIR    the same in DIR, to run there: without the tools, and without this checkout
#   scripts/bootstrap.sh uv          print the path of a uv that works here, installed if need be (scripts/uv.txt)
#
# PYTHON=/path/to/python3 names the interpreter to try first.
# Exit codes: 0 done, 2 no usable Python, else that of pip or uv.
set -eu
cd "$(dirname "$0")/.."

public_index=https://pypi.org/simple
# For a Python without ensurepip: Debian and Ubuntu keep that in a package of its own.
pip_wheel=https://files.pythonhosted.org/packages/f3/6e/1736e5b4ae2b778ef2f81c47d797de9f891d4d8acb047a24ca37a60294dd/pip-26.2.1-py3-none-any.whl
pip_wheel_sha256=71138adf1f4ca900cdb7d289c21b7494329f2332b6d85f0e1c42108c0384ed3e

# These would change what the lock file says, or where .venv is. An index in the environment makes uv
# rewrite every URL in the lock, or refuse a lock that is right.
unset UV_DEFAULT_INDEX UV_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_NO_INDEX UV_INDEX_STRATEGY \
    UV_EXCLUDE_NEWER UV_PRERELEASE UV_RESOLUTION UV_CONSTRAINT UV_OVERRIDE UV_FROZEN UV_LOCKED UV_NO_SYNC \
    UV_NO_DEV UV_NO_EDITABLE UV_PYTHON UV_PROJECT UV_PROJECT_ENVIRONMENT UV_WORKING_DIR VIRTUAL_ENV

say() {
    printf '%s\n' "emitter: $*" >&2
}

# Set `python` to the first interpreter that runs and is new enough. Being on PATH proves little: under
# pyenv `python3.12` may be a shim that fails.
find_python() {
    tried=""
    for candidate in "${PYTHON:-}" \
        python3.12 python3.13 python3.14 python3 \
        /usr/bin/python3.1[2-9] /usr/local/bin/python3.1[2-9] /opt/homebrew/bin/python3.1[2-9] \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 \
        "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/*/bin/python3 \
        /opt/*/bin/python3; do
        path=$(command -v "$candidate" 2>/dev/null) || continue
        if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 12))' </dev/null >/dev/null 2>&1; then
            python=$path
            return
        fi
        tried="$tried
  $path: $("$path" --version </dev/null 2>/dev/null || echo 'does not run')"
    done
    say "no Python 3.12 or newer found. Tried:${tried:-
  python3 and python3.12 to python3.14 on PATH, pyenv, uv, /usr/local/bin, /opt: none there}
Try: install one (Debian 13, Ubuntu 24.04: apt-get install python3; macOS: brew install python@3.12),
     or name yours: make setup PYTHON=/path/to/python3.12"
    exit 2
}

# True if $1 is a uv that runs and is one that pyproject.toml accepts (`required-version`).
usable_uv() {
    "$1" cache dir </dev/null >/dev/null 2>&1
}

# Set `uv` to the one on PATH, or else to a pinned one of our own in .uv/.
find_uv() {
    for candidate in uv .uv/bin/uv; do
        if usable_uv "$candidate"; then
            uv=$candidate
            return
        fi
    done
    say "no uv on PATH that works here; installing one into .uv/"
    rm -rf .uv
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv .uv
        .uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/uv.txt
    else
        mkdir .uv
        fetch_pip_wheel ".uv/${pip_wheel##*/}"
        "$python" ".uv/${pip_wheel##*/}/pip" install --quiet --disable-pip-version-check --root-user-action ignore \
            --target .uv --require-hashes -r scripts/uv.txt
    fi
    uv=.uv/bin/uv
}

# Download pip's own wheel, which runs as it is, to the path $1.
fetch_pip_wheel() {
    "$python" - "$pip_wheel" "$pip_wheel_sha256" "$1" <<'PYTHON'
import hashlib, sys, urllib.request

url, sha256, path = sys.argv[1:]
with urllib.request.urlopen(url, timeout=60) as reply:
    wheel = reply.read()
if hashlib.sha256(wheel).hexdigest() != sha256:
    sys.exit(f"emitter: {url} is not the file that was expected (its sha256 differs)")
with open(path, "wb") as file:
    file.write(wheel)
PYTHON
}

# Compiled here once: else each process compiles again what it imports, for seconds, where the environment forbids
# Python to keep it (PYTHONDONTWRITEBYTECODE, as in many images).
sync() {
    "$uv" sync --locked --all-extras --compile-bytecode $quiet --python "$python" --default-index "$public_index" "$@"
}

find_python
find_uv
quiet=--quiet
[ ! -t 2 ] || quiet="" # a person may watch 400 MB arrive
case ${1:-sync} in
    sync) sync ;;
    into) export UV_PROJECT_ENVIRONMENT="$2" && sync --no-dev --no-editable ;;
    lock) "$uv" lock --python "$python" --default-index "$public_index" ;;
    uv) command -v "$uv" ;;
    lock-check) "$uv" lock --check --quiet --python "$python" --default-index "$public_index" ;;
    *) say "unknown: $1" && exit 2 ;;
esac
