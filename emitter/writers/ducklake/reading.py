"""What a lake's tables hold, as any reader finds it, for those who count it.

Whole files are read as in every format: DuckDB opens a table's first file whichever is asked for, so that a broken one
would hide all others. Where others have deleted rows of a file, or have put some into the catalogue itself, DuckDB
reads it, in the transaction in which the files were listed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import duckdb
import pyarrow as pa

from emitter.duck import identifier
from emitter.errors import StorageError
from emitter.model import Table
from emitter.partitioning import PartitionSpec
from emitter.writers.ducklake import catalog
from emitter.writers.ducklake import files as lake_files
from emitter.writers.ducklake.catalog import LakeTable
from emitter.writers.ducklake.connection import Lake
from emitter.writers.ducklake.files import LakeFile
from emitter.writers.parts import BATCH_ROWS_MAX, Part

_LOOKS_MAX = 12


class LakeReader:
    """See the module. `root` is the output, as its files are registered."""

    def __init__(self, lake: Lake, root: str, schema: str, spec: PartitionSpec) -> None:
        self._lake = lake
        self._root = root
        self._schema = schema
        self._spec = spec

    @contextmanager
    def contents(self, table: Table) -> Iterator[Sequence[Part]]:
        """The table's parts. A transaction stays open while they are read, if DuckDB has to read any of them."""
        with self._lake.session("read") as cursor:
            known = self._begin_reading(cursor, table.name) if cursor else None
            parts = list(self._parts(cursor, table, known)) if cursor and known else []
            if any(part.read for part in parts):
                yield parts
                return
        yield parts

    def _begin_reading(self, cursor: duckdb.DuckDBPyConnection, table: str) -> LakeTable | None:
        """Begin a transaction in which DuckLake and its catalogue's own tables are seen at the same snapshot."""
        for _ in range(_LOOKS_MAX):
            cursor.execute("BEGIN")
            if catalog.stands_still(cursor):
                return catalog.table(cursor, self._schema, table)
            cursor.execute("ROLLBACK")
        raise StorageError("read", self._lake, "others commit to it all the time")

    def _parts(self, cursor: duckdb.DuckDBPyConnection, table: Table, known: LakeTable) -> Iterator[Part]:
        by_path: defaultdict[str, list[LakeFile]] = defaultdict(list)
        for file in lake_files.files(cursor, known.table_id, self._lake.data_path):
            by_path[file.path].append(file)
        names = (name for name, _, _ in known.columns)
        ids = dict(zip(names, known.field_ids, strict=True))
        for path, files in by_path.items():
            places = {file.partition for file in files}
            place = places.pop() if len(places) == 1 else None
            is_ours = path.startswith(f"{self._root}/")
            if place is None or not is_ours or any(file.has_deletes for file in files):
                # DuckDB knows a file by its path: so it gives what all its registrations bring.
                yield Part(path, place, read=partial(self._query, cursor, table, known, path))
                continue
            for file in files:
                yield Part(
                    path.removeprefix(f"{self._root}/"),
                    place,
                    file.size_bytes,
                    file.rows,
                    ids if file.goes_by_ids else None,
                )
        for name in lake_files.inlined_names(cursor, known.table_id):
            yield Part(name, None, read=partial(self._query, cursor, table, known, name))

    def _query(
        self, cursor: duckdb.DuckDBPyConnection, table: Table, known: LakeTable, source: str
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a source, without those that were deleted, with those columns of the table that are there, and those
        that it is partitioned by.
        """
        names = {name for name, _, _ in known.columns}
        wanted = [*(column.name for column in table.columns), *self._spec.columns]
        columns = ", ".join(identifier(name) for name in wanted if name in names)
        query = f"SELECT {columns} FROM {catalog.full_name(self._schema, table.name)} WHERE filename = ?"
        try:
            yield from cursor.execute(query, [source]).to_arrow_reader(BATCH_ROWS_MAX)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # DuckDB's too may come through Arrow
            raise StorageError("read", source, f"{error}") from error
