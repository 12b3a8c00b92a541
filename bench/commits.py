"""What a commit costs, beside the bare registration of the same files and the library's own write of the same rows.

    ours      the writer's commit of files that are staged already: look at the table, compare, register, set
    bare      the shortest way by which the library registers these files, without progress and without looking
    library   the library's own append of the rows, encoding included

Orders of the shop in one partition, in files of at most 250,000 rows, on a local disk. The three ways take turns, each
in a table of its own, so that all see the machine in the same state; each ratio is the median of its turns' ratios.

    .venv/bin/python bench/commits.py [--turns 15] [--rows 1000 1000000]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' Postgres

from emitter import CatalogConfig, WriterOptions, arrow, create_generator, create_writer
from emitter.encoder import Encoder
from emitter.model import EncodedFile, Slice, StagedFile, Table, TableCommit, Window
from emitter.partitioning import PartitionSpec
from tests.support import postgres

TABLE = "orders"
ORDERS_PER_SECOND = 1000
SPEC = PartitionSpec.of("month")
Way = Callable[[], None]


class Rows:
    """So many orders of one month: as files, as Arrow, and with the partition's columns."""

    def __init__(self, count: int) -> None:
        shop = create_generator("ecommerce", start="2026-06-01", orders_per_second=ORDERS_PER_SECOND, customers=10_000)
        self.table: Table = shop.table(TABLE)
        self.origin_slot = shop.origin_slot
        frames, missing, first = [], count, shop.origin_slot
        while missing:
            for frame in shop.rows(Window(first, first + 60), Slice(), (TABLE,)):
                frames.append(replace(frame, rows=frame.rows.slice(0, missing)))
                missing -= frames[-1].rows.num_rows
            first += 60
        encoder = Encoder([self.table], WriterOptions(partition=SPEC))
        chunks = [chunk for frame in frames for chunk in encoder.add(frame)] + encoder.finish()
        self.files: list[EncodedFile] = [encoder.encode(chunk) for chunk in chunks]
        self.arrow = pa.concat_tables([arrow.to_table(self.table, frame.rows) for frame in frames]).combine_chunks()
        keys = [pa.array([value], pa.int32()).take(pa.array([0] * count)) for value in SPEC.values(self.origin_slot)]
        self.keyed = self.arrow
        for name, values in zip(SPEC.columns, keys, strict=True):
            self.keyed = self.keyed.append_column(pa.field(name, pa.int32(), nullable=False), values)


class Output:
    """An output with its table in it, and staged files under new names for every turn."""

    def __init__(self, format: str, folder: Path, catalog: CatalogConfig, rows: Rows) -> None:
        self.uri, self.rows, self.catalog = str(folder), rows, catalog
        self.writer: Any = create_writer(format, self.uri, None, catalog, WriterOptions(partition=SPEC))
        self.writer.open("0" * 32, rows.table)
        self.slot: int | None = None
        self.commit(self.stage())

    def stage(self) -> tuple[StagedFile, ...]:
        first = self.rows.origin_slot if self.slot is None else self.slot
        window = Window(first, first + 60)
        return tuple(self.writer.stage(Slice(), window, file) for file in self.rows.files)

    def commit(self, staged: tuple[StagedFile, ...]) -> None:
        end = (self.rows.origin_slot if self.slot is None else self.slot) + 60
        *_, last = self.writer.commit(Slice(), [TableCommit(TABLE, self.slot, end, staged)])
        assert last.outcome == "ok", last
        self.slot = end


def delta_bare(output: Output) -> Callable[[tuple[StagedFile, ...]], None]:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction

    handle = DeltaTable(f"{output.uri}/{TABLE}")
    values = dict(zip(SPEC.columns, map(str, SPEC.values(output.rows.origin_slot)), strict=True))

    def register(staged: tuple[StagedFile, ...]) -> None:
        handle.update_incremental()
        actions = [
            AddAction(
                file.final_path.removeprefix(f"{TABLE}/"),
                file.size_bytes,
                values,
                0,
                True,
                f'{{"numRecords": {file.rows}}}',
            )
            for file in staged
        ]
        handle.create_write_transaction(actions, "append", handle.schema(), list(SPEC.columns))

    return register


def delta_library(output: Output) -> Way:
    from deltalake import DeltaTable, write_deltalake

    handle = DeltaTable(f"{output.uri}/{TABLE}")

    def write() -> None:
        handle.update_incremental()
        write_deltalake(handle, output.rows.keyed, mode="append")

    return write


def iceberg_catalog(output: Output) -> Any:
    from pyiceberg.catalog.sql import SqlCatalog

    from emitter.writers.iceberg.catalog import NAME

    uri = str(output.catalog.uri or f"sqlite:///{output.uri}/iceberg.sqlite")
    return SqlCatalog(NAME, uri=uri)


def iceberg_bare(output: Output) -> Callable[[tuple[StagedFile, ...]], None]:
    from emitter.writers.iceberg import tables as iceberg_tables

    table = iceberg_catalog(output).load_table(f"{output.writer._catalog.namespace}.{TABLE}")

    def register(staged: tuple[StagedFile, ...]) -> None:
        table.refresh()
        files = [
            iceberg_tables.data_file(file, f"file://{output.uri}/{file.final_path}", table.schema(), table.spec())
            for file in staged
        ]
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
            for file in files:
                append.append_data_file(file)

    return register


def iceberg_library(output: Output) -> Way:
    # Without partitions: to split rows by them, the library needs another package, and more time.
    table = iceberg_catalog(output).create_table(
        f"{output.writer._catalog.namespace}.plain", output.rows.arrow.schema, location=f"file://{output.uri}/plain"
    )

    def write() -> None:
        table.refresh()
        table.append(output.rows.arrow)

    return write


def ducklake_connection(output: Output) -> Any:
    lake = output.writer._lake
    return lake._connected(create=False).cursor()


def ducklake_bare(output: Output) -> Callable[[tuple[StagedFile, ...]], None]:
    connection = ducklake_connection(output)

    def register(staged: tuple[StagedFile, ...]) -> None:
        paths = [f"{output.uri}/{file.final_path}" for file in staged]
        connection.execute("BEGIN")
        connection.execute(f"CALL ducklake_add_data_files('lake', '{TABLE}', ?, hive_partitioning => true)", [paths])
        connection.execute("COMMIT")

    return register


def ducklake_library(output: Output) -> Way:
    connection = ducklake_connection(output)
    connection.register("incoming", output.rows.keyed)

    def write() -> None:
        connection.execute(f"INSERT INTO lake.{TABLE} SELECT * FROM incoming")

    return write


WAYS: dict[str, tuple[Any, Any]] = {
    "delta": (delta_bare, delta_library),
    "iceberg": (iceberg_bare, iceberg_library),
    "ducklake": (ducklake_bare, ducklake_library),
}


OUTPUTS = (
    ("parquet", ""),
    ("delta", ""),
    ("iceberg", "sqlite"),
    ("iceberg", "postgres"),
    ("ducklake", "sqlite"),
    ("ducklake", "postgres"),
)


def seconds(act: Way) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def measure(format: str, catalog: str, rows: Rows, turns: int) -> str:
    """A line of results."""

    def output(folder: str) -> Output:
        uri = None
        if catalog == "postgres":
            uri = postgres.shared().url(postgres.shared().new_database())
        return Output(format, Path(root) / folder, CatalogConfig(uri=uri), rows)

    with tempfile.TemporaryDirectory() as root:
        ours = output("ours")
        taken: dict[str, list[float]] = {"ours": [], "bare": [], "library": []}
        if format in WAYS:
            make_bare, make_library = WAYS[format]
            other, third = output("bare"), output("library")
            bare, library = make_bare(other), make_library(third)
        for _ in range(turns):
            taken["ours"].append(seconds(partial(ours.commit, ours.stage())))
            if format in WAYS:
                taken["bare"].append(seconds(partial(bare, other.stage())))
                other.slot += 60
                taken["library"].append(seconds(library))
        name = " ".join(filter(None, (format, catalog)))
        count, mine = rows.arrow.num_rows, statistics.median(taken["ours"]) * 1000
        if format not in WAYS:
            return f"{name:18} {count:9,} {mine:8.1f}"
        to_bare = statistics.median(a / b for a, b in zip(taken["ours"], taken["bare"], strict=True))
        cheaper = statistics.median(c / a for a, c in zip(taken["ours"], taken["library"], strict=True))
        plain, own = (statistics.median(taken[way]) * 1000 for way in ("bare", "library"))
        return f"{name:18} {count:9,} {mine:8.1f} {plain:8.1f} {own:9.1f} {to_bare:10.2f} {cheaper:12.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 1_000_000])
    arguments = parser.parse_args()
    print(f"{'':18} {'rows':>9} {'ours ms':>8} {'bare ms':>8} {'library':>9} {'ours/bare':>10} {'library/ours':>12}")
    for count in arguments.rows:
        rows = Rows(count)
        for name, catalog in OUTPUTS:
            print(measure(name, catalog, rows, arguments.turns), flush=True)


if __name__ == "__main__":
    main()
