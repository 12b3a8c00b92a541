"""The rows of a lake's tables, as any reader finds them, for those who count them.

Whole files are read as in every format: DuckDB opens a table's first file whichever is asked for, so that a broken one
would hide all others. Where others have deleted rows of a file, or have put some into the catalogue itself, DuckDB
reads it. All is as of one snapshot: a file never changes, and what DuckDB reads, it reads in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from emitter.errors import DamagedStateError, StorageError, StorageNotFoundError
from emitter.model import Table, Window
from emitter.partitioning import PartitionSpec
from emitter.storage.base import Storage
from emitter.writers import hive
from emitter.writers.base import OnBroken
from emitter.writers.ducklake import catalog
from emitter.writers.ducklake.catalog import LakeTable, identifier
from emitter.writers.ducklake.connection import Lake

_BATCH_ROWS_MAX = 65_536  # read at a time
_LOOKS_MAX = 12


class LakeReader:
    """See the module. `root` is the output, as its files are registered."""

    def __init__(self, storage: Storage, lake: Lake, root: str, schema: str, spec: PartitionSpec) -> None:
        self._storage = storage
        self._lake = lake
        self._root = root
        self._schema = schema
        self._spec = spec

    def read(
        self, table: Table, window: Window, on_broken: OnBroken | None, *, inside: bool
    ) -> Iterator[pa.RecordBatch]:
        """The rows of the partitions that overlap a window, or (`inside` is False) of all others, in bounded batches. A
        file that cannot be read is told to `on_broken`, or raises.
        """
        with self._lake.session("read") as cursor:
            known = self._begin_reading(cursor, table.name) if cursor else None
            if cursor is None or known is None:
                return
            for path, condition in self._sources(cursor, known, window, inside).items():
                if condition is None:
                    yield from self._read_file(path.removeprefix(f"{self._root}/"), table, known, on_broken)
                else:
                    yield from self._query(cursor, table, known, path, condition)

    def _begin_reading(self, cursor: duckdb.DuckDBPyConnection, table: str) -> LakeTable | None:
        """Begin a transaction in which DuckLake and its catalogue's own tables are seen at the same snapshot."""
        for _ in range(_LOOKS_MAX):
            cursor.execute("BEGIN")
            if catalog.stands_still(cursor):
                return catalog.table(cursor, self._schema, table)
            cursor.execute("ROLLBACK")
        raise StorageError("read", self._lake, "others commit to it all the time")

    def _sources(
        self, cursor: duckdb.DuckDBPyConnection, known: LakeTable, window: Window, inside: bool
    ) -> dict[str, str | None]:
        """The files that a reader of these partitions, or of all others, would read, and which of their rows; None for
        whole files of the output, which need no DuckDB. Rows that are in the catalogue itself, and files in no
        partition, are looked through row by row.
        """
        first, last = self._bounds(window)
        condition = self._condition(first, last)
        row_by_row = condition if inside else f"({condition}) IS NOT TRUE"
        sources: dict[str, str | None] = {}
        for path, file in sorted(catalog.files(cursor, known.table_id, self._lake.data_path).items()):
            if file.partition is None:
                sources[path] = row_by_row
            elif (first <= file.partition <= last) == inside:
                is_plain = path.startswith(f"{self._root}/") and not file.has_deletes
                sources[path] = None if is_plain else "true"
        return sources | dict.fromkeys(catalog.inlined_names(cursor, known.table_id), row_by_row)

    def _bounds(self, window: Window) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The first and the last partition that a window overlaps; in the wrong order if it is empty."""
        spec = self._spec
        if window.first == window.end:
            return (1,), (0,)
        return spec.values(window.first), spec.values(window.end - 1)

    def _condition(self, first: tuple[int, ...], last: tuple[int, ...]) -> str:
        """Whether a row lies in these partitions, in SQL. (DuckDB can't compare several columns at once.)"""
        columns = self._spec.columns
        if first > last:
            return "false"
        number = " + ".join(f"{name} * {100**place}" for place, name in enumerate(reversed(columns)))
        low, high = (sum(value * 100**place for place, value in enumerate(reversed(end))) for end in (first, last))
        return f"{number} BETWEEN {low} AND {high}"

    def _read_file(
        self, path: str, table: Table, known: LakeTable, on_broken: OnBroken | None
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from hive.read_file(self._storage, path, table, on_broken)
        except StorageNotFoundError as error:
            with self._lake.session("look into") as cursor:
                if cursor and f"{self._root}/{path}" not in catalog.files(cursor, known.table_id, self._lake.data_path):
                    raise StorageError("read", path, "another process rewrote the table meanwhile") from error
            broken = DamagedStateError(
                f"{path} is registered, but is not there",
                hint="every reader of the table fails on it: restore it, or delete its rows from the table",
            )
            if on_broken is None:
                raise broken from error
            on_broken(broken)

    def _query(
        self, cursor: duckdb.DuckDBPyConnection, table: Table, known: LakeTable, source: str, condition: str
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a source, without those that were deleted, with those columns of the table that are there."""
        names = {name for name, _, _ in known.columns}
        columns = ", ".join(identifier(column.name) for column in table.columns if column.name in names)
        query = (
            f"SELECT {columns} FROM {catalog.full_name(self._schema, table.name)} WHERE filename = ? AND {condition}"
        )
        try:
            yield from cursor.execute(query, [source]).to_arrow_reader(_BATCH_ROWS_MAX)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # DuckDB's too may come through Arrow
            raise StorageError("read", source, f"{error}") from error
