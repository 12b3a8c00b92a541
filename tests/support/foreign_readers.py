"""How others read a table on a disk, in each format; Parquet as its folder. None of them knows anything of emitter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pyiceberg.table
from deltalake import DeltaTable
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy.engine import URL

from emitter.duck import NOTHING_UNASKED, load


def counts_by_readers(output: Path, table: str, format: str = "parquet") -> dict[str, Callable[[], int]]:
    """By reader, what counts the rows that it finds in a table of an output."""
    folder = output / table
    if format == "delta":
        return {
            "delta-rs": lambda: DeltaTable(str(folder)).to_pyarrow_table().num_rows,
            "polars": lambda: pl.scan_delta(str(folder)).collect().height,
        }
    if format == "iceberg":
        return {
            "pyiceberg": lambda: _iceberg_table(output, table).scan().to_arrow().num_rows,
            "polars": lambda: pl.scan_iceberg(_iceberg_table(output, table)).collect().height,
        }
    if format == "ducklake":
        return {"DuckDB": lambda: _by_ducklake(output, table)}
    return {
        "polars": lambda: _by_polars(str(folder)),
        "polars, with a glob": lambda: _by_polars(f"{folder}/**/*.parquet"),
        "DuckDB": lambda: _by_duckdb(str(folder)),
        "DuckDB, with a glob": lambda: _by_duckdb(f"{folder}/**/*.parquet"),
        "pyarrow": lambda: pyarrow.dataset.dataset(folder, partitioning="hive").count_rows(),
        "pyarrow.parquet": lambda: pyarrow.parquet.read_table(folder, columns=[]).num_rows,
        "Spark's rules": lambda: _by_the_rules_of_spark(folder),
    }


def _iceberg_table(output: Path, table: str) -> pyiceberg.table.Table:
    place = URL.create("sqlite", database=str(output / "iceberg.sqlite"))
    return SqlCatalog("emitter", uri=place.render_as_string(hide_password=False)).load_table(f"emitter.{table}")


def _by_ducklake(output: Path, table: str) -> int:
    path = str(output / "ducklake.sqlite").replace("'", "''")
    with duckdb.connect(config=dict(NOTHING_UNASKED)) as connection:
        for name in ("ducklake", "sqlite_scanner"):
            load(connection, name, extra="ducklake", needed_for="a test")
        connection.execute(f"ATTACH 'ducklake:sqlite:{path}' AS lake (READ_ONLY)")
        return connection.execute(f"FROM lake.{table}").to_arrow_table().num_rows


def _by_polars(source: str) -> int:
    return pl.scan_parquet(source, hive_partitioning=True).select(pl.len()).collect().item()


def _by_duckdb(source: str) -> int:
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT count(*) FROM read_parquet(?, hive_partitioning = true)", [source]
        ).fetchone()
        assert found is not None
        return int(found[0])


def _by_the_rules_of_spark(folder: Path) -> int:
    """Every file counts, unless a name on its way begins with `_` or `.`; a folder `_x=1` is a partition though."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = [name for name in names if not any(p[0] == "." or (p[0] == "_" and "=" not in p) for p in name.parts)]
    return sum(pyarrow.parquet.read_metadata(folder / name).num_rows for name in shown)
