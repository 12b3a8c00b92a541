"""One short transaction that puts a merged file into the catalogue in the place of those that it was made of.

DuckLake's own compaction reads and writes files in the transaction by which it then commits. On SQLite each append
that lands meanwhile makes all of that void, and appends come all the time. So the file is made before, and only then
are the catalogue's own tables written to, as DuckLake's specification (version 1.0) has them:

- the entry of the oldest of the files becomes that of the merged one: it counts from the first snapshot of all of them
  on, and is said to hold rows of up to the last. The other entries go. All the files are noted as out of use since now;
- a snapshot `merge_adjacent` tells DuckLake's transactions what has become of the table. Its number is the key that one
  of two commits at the same time cannot have. That alone would let somebody's deletes land that were begun before, for
  files that are no more; it also says `inline_flush`, by which those are refused, and what is appended is not.

DuckDB reads a SQLite catalogue by several connections, each at the moment at which it comes, and no row beyond the
last one of the transaction's beginning. Who reads in a transaction so finds an entry that is written over in its place,
and would miss a new one, and have no rows at all. For the same reason the statistics of the entries that went are left
for a while (`sweep`): a reader that has listed the files is about to ask for them.

The first statement writes: in SQLite that is what waits for others, and then sees all that they have done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb

from emitter.duck import quoted
from emitter.errors import CommitConflictError
from emitter.writers.ducklake.catalog import LakeTable
from emitter.writers.ducklake.connection import CATALOG
from emitter.writers.ducklake.files import LakeFile, files_with_inlined_deletes
from emitter.writers.ducklake.merging import MergedFile

_STATISTICS = "value_count, null_count, min_value, max_value, contains_nan"
_OF_FILES = ("ducklake_file_column_stats", "ducklake_file_partition_value", "ducklake_file_variant_stats")
_SWEEP_SECONDS = 60  # no reader takes so long to plan a query
_ORDERED: dict[str, Callable[[str], Any]] = {"varchar": str, "timestamptz": str, "boolean": str}
_ORDERED |= {"int32": int, "int64": int, "float64": float, "decimal(12,2)": Decimal}

Statistics = Mapping[int, tuple[int | None, int | None, str | None, str | None, bool | None]]
"""By column: values, nulls, least and greatest as text, and whether there is a NaN; None where nobody knows."""


def statistics(cursor: duckdb.DuckDBPyConnection, table: LakeTable, sources: Sequence[LakeFile]) -> Statistics:
    """Those of all rows of some files, of the columns of which each file has them."""
    found = cursor.execute(
        f"SELECT column_id, data_file_id, {_STATISTICS} FROM {CATALOG}.ducklake_file_column_stats"
        f" WHERE data_file_id IN ({_numbers(sources)})"
    ).fetchall()
    counts = {file.number: file.rows for file in sources}
    by_column: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for column, number, *values in found:
        by_column[column].append((*values, counts[number]))
    kinds = {number: kind for number, (_, kind, _) in zip(table.field_ids, table.columns, strict=True)}
    return {
        column: _summed(rows, _ORDERED.get(kinds.get(column, "")))
        for column, rows in by_column.items()
        if len(rows) == len(sources)
    }


def _summed(
    rows: Sequence[tuple[Any, ...]], order: Callable[[str], Any] | None
) -> tuple[int | None, int | None, str | None, str | None, bool | None]:
    # A file of nulls has no least value, and takes part in none; of one that holds a NaN nothing is known.
    valued = [row for row in rows if row[1] != row[-1]]
    least, most = [row[2] for row in valued], [row[3] for row in valued]
    nans = [row[4] for row in rows]
    return (
        _total(row[0] for row in rows),
        _total(row[1] for row in rows),
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
    kept, *others = sorted(sources, key=lambda file: file.number)
    _schedule(cursor, [(file.number, file.path) for file in others], data_path)
    row = cursor.execute(
        f"SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM {CATALOG}.ducklake_snapshot"
        " ORDER BY snapshot_id DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    snapshot, version, next_catalog, next_file = row
    _schedule(cursor, [(next_file, kept.path)], data_path)  # its own number lives on
    cursor.execute(
        f"INSERT INTO {CATALOG}.ducklake_snapshot VALUES (?, now(), ?, ?, ?)",
        [snapshot + 1, version, next_catalog, next_file + 1],
    )
    cursor.execute(
        f"INSERT INTO {CATALOG}.ducklake_snapshot_changes VALUES (?, ?, NULL, NULL, NULL)",
        [snapshot + 1, f"merge_adjacent:{table.table_id},inline_flush:{table.table_id}"],
    )
    _check_unchanged(cursor, table, sources)
    cursor.execute(f"DELETE FROM {CATALOG}.ducklake_data_file WHERE data_file_id IN ({_numbers(others)})")
    cursor.execute(
        f"UPDATE {CATALOG}.ducklake_data_file SET begin_snapshot = ?, path = ?, path_is_relative = false,"
        " record_count = ?, file_size_bytes = ?, footer_size = ?, row_id_start = ?, mapping_id = NULL, partial_max = ?"
        f" WHERE data_file_id = {kept.number}",
        [
            min(file.first_snapshot for file in sources),
            path,
            made.rows,
            made.data.size,
            made.footer_bytes,
            made.row_id_start,
            max(file.last_snapshot for file in sources),
        ],
    )
    _tell_statistics(cursor, table, kept.number, made, known)


def _schedule(cursor: duckdb.DuckDBPyConnection, files: Sequence[tuple[int, str]], data_path: str) -> None:
    """Note numbers and full paths of files as out of use since now."""
    rows = ", ".join(
        f"({number}, {quoted(path.removeprefix(data_path))}, {_flag(path.startswith(data_path))}, now())"
        for number, path in files
    )
    cursor.execute(f"INSERT INTO {CATALOG}.ducklake_files_scheduled_for_deletion VALUES {rows}")


def _tell_statistics(
    cursor: duckdb.DuckDBPyConnection, table: LakeTable, number: int, made: MergedFile, known: Statistics
) -> None:
    """Put those of the merged file in the place of those of the file whose number it has."""
    names = {column: name for column, (name, _, _) in zip(table.field_ids, table.columns, strict=True)}
    rows = ", ".join(
        f"({column}, {made.column_bytes.get(names.get(column, ''), 0)}, {_number(values)}, {_number(nulls)},"
        f" {_text(least)}, {_text(most)}, {_flag(has_nan)})"
        for column, (values, nulls, least, most, has_nan) in known.items()
    )
    cursor.execute(
        f"DELETE FROM {CATALOG}.ducklake_file_column_stats WHERE data_file_id = {number}"
        f" AND column_id NOT IN ({', '.join(map(str, known)) or '-1'})"
    )
    if rows:
        cursor.execute(
            f"UPDATE {CATALOG}.ducklake_file_column_stats AS s SET column_size_bytes = v.size, value_count = v.count,"
            " null_count = v.nulls, min_value = v.least, max_value = v.most, contains_nan = v.has_nan,"
            " extra_stats = NULL"
            f" FROM (VALUES {rows}) v(column_id, size, count, nulls, least, most, has_nan)"
            f" WHERE s.data_file_id = {number} AND s.column_id = v.column_id"
        )


def left_behind(cursor: duckdb.DuckDBPyConnection) -> list[int]:
    """The numbers of entries that went a while ago and have left something, as long as it is known which they are."""
    found = cursor.execute(
        f"SELECT DISTINCT data_file_id FROM {CATALOG}.ducklake_file_partition_value WHERE data_file_id IN"
        f" (SELECT data_file_id FROM {CATALOG}.ducklake_files_scheduled_for_deletion"
        f" WHERE schedule_start::TIMESTAMPTZ < now() - INTERVAL ({_SWEEP_SECONDS}) SECOND)"
    ).fetchall()
    return [number for (number,) in found]


def sweep(cursor: duckdb.DuckDBPyConnection, numbers: Sequence[int]) -> None:
    """In a transaction: remove what is left of entries that went."""
    _remove(cursor, numbers, _OF_FILES)


def forget(cursor: duckdb.DuckDBPyConnection, numbers: Sequence[int]) -> None:
    """The same, and the note of them, as their files are no more."""
    _remove(cursor, numbers, (*_OF_FILES, "ducklake_files_scheduled_for_deletion"))


def _remove(cursor: duckdb.DuckDBPyConnection, numbers: Sequence[int], relations: Sequence[str]) -> None:
    listed = ", ".join(map(str, numbers))
    for relation in relations:
        cursor.execute(f"DELETE FROM {CATALOG}.{relation} WHERE data_file_id IN ({listed})")


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


def _total(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(number for number in known if number is not None)


def _number(value: int | None) -> str:
    return "NULL" if value is None else str(value)


def _text(value: str | None) -> str:
    return "NULL" if value is None else quoted(value)


def _flag(value: bool | None) -> str:
    return "NULL" if value is None else f"{bool(value)}".lower()
