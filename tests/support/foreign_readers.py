"""How others read a Parquet table that is given as its folder. None of them knows anything of emitter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset
import pyarrow.parquet


def counts_by_readers(folder: Path) -> dict[str, Callable[[], int]]:
    """By reader, how many rows it finds in a table's folder."""
    return {
        "polars": lambda: _by_polars(str(folder)),
        "polars, with a glob": lambda: _by_polars(f"{folder}/**/*.parquet"),
        "DuckDB": lambda: _by_duckdb(str(folder)),
        "DuckDB, with a glob": lambda: _by_duckdb(f"{folder}/**/*.parquet"),
        "pyarrow": lambda: pyarrow.dataset.dataset(folder, partitioning="hive").count_rows(),
        "pyarrow.parquet": lambda: pyarrow.parquet.read_table(folder, columns=[]).num_rows,
        "Spark's rules": lambda: _by_the_rules_of_spark(folder),
    }


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
