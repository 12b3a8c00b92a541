"""Every combination of format, storage and catalogue, and what a reader that is not ours finds there."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import TestCase
from unittest.mock import patch

import duckdb
import polars as pl
import psycopg
import pyarrow as pa

from emitter import arrow
from emitter.config import EmitterConfig
from emitter.generators import domain_class
from emitter.model import Table
from emitter.run.assembly import configured_writer
from emitter.truth.digest import row_words, total
from tests.support import ducklake_reader, postgres, s3_server
from tests.support.shop import TABLES, shop, shop_mapping


@dataclass(frozen=True)
class Target:
    """Where a run may write. `storage` is disk or s3; `catalog` is sqlite, postgres or nothing."""

    format: str
    storage: str = "disk"
    catalog: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.format, self.storage, self.catalog)))


TARGETS = (
    Target("parquet"),
    Target("delta"),
    Target("iceberg", catalog="sqlite"),
    Target("ducklake", catalog="sqlite"),
    Target("parquet", "s3"),
    Target("delta", "s3"),
    Target("iceberg", "s3", "postgres"),
    Target("ducklake", "s3", "postgres"),
)
"""Each format on each storage, and both kinds of catalogue."""


@dataclass
class Place:
    """An empty output of a target. `changes` are configuration keys with dots; `environ` is for child processes."""

    target: Target
    changes: dict[str, Any]
    environ: dict[str, str] = field(default_factory=dict)

    def crash_points(self) -> list[str]:
        """Those that a run of its own passes: it adopts nothing."""
        points = configured_writer(self.config()).crash_points
        return [point for point in points if not point.endswith(".adopted")]

    def config(self, **changes: Any) -> EmitterConfig:
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        return shop(Path("unused"), {**self.changes, **dotted})

    def write_config(self, folder: Path, **changes: Any) -> tuple[Path, dict[str, str]]:
        """The configuration as a file, and the environment for a process that is to use it."""
        dotted = {**self.changes, **{key.replace("__", "."): value for key, value in changes.items()}}
        environ = {**os.environ, **self.environ}
        catalog = dotted.pop("output.catalog.uri", None)
        if catalog:  # it may hold a password, which no file should
            environ["EMITTER_OUTPUT__CATALOG__URI"] = str(catalog)
        path = folder / "emitter.json"
        path.write_text(json.dumps(shop_mapping(Path("unused"), dotted)))
        return path, environ

    @property
    def uri(self) -> str:
        return str(self.changes["output.uri"])

    def digests(self) -> dict[str, tuple[int, str]]:
        """By table, the rows that the other reader finds, and their order-free digest."""
        reader = READERS[self.target.format]
        return {name: digest_of(shop_table(name), reader(self, name)) for name in TABLES}


def new_place(case: TestCase, target: Target) -> Place:
    """A place that is gone when the test ends."""
    folder = Path(case.enterContext(tempfile.TemporaryDirectory()))
    place = Place(target, {"output.format": target.format, "output.uri": str(folder / "out")})
    if target.storage == "s3":
        s3 = s3_server.shared()
        place.changes["output.uri"] = f"s3://{s3.new_bucket()}/lake"
        place.changes["output.s3.endpoint_url"] = s3.endpoint_url
        place.changes["output.s3.region"] = s3.region
        place.environ.update(s3.environ())
    if target.catalog == "postgres":
        server = postgres.shared()
        place.changes["output.catalog.uri"] = server.url(server.new_database())
    elif target.catalog == "sqlite":
        place.changes["output.catalog.uri"] = f"sqlite:///{folder / 'catalog.sqlite'}"
    case.enterContext(patch.dict(os.environ, place.environ))
    return place


def shop_table(name: str) -> Table:
    """A table of the shop, as it is declared."""
    declared = {table.name: table for table in domain_class("ecommerce").table_declarations}
    return declared[name]


def digest_of(table: Table, rows: pa.Table) -> tuple[int, str]:
    names = [column.name for column in table.columns]
    whole = rows.select(names).cast(arrow.file_schema(table)).combine_chunks()
    words = [row_words(table, arrow.to_inside_form(table, batch)) for batch in whole.to_batches()]
    return whole.num_rows, f"{sum(map(total, words)) % 2**64:016x}"


def parquet_rows(place: Place, table: str) -> pa.Table:
    """By polars."""
    options = None
    if place.target.storage == "s3":
        options = {
            "aws_endpoint_url": str(place.changes["output.s3.endpoint_url"]),
            "aws_region": str(place.changes["output.s3.region"]),
            "aws_allow_http": "true",
        }
    return pl.scan_parquet(f"{place.uri}/{table}/**/*.parquet", storage_options=options).collect().to_arrow()


def delta_rows(place: Place, table: str) -> pa.Table:
    """By DuckDB's delta extension."""
    with connection(place) as connected:
        return connected.sql(f"SELECT * FROM delta_scan('{place.uri}/{table}')").to_arrow_table()


def iceberg_rows(place: Place, table: str) -> pa.Table:
    """By DuckDB's iceberg extension, from the metadata that the SQL catalogue names."""
    query = f"SELECT metadata_location FROM iceberg_tables WHERE table_name = '{table}'"
    uri = str(place.changes["output.catalog.uri"])
    if uri.startswith("sqlite:///"):
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as catalog:
            ((location,),) = catalog.execute(query).fetchall()
    else:
        with psycopg.connect(uri) as server:
            ((location,),) = server.execute(query).fetchall()
    with connection(place) as connected:
        return connected.sql(f"SELECT * FROM iceberg_scan('{location}')").to_arrow_table()


READERS: dict[str, Callable[[Place, str], pa.Table]] = {
    "parquet": parquet_rows,
    "delta": delta_rows,
    "iceberg": iceberg_rows,
    "ducklake": ducklake_reader.rows,
}


def extension_path(name: str) -> Path:
    """Where a Python package has put an extension of DuckDB."""
    found = find_spec(f"duckdb_extension_{name}")
    assert found is not None and found.origin is not None, name
    (path,) = Path(found.origin).parent.rglob(f"{name}.duckdb_extension")
    return path


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One for the whole process: to load the extensions takes longer than to read a small table."""
    database = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    database.execute("SET enable_external_file_cache = false")  # what is read is what is there
    for name in ("httpfs", "delta", "avro", "iceberg"):
        database.execute(f"LOAD '{extension_path(name)}'")
    return database


@contextmanager
def connection(place: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with extensions from their Python packages, and the keys to the S3 server if the place is there."""
    with _database().cursor() as connected:
        connected.execute("SET TimeZone = 'UTC'")
        if place.target.storage == "s3":
            endpoint = str(place.changes["output.s3.endpoint_url"]).removeprefix("http://")
            connected.execute(
                f"CREATE OR REPLACE SECRET (TYPE s3, KEY_ID '{place.environ['AWS_ACCESS_KEY_ID']}',"
                f" SECRET '{place.environ['AWS_SECRET_ACCESS_KEY']}', ENDPOINT '{endpoint}', URL_STYLE 'path',"
                f" USE_SSL false, REGION '{place.changes['output.s3.region']}')"
            )
        yield connected
