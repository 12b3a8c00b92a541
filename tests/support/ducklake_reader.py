"""A plain reading of a DuckLake catalogue, without DuckDB: which files of a table count now, and what they hold.

files_of("sqlite:///shop/ducklake.sqlite", "orders")
rows(place, "orders")                       # a Place of tests.support.places
"""

from __future__ import annotations

import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from tests.support.postgres import CONNECT_SECONDS

if TYPE_CHECKING:
    from tests.support.places import Place

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class LakeFile:
    """A file that counts. `statistics` are by column: (least, greatest, nulls), as text."""

    path: str
    rows: int
    bytes: int
    partition: dict[str, str]
    statistics: dict[str, tuple[str | None, str | None, int]]


@contextmanager
def asking(catalog_uri: str) -> Iterator[Callable[[str], Rows]]:
    """Questions to the catalogue's own tables."""
    if not catalog_uri.startswith("sqlite:///"):
        with psycopg.connect(catalog_uri, connect_timeout=CONNECT_SECONDS) as server:
            yield lambda text: server.execute(text).fetchall()
        return
    # A copy that another process makes: Python and DuckDB each have a SQLite of their own, and a file that this one
    # closes would lose all locks that the process has on it.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(catalog_uri.removeprefix("sqlite:///"))
        parts = [str(part) for part in (path, path.with_name(f"{path.name}-wal")) if part.exists()]
        subprocess.run(["cp", *parts, folder], check=True)
        with closing(sqlite3.connect(Path(folder) / path.name)) as file:
            yield lambda text: file.execute(text).fetchall()


def query(catalog_uri: str, text: str) -> Rows:
    """One question to the catalogue's own tables."""
    with asking(catalog_uri) as ask:
        return ask(text)


def snapshots(catalog_uri: str) -> list[str]:
    """What each snapshot changed, in order."""
    found = query(catalog_uri, "SELECT changes_made FROM ducklake_snapshot_changes ORDER BY snapshot_id")
    return [changes for (changes,) in found]


def files_of(catalog_uri: str, table: str, schema: str = "main") -> list[LakeFile]:
    """The files of a table at the newest snapshot, in the order they came. Fails where rows were deleted from them, or
    are in the catalogue itself: emitter does neither.
    """
    with asking(catalog_uri) as ask:
        return _files_of(ask, table, schema)


def _files_of(ask: Callable[[str], Rows], table: str, schema: str) -> list[LakeFile]:
    ((data_path,),) = ask("SELECT value FROM ducklake_metadata WHERE key = 'data_path'")
    found = ask(
        "SELECT t.table_id, t.path, t.path_is_relative, s.path, s.path_is_relative"
        " FROM ducklake_table t JOIN ducklake_schema s ON s.schema_id = t.schema_id"
        f" WHERE t.table_name = '{table}' AND s.schema_name = '{schema}'"
        " AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL"
    )
    if not found:
        return []
    ((table_id, path, is_relative, schema_path, schema_is_relative),) = found
    folder = ((data_path if schema_is_relative else "") + schema_path if is_relative else "") + path
    _refuse_other_rows(ask, table_id)
    names = dict(ask(f"SELECT column_id, column_name FROM ducklake_column WHERE table_id = {table_id}"))
    keys = dict(
        ask(f"SELECT partition_key_index, column_id FROM ducklake_partition_column WHERE table_id = {table_id}")
    )
    statistics = _by_file(
        ask(
            "SELECT data_file_id, column_id, min_value, max_value, null_count FROM ducklake_file_column_stats"
            f" WHERE table_id = {table_id}"
        )
    )
    partitions = _by_file(
        ask(
            "SELECT data_file_id, partition_key_index, partition_value FROM ducklake_file_partition_value"
            f" WHERE table_id = {table_id}"
        )
    )
    active = ask(
        "SELECT data_file_id, path, path_is_relative, record_count, file_size_bytes FROM ducklake_data_file"
        f" WHERE table_id = {table_id} AND end_snapshot IS NULL ORDER BY data_file_id"
    )
    return [
        LakeFile(
            (folder if file_is_relative else "") + file_path,
            count,
            size_bytes,
            {names[keys[key]]: value for key, value in sorted(partitions.get(number, []))},
            {names[column]: (least, most, nulls) for column, least, most, nulls in statistics.get(number, [])},
        )
        for number, file_path, file_is_relative, count, size_bytes in active
    ]


def read(files: list[LakeFile], filesystem: pyarrow.fs.FileSystem) -> pa.Table:
    """What these files hold, with the columns of their partitions."""
    read = []
    for file in files:
        with filesystem.open_input_file(file.path.removeprefix("s3://")) as source:
            table = pq.ParquetFile(source).read()
        assert table.num_rows == file.rows, file
        # What compaction has written holds the partition's columns too, and one of its own.
        held = {name: table[name] for name in table.column_names if not name.startswith("_ducklake_internal")}
        for name, value in file.partition.items():
            held[name] = pa.array([int(value)] * table.num_rows, pa.int32())
        read.append(pa.table(held))
    return pa.concat_tables(read)


def rows(place: Place, table: str) -> pa.Table:
    """All rows of a table of a place."""
    filesystem: pyarrow.fs.FileSystem = pyarrow.fs.LocalFileSystem()
    if place.target.storage == "s3":
        filesystem = pyarrow.fs.S3FileSystem(
            access_key=place.environ["AWS_ACCESS_KEY_ID"],
            secret_key=place.environ["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=str(place.changes["output.s3.endpoint_url"]),
            region=str(place.changes["output.s3.region"]),
        )
    return read(files_of(str(place.changes["output.catalog.uri"]), table), filesystem)


def _refuse_other_rows(ask: Callable[[str], Rows], table_id: int) -> None:
    deleted = ask(f"SELECT path FROM ducklake_delete_file WHERE table_id = {table_id} AND end_snapshot IS NULL")
    inlined = ask(f"SELECT table_name FROM ducklake_inlined_data_tables WHERE table_id = {table_id}")
    held = [name for (name,) in inlined if ask(f"SELECT row_id FROM {name} WHERE end_snapshot IS NULL")]
    assert not deleted, deleted
    assert not held, held


def _by_file(found: Rows) -> dict[int, Rows]:
    grouped: dict[int, Rows] = {}
    for number, *rest in found:
        grouped.setdefault(number, []).append(tuple(rest))
    return grouped
