"""What an independent reader, DuckDB, finds in an output. It knows nothing of emitter but the layout on disk."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from tests.support.shop import KEYS, TABLES

SUMS = {
    "customers": "sum(length(email)), sum(epoch_us(signed_up_at)::HUGEINT)",
    "products": "sum(price), sum(epoch_us(valid_from)::HUGEINT)",
    "orders": "sum(amount), sum(item_count)",
    "order_items": "sum(amount), sum(unit_price * quantity)",
    "payments": "sum(amount), sum(attempt)",
}


def rows_of(table: str, *outputs: Path) -> pa.Table:
    """All rows of a table, in one order whatever order they were written in: equal if the rows are, each as often."""
    return _query(f"SELECT * FROM {_files(table, outputs)} ORDER BY ALL", table, outputs)


def contents(*outputs: Path) -> dict[str, pa.Table]:
    """All rows of all tables, several outputs taken together."""
    return {table: rows_of(table, *outputs) for table in TABLES}


def figures(*outputs: Path) -> dict[str, tuple[object, ...]]:
    """By table: rows, distinct keys, and sums."""
    found = {}
    for table in TABLES:
        keys = ", ".join(KEYS[table])
        query = f"SELECT count(*), count(DISTINCT ({keys})), {SUMS[table]} FROM {_files(table, outputs)}"
        result = _query(query, table, outputs)
        found[table] = tuple(column[0].as_py() for column in result.columns) if result.num_columns else (0,)
    return found


def paths(output: Path, table: str) -> list[Path]:
    """A table's visible files."""
    return sorted((output / table).glob("year=*/**/*.parquet"))


def _files(table: str, outputs: tuple[Path, ...]) -> str:
    files = ", ".join(f"'{path}'" for output in outputs for path in paths(output, table))
    return f"read_parquet([{files}], hive_partitioning = false)"


def _query(query: str, table: str, outputs: tuple[Path, ...]) -> pa.Table:
    if not any(paths(output, table) for output in outputs):
        return pa.table({})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        return connection.sql(query).to_arrow_table()
