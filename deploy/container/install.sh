#!/bin/sh
# What the Dockerfile runs to install; each is a layer of its own.
#
#     install.sh dependencies "EXTRA..."   /opt/emitter: an environment with what uv.lock names, every file held to its hash
#     install.sh project                   /project: emitter itself, to be laid over that environment
#
# Two secrets of the build say where the packages come from; neither gets into a layer:
#     index   the URL of a package index (user and password included) in place of the public one
#     ca      the authorities that vouch for it, as PEM
set -eu
umask 022
secrets=/run/secrets

dependencies() {
    if [ -s $secrets/ca ]; then
        export SSL_CERT_FILE=$secrets/ca PIP_CERT=$secrets/ca
    fi
    if [ -s $secrets/index ]; then
        PIP_INDEX_URL=$(cat $secrets/index)
        export PIP_INDEX_URL
    fi
    uv=$(scripts/bootstrap.sh uv)
    set --
    for extra in $extras; do
        set -- "$@" --extra "$extra"
    done
    # `uv sync` would insist on the index that the lock file names; the hashes hold any other one to the same files.
    "$uv" export --quiet --locked --offline --no-dev --no-emit-project --output-file /tmp/locked.txt "$@"
    "$uv" venv --quiet --python "$(command -v python3)" /opt/emitter
    UV_DEFAULT_INDEX=${PIP_INDEX_URL:-} "$uv" pip install --quiet --python /opt/emitter --require-hashes --no-deps \
        --no-build --link-mode copy --requirements /tmp/locked.txt
    deploy/container/trim.sh /opt/emitter/lib/python3.*/site-packages
    compiled /opt/emitter
}

project() {
    uv=$(scripts/bootstrap.sh uv)
    "$uv" build --quiet --offline --wheel --out-dir /tmp/wheel # by the build backend that is inside uv
    "$uv" pip install --quiet --offline --no-deps --python /opt/emitter --prefix /project /tmp/wheel/*.whl
    # uv notes when it was installed, and in a list of files the hash of that note: the only bytes that would differ.
    rm /project/lib/python3.*/site-packages/emitter-*.dist-info/uv_cache.json
    sed -i /uv_cache.json/d /project/lib/python3.*/site-packages/emitter-*.dist-info/RECORD
    compiled /project
}

# Compile all modules below $1, to the same bytes at any time: the root file system is read-only later.
compiled() {
    PYTHONHASHSEED=0 /opt/emitter/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$1/lib"
}

extras=${2:-}
$1
