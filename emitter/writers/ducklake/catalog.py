"""What a lake's catalogue says: the tables as DuckLake describes them, their files, and our progress in them.

Tables and files are read from the catalogue's own tables, which DuckLake's specification lays down. DuckDB's views of
them would be ten times slower, and know neither partitions nor comments.

    _emitter.progress_0_of_1        of slice 0 of 1, a row per table:
    table_name | slot | rows | files | bytes         slot is NULL until the first commit

A table per slice, as two commits to one table's rows are a conflict. Such small rows stay in the catalogue ("inlined"),
and upkeep by others leaves the schema out: while a flush writes them to a file, who reads may find none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from emitter.duck import identifier, quoted
from emitter.errors import CommitConflictError, DamagedStateError
from emitter.model import Slice, TableProgress
from emitter.writers.ducklake.connection import CATALOG, LAKE

PROGRESS_SCHEMA = "_emitter"

_PROGRESS_TABLE = re.compile(r"progress_(\d+)_of_(\d+)")
_MARK = re.compile(r" ?\[emitter run ([^\]\s]+)\]")


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A table of the newest snapshot, in DuckLake's words."""

    table_id: int
    comment: str
    columns: tuple[tuple[str, str, bool], ...] = ()  # name, type, nullable
    partition: str = ""
    field_ids: tuple[int, ...] = ()  # of the columns

    @property
    def run_id(self) -> str | None:
        """The run that this table was made or adopted by."""
        mark = _MARK.search(self.comment)
        return mark[1] if mark else None


def marked(comment: str, run_id: str) -> str:
    """A table's comment that also tells whose it is. A comment belongs to the one table it was given to, not to the
    name: a table that somebody makes anew has none.
    """
    return f"{_MARK.sub('', comment)} [emitter run {run_id}]".lstrip()


def tables(cursor: duckdb.DuckDBPyConnection, schema: str, names: Iterable[str]) -> dict[str, LakeTable]:
    """Those that are there, without columns and partition. A DuckLake name is the same in capitals."""
    wanted = {name.lower(): name for name in names}
    found = cursor.execute(
        f"SELECT t.table_name, t.table_id, c.value FROM {CATALOG}.ducklake_table t"
        f" JOIN {CATALOG}.ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL"
        f" LEFT JOIN {CATALOG}.ducklake_tag c ON c.object_id = t.table_id AND c.end_snapshot IS NULL"
        " AND c.key = 'comment' WHERE t.end_snapshot IS NULL AND lower(s.schema_name) = lower(?)",
        [schema],
    ).fetchall()
    return {
        wanted[name.lower()]: LakeTable(table_id, comment or "")
        for name, table_id, comment in found
        if name.lower() in wanted
    }


def table(cursor: duckdb.DuckDBPyConnection, schema: str, name: str) -> LakeTable | None:
    """A table with its columns and how it is partitioned."""
    found = tables(cursor, schema, [name]).get(name)
    if found is None:
        return None
    columns = cursor.execute(
        f"SELECT column_name, column_type, CAST(nulls_allowed AS BOOLEAN), column_id FROM {CATALOG}.ducklake_column"
        " WHERE table_id = ? AND end_snapshot IS NULL AND parent_column IS NULL ORDER BY column_order",
        [found.table_id],
    ).fetchall()
    keys = cursor.execute(
        f"SELECT c.column_name, k.transform FROM {CATALOG}.ducklake_partition_info i"
        f" JOIN {CATALOG}.ducklake_partition_column k ON k.partition_id = i.partition_id AND k.table_id = i.table_id"
        f" JOIN {CATALOG}.ducklake_column c ON c.column_id = k.column_id AND c.table_id = i.table_id"
        " WHERE i.table_id = ? AND i.end_snapshot IS NULL AND c.end_snapshot IS NULL ORDER BY k.partition_key_index",
        [found.table_id],
    ).fetchall()
    partition = ", ".join(name if transform == "identity" else f"{transform}({name})" for name, transform in keys)
    described = tuple((name, kind, nullable) for name, kind, nullable, _ in columns)
    return LakeTable(found.table_id, found.comment, described, partition, tuple(column[-1] for column in columns))


def inlined_progress(cursor: duckdb.DuckDBPyConnection, slice: Slice | None = None) -> list[str]:
    """The same of the progress of a slice, or of all."""
    found = cursor.execute(
        f"SELECT t.table_name, i.table_name FROM {CATALOG}.ducklake_inlined_data_tables i"
        f" JOIN {CATALOG}.ducklake_table t ON t.table_id = i.table_id AND t.end_snapshot IS NULL"
        f" JOIN {CATALOG}.ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL"
        " WHERE s.schema_name = ? ORDER BY ALL",
        [PROGRESS_SCHEMA],
    ).fetchall()
    is_asked = _PROGRESS_TABLE.fullmatch if slice is None else _progress_name(slice).__eq__
    return [inlined for name, inlined in found if is_asked(name)]


def inlined_tables(cursor: duckdb.DuckDBPyConnection, table_id: int) -> list[str]:
    """The catalogue's own tables that hold those of a table's rows that are in no file."""
    query = f"SELECT table_name FROM {CATALOG}.ducklake_inlined_data_tables WHERE table_id = ? ORDER BY ALL"
    return [name for (name,) in cursor.execute(query, [table_id]).fetchall()]


def stands_still(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Whether DuckLake sees the same snapshot in a transaction as who looks into its catalogue: they are two
    connections, and somebody may have committed in between.
    """
    seen = cursor.execute(f"SELECT id FROM {LAKE}.current_snapshot()").fetchone()
    return seen == cursor.execute(f"SELECT max(snapshot_id) FROM {CATALOG}.ducklake_snapshot").fetchone()


def full_name(schema: str, table: str) -> str:
    """A table of the lake, in SQL."""
    return f"{LAKE}.{identifier(schema)}.{identifier(table)}"


def progress_table(slice: Slice) -> str:
    """The full name of a slice's progress table."""
    return full_name(PROGRESS_SCHEMA, _progress_name(slice))


def slices(cursor: duckdb.DuckDBPyConnection) -> list[Slice]:
    """The slices that have a progress table."""
    found = cursor.execute(
        f"SELECT t.table_name FROM {CATALOG}.ducklake_table t JOIN {CATALOG}.ducklake_schema s"
        " ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL"
        " WHERE t.end_snapshot IS NULL AND s.schema_name = ? ORDER BY ALL",
        [PROGRESS_SCHEMA],
    ).fetchall()
    matches = (_PROGRESS_TABLE.fullmatch(name) for (name,) in found)
    return [Slice(int(match[1]), int(match[2])) for match in matches if match]


def read_progress(cursor: duckdb.DuckDBPyConnection, slice: Slice) -> dict[str, TableProgress | None]:
    """By table, what a slice's progress table says in the transaction of the cursor."""
    rows = cursor.execute(f"SELECT table_name, slot, rows, files, bytes FROM {progress_table(slice)}").fetchall()
    found = {name: None if slot is None else TableProgress(slot, *counts) for name, slot, *counts in rows}
    if len(found) != len(rows):
        raise _damaged(slice, "has more than one row for a table")
    return found


def begin_progress(
    cursor: duckdb.DuckDBPyConnection, slice: Slice, names: Sequence[str], *, surely: bool = True
) -> bool:
    """In a transaction: give those tables that have none their rows in the progress table. False (and nothing is done)
    where rows are missing in one that is there, and may only be on their way: look again, then do it `surely`.
    """
    is_new = slice not in slices(cursor)
    known = set() if is_new else set(read_progress(cursor, slice))
    missing = [name for name in names if name not in known]
    if missing and not (is_new or surely):
        return False
    if is_new:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.{PROGRESS_SCHEMA}")
        cursor.execute(
            f"CREATE TABLE {progress_table(slice)} (table_name VARCHAR NOT NULL, slot BIGINT, rows BIGINT NOT NULL,"
            " files BIGINT NOT NULL, bytes BIGINT NOT NULL)"
        )
    elif missing:
        # There are no unique keys, and two inserts are no conflict. Two updates are.
        cursor.execute(f"UPDATE {progress_table(slice)} SET slot = slot")
    for name in missing:
        cursor.execute(f"INSERT INTO {progress_table(slice)} VALUES (?, NULL, 0, 0, 0)", [name])
    return True


def keep_from_upkeep(cursor: duckdb.DuckDBPyConnection) -> None:
    """Have flushes, compactions and CHECKPOINT pass over the progress tables, which must be there: an option of the
    lake, for whoever calls them. Only a call that names one of the tables still takes it.
    """
    if not _has_compact_option(cursor, PROGRESS_SCHEMA):
        cursor.execute(f"CALL {LAKE}.set_option('auto_compact', 'false', schema => {quoted(PROGRESS_SCHEMA)})")


def keep_to_own_upkeep(cursor: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    """The same for a table that emitter compacts, unless somebody has said something of it. DuckLake's own compaction
    repeats the whole path of our files below its own folder; on S3 it fails of that, and ends the caller's database.
    Whether it had to be said.
    """
    is_said = _has_compact_option(cursor, f"{schema}.{table}")
    if not is_said:
        where = f"schema => {quoted(schema)}, table_name => {quoted(table)}"
        cursor.execute(f"CALL {LAKE}.set_option('auto_compact', 'false', {where})")
    return not is_said


def is_said_how_to_compact(cursor: duckdb.DuckDBPyConnection, table_id: int) -> bool:
    """Whether a table has that option, one way or the other."""
    query = (
        f"SELECT count(*) FROM {CATALOG}.ducklake_metadata"
        " WHERE key = 'auto_compact' AND scope = 'table' AND scope_id = ?"
    )
    return cursor.execute(query, [table_id]).fetchone() != (0,)


def _has_compact_option(cursor: duckdb.DuckDBPyConnection, scope: str) -> bool:
    options = f"SELECT count(*) FROM {LAKE}.options() WHERE option_name = 'auto_compact' AND scope_entry = ?"
    return cursor.execute(options, [scope]).fetchone() != (0,)


def move_progress(
    cursor: duckdb.DuckDBPyConnection,
    slice: Slice,
    moves: Mapping[str, tuple[TableProgress | None, TableProgress]],
) -> None:
    """In a transaction: the compare-and-set of all tables at once, each from one progress to another. Raises
    CommitConflictError where a table does not say what it should.
    """
    values = ", ".join(
        f"({quoted(name)}, {before.slot if before else 'NULL::BIGINT'},"
        f" {after.slot}, {after.rows}, {after.files}, {after.bytes})"
        for name, (before, after) in moves.items()
    )
    result = cursor.execute(
        f"UPDATE {progress_table(slice)} AS p SET slot = v.slot, rows = v.rows, files = v.files, bytes = v.bytes"
        f" FROM (VALUES {values}) v(name, expected, slot, rows, files, bytes)"
        " WHERE p.table_name = v.name AND p.slot IS NOT DISTINCT FROM v.expected"
    ).fetchone()
    if result != (len(moves),):
        raise CommitConflictError(
            f"the progress of slice {slice} is not as it was read", hint="read the progress, and try again"
        )


def prune(cursor: duckdb.DuckDBPyConnection, inlined: Iterable[str]) -> None:
    """Remove rows that commits have replaced. DuckLake keeps them for good, and reads past all of them at each commit:
    expiry forgets only snapshots.
    """
    for name in inlined:
        cursor.execute(f"DELETE FROM {CATALOG}.{identifier(name)} WHERE end_snapshot IS NOT NULL")


def dead_rows(cursor: duckdb.DuckDBPyConnection, inlined: Iterable[str]) -> int:
    """How many rows were replaced and are still there."""
    query = f"SELECT count(*) FROM {CATALOG}.{{}} WHERE end_snapshot IS NOT NULL"
    rows = [cursor.execute(query.format(identifier(name))).fetchone() for name in inlined]
    return sum(row[0] for row in rows if row)


def last_altered(cursor: duckdb.DuckDBPyConnection, table_id: int) -> int:
    """The snapshot since which a table has the columns that it has."""
    query = f"SELECT coalesce(max(begin_snapshot), 0) FROM {CATALOG}.ducklake_schema_versions WHERE table_id = ?"
    row = cursor.execute(query, [table_id]).fetchone()
    return int(row[0]) if row else 0


def _progress_name(slice: Slice) -> str:
    return f"progress_{slice.index}_of_{slice.count}"


def _damaged(slice: Slice, why: str) -> DamagedStateError:
    return DamagedStateError(
        f"the table {PROGRESS_SCHEMA}.{_progress_name(slice)} {why}",
        hint="restore the catalogue from a backup; nobody but emitter may write to that table",
    )
