"""Which files a lake's catalogue names: those of a table that count, and all that are still needed for something."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from emitter.duck import identifier
from emitter.model import TableSize
from emitter.writers.ducklake.catalog import inlined_tables
from emitter.writers.ducklake.connection import CATALOG

# DuckLake's rule for where a file is: relative to its table's folder, that to its schema's, that to the data path.
_FULL_PATH = (
    "if(f.path_is_relative, if(t.path_is_relative, if(s.path_is_relative, $data_path, '') || s.path, '') || t.path, '')"
    " || f.path"
)


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A registration of a data file: its full path, its partition, if it lies in one of the table's present
    partitioning, whether rows that it holds were deleted, its size and rows, and whether readers find its columns by
    their field ids: those of files that others registered go by name.

    `number` and `partition_id` are DuckLake's own. Its rows came with snapshots `first_snapshot` to `last_snapshot`;
    they have the row ids from `row_id_start` on, if not ones of their own. `is_plain`: Parquet that anybody can read.
    """

    path: str
    partition: tuple[int, ...] | None
    has_deletes: bool
    size_bytes: int
    rows: int
    goes_by_ids: bool
    number: int
    partition_id: int | None
    first_snapshot: int
    last_snapshot: int
    row_id_start: int | None
    is_plain: bool


def files(cursor: duckdb.DuckDBPyConnection, table_id: int, data_path: str) -> list[LakeFile]:
    """A table's files, each as often as it is registered, by path."""
    found = cursor.execute(
        f"SELECT {_FULL_PATH} AS full_path, f.data_file_id, bool_or(d.data_file_id IS NOT NULL),"
        " list(v.partition_value ORDER BY v.partition_key_index) FILTER (i.partition_id IS NOT NULL),"
        " f.file_size_bytes, f.record_count, f.mapping_id IS NULL, f.partition_id, f.begin_snapshot,"
        " coalesce(f.partial_max, f.begin_snapshot), f.row_id_start,"
        " f.file_format = 'parquet' AND f.encryption_key IS NULL"
        f" FROM {CATALOG}.ducklake_data_file f JOIN {CATALOG}.ducklake_table t ON t.table_id = f.table_id"
        f" JOIN {CATALOG}.ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL"
        f" LEFT JOIN {CATALOG}.ducklake_delete_file d ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL"
        f" LEFT JOIN {CATALOG}.ducklake_file_partition_value v ON v.data_file_id = f.data_file_id"
        f" LEFT JOIN {CATALOG}.ducklake_partition_info i ON i.partition_id = f.partition_id"
        " AND i.table_id = f.table_id AND i.end_snapshot IS NULL"
        " WHERE f.table_id = $table_id AND f.end_snapshot IS NULL AND t.end_snapshot IS NULL GROUP BY ALL ORDER BY ALL",
        {"data_path": data_path, "table_id": table_id},
    ).fetchall()
    inlined = files_with_inlined_deletes(cursor, table_id)
    return [
        LakeFile(
            path,
            tuple(map(int, values)) if values and None not in values else None,
            has_deletes or number in inlined,
            size,
            rows,
            goes_by_ids,
            number,
            *more,
        )
        for path, number, has_deletes, values, size, rows, goes_by_ids, *more in found
    ]


def paths_from(cursor: duckdb.DuckDBPyConnection, table_id: int, first: str) -> list[str]:
    """A table's files that were registered by their full paths, as ours are, from a partition's folder on."""
    query = f"SELECT path FROM {CATALOG}.ducklake_data_file WHERE table_id = ? AND end_snapshot IS NULL AND path >= ?"
    return [path for (path,) in cursor.execute(query, [table_id, first]).fetchall()]


def size(cursor: duckdb.DuckDBPyConnection, table_id: int) -> TableSize:
    """What a reader of a table goes through."""
    row = cursor.execute(
        f"SELECT count(*), coalesce(sum(file_size_bytes), 0) FROM {CATALOG}.ducklake_data_file"
        " WHERE table_id = ? AND end_snapshot IS NULL",
        [table_id],
    ).fetchone()
    assert row is not None
    return TableSize(int(row[0]), int(row[1]))


def needed_paths(cursor: duckdb.DuckDBPyConnection, data_path: str) -> set[str]:
    """The full paths of all files that any snapshot names, of whichever table."""
    relation = f"SELECT table_id, path, path_is_relative FROM {CATALOG}.{{}}"
    found = cursor.execute(
        f"SELECT {_FULL_PATH} FROM ({relation.format('ducklake_data_file')} UNION ALL"
        f" {relation.format('ducklake_delete_file')}) f JOIN {CATALOG}.ducklake_table t ON t.table_id = f.table_id"
        f" JOIN {CATALOG}.ducklake_schema s ON s.schema_id = t.schema_id",
        {"data_path": data_path},
    ).fetchall()
    return {path for (path,) in found}


def scheduled(
    cursor: duckdb.DuckDBPyConnection, data_path: str, before_wall_seconds: float | None = None
) -> dict[str, int]:
    """The full paths of files that went out of use (up to a time, if one is given), with the numbers that they had."""
    found = cursor.execute(
        "SELECT if(path_is_relative, $data_path, '') || path, data_file_id"
        f" FROM {CATALOG}.ducklake_files_scheduled_for_deletion"
        " WHERE $before IS NULL OR schedule_start::TIMESTAMPTZ <= to_timestamp($before)",
        {"data_path": data_path, "before": before_wall_seconds},
    ).fetchall()
    return dict(found)


def folder(cursor: duckdb.DuckDBPyConnection, table_id: int, data_path: str) -> str:
    """Where DuckLake itself puts a table's files."""
    row = cursor.execute(
        f"SELECT {_FULL_PATH} FROM (SELECT '' AS path, true AS path_is_relative) f, {CATALOG}.ducklake_table t"
        f" JOIN {CATALOG}.ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL"
        " WHERE t.table_id = $table_id AND t.end_snapshot IS NULL",
        {"data_path": data_path, "table_id": table_id},
    ).fetchone()
    assert row is not None
    return str(row[0])


def files_with_inlined_deletes(cursor: duckdb.DuckDBPyConnection, table_id: int) -> set[int]:
    """Those whose few deleted rows the catalogue itself lists, in a table that is made with the first of them."""
    try:
        found = cursor.execute(f"SELECT DISTINCT file_id FROM {CATALOG}.ducklake_inlined_delete_{table_id}").fetchall()
    except duckdb.CatalogException:  # what a list of the tables says may be long out of date: this asks for the one
        return set()
    return {number for (number,) in found}


def inlined_names(cursor: duckdb.DuckDBPyConnection, table_id: int) -> list[str]:
    """What DuckDB calls the files of a table's rows that are in the catalogue itself, if there are any."""
    counts = f"SELECT count(*) FROM {CATALOG}.{{}} WHERE end_snapshot IS NULL"
    names = inlined_tables(cursor, table_id)
    return [name for name in names if cursor.execute(counts.format(identifier(name))).fetchone() != (0,)]
