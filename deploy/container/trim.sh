#!/bin/sh
# Take out of the site-packages $1 what nothing reads while emitter runs: about 120 MB.
set -eu
cd "$1"

# What only compilers and type checkers read.
find . -regextype posix-extended -regex '.*\.(pyi|pyx|pxd|pxi|c|h|cc|a)' -delete
rm -rf pyarrow/include pyarrow/src

# Arrow: tests; copies of its libraries under names by which nothing loads them (that is .so.2600); the client of Flight.
rm -rf pyarrow/tests pyarrow/_pyarrow_cpp_tests.*
rm -f pyarrow/libarrow_python*.so pyarrow/libarrow_python*.so.*.*.*
rm -f pyarrow/_flight.* pyarrow/libarrow_flight.* pyarrow/libarrow_python_flight.*

# NumPy: tests.
rm -rf numpy/tests numpy/*/tests

# botocore: all services but the storage and those that give credentials to it.
if [ -d botocore/data ]; then
    find botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
fi

# zstandard: the same code once more, for Pythons that are not CPython.
rm -f zstandard/_cffi.*.so

# SQLAlchemy: what its tests stand on. For Postgres emitter uses psycopg 3, not 2.
rm -rf sqlalchemy/testing psycopg2 psycopg2_binary.libs

# pyiceberg: the protocol of a catalogue that emitter does not know.
rm -rf hive_metastore
