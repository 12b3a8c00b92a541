"""One short transaction that puts a merged file into the catalogue in the place of those that it was made of.

DuckLake's own compaction reads and writes files in the transaction by which it then commits. On SQLite each append
that lands meanwhile makes all of that void, and appends come all the time. So the file is made before, and only then
are the catalogue's own tables written to, just as DuckLake would (by its specification, version 1.0):

- the old files, their statistics and partition values go, and are noted as out of use since now;
- the new one counts from the first snapshot of the old ones on, and is said to hold rows of up to the last;
- a snapshot `merge_adjacent` tells DuckLake's transactions what has become of the table. Its number is the key that one
  of two commits at the same time cannot have.

The first statement writes: in SQLite that is what waits for others, and then sees all that they have done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb

from emitter.errors import CommitConflictError
from emitter.writers.ducklake.catalog import LakeTable
from emitter.writers.ducklake.connection import CATALOG
from emitter.writers.ducklake.files import LakeFile, files_with_inlined_deletes
from emitter.writers.ducklake.merging import MergedFile

_STATISTICS = "value_count, null_count, min_value, max_value, contains_nan"
_OF_FILES = (
    "ducklake_data_file",
    "ducklake_file_column_stats",
    "ducklake_file_partition_value",
    "ducklake_file_variant_stats",
)
_ORDERED: dict[str, Callable[[str], Any]] = {"varchar": str, "timestamptz": str, "boolean": str}
_ORDERED |= {"int32": int, "int64": int, "float64": float, "decimal(12,2)": Decimal}

Statistics = Mapping[int, tuple[int, int, str | None, str | None, bool | None]]
"""By column: values, nulls, least and greatest as text, and whether there is a NaN; None where nobody knows."""


def statistics(cursor: duckdb.DuckDBPyConnection, table: LakeTable, sources: Sequence[LakeFile]) -> Statistics:
    """Those of all rows of some files, of the columns of which each file has them."""
    found = cursor.execute(
        f"SELECT column_id, {_STATISTICS} FROM {CATALOG}.ducklake_file_column_stats"
        f" WHERE data_file_id IN ({_numbers(sources)})"
    ).fetchall()
    by_column: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for column, *values in found:
        by_column[column].append(tuple(values))
    kinds = {number: kind for number, (_, kind, _) in zip(table.field_ids, table.columns, strict=True)}
    return {
        column: _summed(rows, _ORDERED.get(kinds.get(column, "")))
        for column, rows in by_column.items()
        if len(rows) == len(sources)
    }


def _summed(
    rows: Sequence[tuple[Any, ...]], order: Callable[[str], Any] | None
) -> tuple[int, int, str | None, str | None, bool | None]:
    valued = [row for row in rows if row[0] != row[1]]  # a file of nulls has no least value, and takes part in none
    least, most = [row[2] for row in valued], [row[3] for row in valued]
    nans = [row[4] for row in rows]
    return (
        sum(row[0] for row in rows),
        sum(row[1] for row in rows),
        min(least, key=order) if order and least and None not in least else None,
        max(most, key=order) if order and most and None not in most else None,
        True if any(nans) else None if None in nans else False,
    )


def replace(
    cursor: duckdb.DuckDBPyConnection,
    table: LakeTable,
    sources: Sequence[LakeFile],
    made: MergedFile,
    path: str,
    known: Statistics,
    data_path: str,
) -> None:
    """In a transaction that has just begun: `path` is the full path of the merged file, `known` the statistics of its
    columns. Raises CommitConflictError where others have compacted, deleted or dropped what it was made of.
    """
    numbers = _numbers(sources)
    cursor.execute(
        f"INSERT INTO {CATALOG}.ducklake_files_scheduled_for_deletion SELECT number, path, is_relative, now() FROM"
        " (SELECT unnest($numbers) AS number, unnest($paths) AS path, unnest($are_relative) AS is_relative)",
        {
            "numbers": [file.number for file in sources],
            "paths": [file.path.removeprefix(data_path) for file in sources],
            "are_relative": [file.path.startswith(data_path) for file in sources],
        },
    )
    _check_unchanged(cursor, table, sources)
    row = cursor.execute(
        f"SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM {CATALOG}.ducklake_snapshot"
        " ORDER BY snapshot_id DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    snapshot, version, next_catalog, number = row
    for relation in _OF_FILES:
        cursor.execute(f"DELETE FROM {CATALOG}.{relation} WHERE data_file_id IN ({numbers})")
    cursor.execute(
        f"INSERT INTO {CATALOG}.ducklake_snapshot VALUES (?, now(), ?, ?, ?)",
        [snapshot + 1, version, next_catalog, number + 1],
    )
    cursor.execute(
        f"INSERT INTO {CATALOG}.ducklake_snapshot_changes VALUES (?, ?, NULL, NULL, NULL)",
        [snapshot + 1, f"merge_adjacent:{table.table_id}"],
    )
    _insert(cursor, table, sources, made, path, known, number)


def _insert(
    cursor: duckdb.DuckDBPyConnection,
    table: LakeTable,
    sources: Sequence[LakeFile],
    made: MergedFile,
    path: str,
    known: Statistics,
    number: int,
) -> None:
    first = sources[0]
    cursor.execute(
        f"INSERT INTO {CATALOG}.ducklake_data_file (data_file_id, table_id, begin_snapshot, path, path_is_relative,"
        " file_format, record_count, file_size_bytes, footer_size, row_id_start, partition_id, partial_max)"
        " VALUES (?, ?, ?, ?, false, 'parquet', ?, ?, ?, ?, ?, ?)",
        [
            number,
            table.table_id,
            min(file.first_snapshot for file in sources),
            path,
            made.rows,
            made.data.size,
            made.footer_bytes,
            made.row_id_start,
            first.partition_id,
            max(file.last_snapshot for file in sources),
        ],
    )
    names = {column: name for column, (name, _, _) in zip(table.field_ids, table.columns, strict=True)}
    cursor.executemany(
        f"INSERT INTO {CATALOG}.ducklake_file_column_stats (data_file_id, table_id, column_id, column_size_bytes,"
        f" {_STATISTICS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            [number, table.table_id, column, made.column_bytes.get(names.get(column, ""), 0), *values]
            for column, values in known.items()
        ],
    )
    cursor.executemany(
        f"INSERT INTO {CATALOG}.ducklake_file_partition_value VALUES (?, ?, ?, ?)",
        [[number, table.table_id, place, str(value)] for place, value in enumerate(first.partition or ())],
    )


def _check_unchanged(cursor: duckdb.DuckDBPyConnection, table: LakeTable, sources: Sequence[LakeFile]) -> None:
    numbers = _numbers(sources)
    row = cursor.execute(
        f"SELECT (SELECT count(*) FROM {CATALOG}.ducklake_data_file WHERE data_file_id IN ({numbers})"
        f" AND table_id = $table_id AND end_snapshot IS NULL), (SELECT count(*) FROM {CATALOG}.ducklake_delete_file"
        f" WHERE data_file_id IN ({numbers})), (SELECT count(*) FROM {CATALOG}.ducklake_table"
        f" WHERE table_id = $table_id AND end_snapshot IS NULL), (SELECT max(begin_snapshot) FROM"
        f" {CATALOG}.ducklake_schema_versions WHERE table_id = $table_id)",
        {"table_id": table.table_id},
    ).fetchone()
    inlined = files_with_inlined_deletes(cursor, table.table_id)
    assert row is not None
    oldest = min(file.first_snapshot for file in sources)
    if row[:3] != (len(sources), 0, 1) or (row[3] or 0) > oldest or any(file.number in inlined for file in sources):
        raise CommitConflictError(
            "others have compacted, deleted or altered what was about to be compacted",
            hint="plan the upkeep of that table anew",
        )


def _numbers(sources: Sequence[LakeFile]) -> str:
    return ", ".join(str(file.number) for file in sources)
