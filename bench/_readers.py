"""What other tools take to count a table and to filter an hour of it, on two outputs of the same rows in turns."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import duckdb
import polars as pl
import pyarrow.dataset
from deltalake import DeltaTable
from pyiceberg.catalog.sql import SqlCatalog

from emitter.duck import NOTHING_UNASKED, load

os.environ.setdefault("POLARS_ICEBERG_PLANNER", "pyiceberg")  # it warns without
TABLE = "orders"
TURNS = 5
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
END = FIRST + timedelta(hours=1)
HOUR = (pl.col("event_time") >= FIRST) & (pl.col("event_time") < END)
HOUR_SQL = f"event_time >= TIMESTAMPTZ '{FIRST.isoformat()}' AND event_time < TIMESTAMPTZ '{END.isoformat()}'"

Query = Callable[[], int]


def ratios(reader: str, outputs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """By query, the time on the first output over that on the second: medians of turns."""
    found = {}
    pair = [READERS_OF[reader](output) for output in outputs]
    for query in ("count", "hour"):
        times: list[list[float]] = [[], []]
        counts = set()
        for _ in range(TURNS):
            for side, queries in enumerate(pair):
                began = perf_counter()
                counts.add(queries[query]())
                times[side].append(perf_counter() - began)
        if len(counts) != 1:
            raise SystemExit(f"{reader} finds {counts} rows for {query}")
        found[query] = statistics.median(times[0]) / statistics.median(times[1])
    return found


def _parquet_by_duckdb(output: dict[str, Any]) -> dict[str, Query]:
    source = f"read_parquet('{output['uri']}/{TABLE}/**/*.parquet')"
    return _sql(duckdb.connect, source)


def _parquet_by_polars(output: dict[str, Any]) -> dict[str, Query]:
    return _lazy(lambda: pl.scan_parquet(f"{output['uri']}/{TABLE}", hive_partitioning=True))


def _parquet_by_pyarrow(output: dict[str, Any]) -> dict[str, Query]:
    return _dataset(lambda: pyarrow.dataset.dataset(f"{output['uri']}/{TABLE}", partitioning="hive"))


def _delta_by_duckdb(output: dict[str, Any]) -> dict[str, Query]:
    return _sql(lambda: _connected("delta"), f"delta_scan('{output['uri']}/{TABLE}')")


def _delta_by_polars(output: dict[str, Any]) -> dict[str, Query]:
    return _lazy(lambda: pl.scan_delta(f"{output['uri']}/{TABLE}"))


def _delta_by_itself(output: dict[str, Any]) -> dict[str, Query]:
    return _dataset(lambda: DeltaTable(f"{output['uri']}/{TABLE}").to_pyarrow_dataset())


def _iceberg_table(output: dict[str, Any]) -> Any:
    uri = output["catalog"] or f"sqlite:///{output['uri']}/iceberg.sqlite"
    return SqlCatalog("emitter", uri=uri).load_table(f"emitter.{TABLE}")


def _iceberg_by_polars(output: dict[str, Any]) -> dict[str, Query]:
    return _lazy(lambda: pl.scan_iceberg(_iceberg_table(output)))


def _iceberg_by_itself(output: dict[str, Any]) -> dict[str, Query]:
    def rows(**more: Any) -> int:
        found: int = _iceberg_table(output).scan(selected_fields=("order_id",), **more).to_arrow().num_rows
        return found

    where = f"event_time >= '{FIRST.isoformat()}' and event_time < '{END.isoformat()}'"
    return {"count": rows, "hour": lambda: rows(row_filter=where)}


def _iceberg_by_duckdb(output: dict[str, Any]) -> dict[str, Query]:
    def scan() -> str:
        return f"iceberg_scan('{_iceberg_table(output).metadata_location}')"

    def rows(where: str) -> int:
        with _connected("avro", "iceberg") as connection:
            return _one(connection, f"SELECT count(*) FROM {scan()} WHERE {where}")

    return {"count": lambda: rows("true"), "hour": lambda: rows(HOUR_SQL)}


def _ducklake_by_duckdb(output: dict[str, Any]) -> dict[str, Query]:
    uri = output["catalog"]
    place = f"postgres:{uri}" if uri else f"sqlite:{output['uri']}/ducklake.sqlite"

    def connected() -> duckdb.DuckDBPyConnection:
        connection = _connected("ducklake", "sqlite_scanner", "postgres_scanner")
        connection.execute(f"ATTACH 'ducklake:{place}' AS lake (READ_ONLY)")
        return connection

    return _sql(connected, f"lake.{TABLE}")


def _connected(*extensions: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config=dict(NOTHING_UNASKED))
    for extension in extensions:
        load(connection, extension, extra="ducklake", needed_for="a benchmark")
    return connection


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _sql(connect: Callable[[], duckdb.DuckDBPyConnection], source: str) -> dict[str, Query]:
    """Connections are made anew for each query, so that nothing is cached; it counts for both sides."""

    def rows(where: str) -> int:
        with connect() as connection:
            return _one(connection, f"SELECT count(order_id) FROM {source} WHERE {where}")

    return {"count": lambda: rows("true"), "hour": lambda: rows(HOUR_SQL)}


def _lazy(scan: Callable[[], pl.LazyFrame]) -> dict[str, Query]:
    def rows(frame: pl.LazyFrame) -> int:
        return frame.select("order_id").collect().height

    return {"count": lambda: rows(scan()), "hour": lambda: rows(scan().filter(HOUR))}


def _dataset(open_: Callable[[], Any]) -> dict[str, Query]:
    field = pyarrow.dataset.field("event_time")
    return {
        "count": lambda: open_().to_table(columns=["order_id"]).num_rows,
        "hour": lambda: open_().to_table(columns=["order_id"], filter=(field >= FIRST) & (field < END)).num_rows,
    }


READERS_OF: dict[str, Callable[[dict[str, Any]], dict[str, Query]]] = {
    "DuckDB on Parquet": _parquet_by_duckdb,
    "polars on Parquet": _parquet_by_polars,
    "pyarrow on Parquet": _parquet_by_pyarrow,
    "DuckDB on Delta": _delta_by_duckdb,
    "polars on Delta": _delta_by_polars,
    "delta-rs": _delta_by_itself,
    "DuckDB on Iceberg": _iceberg_by_duckdb,
    "polars on Iceberg": _iceberg_by_polars,
    "pyiceberg": _iceberg_by_itself,
    "DuckDB on DuckLake": _ducklake_by_duckdb,
}
READERS = {
    "parquet": ("DuckDB on Parquet", "polars on Parquet", "pyarrow on Parquet"),
    "delta": ("DuckDB on Delta", "polars on Delta", "delta-rs"),
    "iceberg": ("DuckDB on Iceberg", "polars on Iceberg", "pyiceberg"),
    "ducklake": ("DuckDB on DuckLake",),
}
