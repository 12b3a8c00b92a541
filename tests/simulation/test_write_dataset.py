"""A generator and a writer brought together by hand: the same rows, exactly once."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from emitter import create_generator, create_writer, write_dataset
from emitter.clock import text_of
from emitter.errors import ConfigurationError, EmitterError, UsageError
from emitter.generators.base import GeneratorBase, Period
from emitter.model import Slice, Window
from emitter.partitioning import PartitionSpec
from emitter.testing import (
    FaultyStorage,
    HeartbeatGenerator,
    HeartbeatOptions,
    ManualClock,
    MemoryStorage,
    MemoryWriter,
    SimulatedCrash,
)
from emitter.truth import oracle
from emitter.writers import FORMATS
from emitter.writers.base import WriterOptions
from emitter.writers.parquet.writer import ParquetWriter
from tests.support.case import DaemonCase, tree
from tests.support.reader import contents, figures, rows_of
from tests.support.shop import ORIGIN, START, TABLES, run, shop


class WriteDatasetTest(DaemonCase):
    def shop(self, end: int = 600, **options: Any) -> GeneratorBase:
        return create_generator(
            "ecommerce",
            start=START,
            end=text_of(ORIGIN + end),
            **{"customers": 50, "products": 20, "orders_per_second": 0.5, "customer_growth_per_year": 1.0, **options},
        )

    def beats(self, **period: Any) -> HeartbeatGenerator:
        return HeartbeatGenerator(
            seed=7,
            origin_slot=ORIGIN,
            options=HeartbeatOptions(),
            period=Period(Window(ORIGIN, ORIGIN + 500), **period),
        )

    def written(self, table: str) -> pl.DataFrame:
        data = pl.from_arrow(rows_of(table, self.output))
        assert isinstance(data, pl.DataFrame)
        return data

    def assert_as_told(self, generator: GeneratorBase) -> None:
        """Every table holds the frames of `batches_for`, each row once."""
        for table in generator.tables():
            frames = [pl.DataFrame(schema=generator.schema_for(table)), *generator.batches_for(table)]
            told, written = pl.concat(frames), self.written(table)
            if not told.height:
                self.assertEqual(written.height, 0)
                continue
            self.assertEqual(written.schema, told.schema)
            order = told.columns
            self.assertTrue(written.sort(order).equals(told.sort(order)), table)

    def test_the_shop(self):
        generator = self.shop()
        report = write_dataset(generator, create_writer("parquet", str(self.output)), clock=self.clock)
        self.assertEqual(report.rows, {table: rows for table, (rows, *_) in figures(self.output).items()})
        self.assert_as_told(generator)
        self.assert_undisturbed(600)

    def test_a_domain_of_somebody_else(self):
        for batch_seconds in (7, 120, 10_000):
            self.output = self.new_folder()
            generator = self.beats(batch_seconds=batch_seconds)
            report = write_dataset(generator, create_writer("parquet", str(self.output)), clock=self.clock)
            self.assertEqual((report.rows, self.written("heartbeats").height), ({"heartbeats": 500}, 500))
            self.assert_as_told(generator)

    def test_the_shards_of_a_domain(self):
        for index in range(3):
            generator = self.beats(slice=Slice(index, 3))
            write_dataset(generator, create_writer("parquet", str(self.output)), clock=self.clock)
        self.assertEqual(self.written("heartbeats").height, 500)
        self.assert_as_told(self.beats())

    def test_a_repeat_does_nothing_and_a_longer_period_goes_on(self):
        write_dataset(self.shop(), create_writer("parquet", str(self.output)), clock=self.clock)
        before = tree(self.output)
        report = write_dataset(self.shop(), create_writer("parquet", str(self.output)), clock=self.clock)
        self.assertEqual((sum(report.rows.values()), tree(self.output)), (0, before))
        write_dataset(self.shop(900), create_writer("parquet", str(self.output)), clock=self.clock)
        self.assert_undisturbed(900)
        run(self.config(), 960)  # and the daemon goes on from there
        self.assert_undisturbed(960)

    def test_some_tables(self):
        few = ("customers", "products", "orders")
        report = write_dataset(self.shop(), create_writer("parquet", str(self.output)), few, clock=self.clock)
        self.assertEqual(tuple(report.rows), few)
        expected = contents(self.output)
        self.assertEqual((expected["order_items"].num_rows, expected["orders"].num_rows > 0), (0, True))
        for wrong in (("orders",), ("refunds",), ()):
            with self.subTest(wrong), self.assertRaises(UsageError):
                write_dataset(self.shop(), create_writer("parquet", str(self.new_folder())), wrong)

    def test_the_writer_partitions_as_the_generator_does(self):
        hourly = {"start": START, "end": text_of(ORIGIN + 200), "customers": 5, "products": 5, "orders_per_second": 0.5}
        generator = create_generator("ecommerce", partition=PartitionSpec.of("hour"), **hourly)
        writer = create_writer("parquet", str(self.output), options=WriterOptions(compression="snappy"))
        write_dataset(generator, writer, clock=self.clock)
        folders = {path.parent.name for path in self.output.glob("orders/**/*.parquet")}
        self.assertEqual(folders, {"hour=23", "hour=00"})
        (path, *_) = self.output.glob("orders/**/*.parquet")
        self.assertEqual(pq.ParquetFile(path).metadata.row_group(0).column(0).compression, "SNAPPY")
        config = {key: value for key, value in hourly.items() if key not in ("start", "end")}
        changes = {"ecommerce.customer_growth_per_year": 0.2, **{f"ecommerce.{k}": v for k, v in config.items()}}
        verified = oracle.verify(shop(self.output, {**changes, "partition": "hour"}))
        self.assertTrue(verified.ok, verified)

    def test_a_writer_of_any_format_can_follow_the_generators_partitions(self):
        hour = PartitionSpec.of("hour")
        for name in FORMATS:
            writer = create_writer(name, str(self.output), options=WriterOptions(file_rows_target=7))
            following = writer.placing(hour)
            self.assertEqual((following.options.partition, following.options.file_rows_target), (hour, 7), name)
            self.assertIs(following.placing(hour), following)
            self.assertIs(type(following), type(writer))

    def test_a_writer_that_was_told_to_partition_otherwise_is_refused(self):
        generator = create_generator("ecommerce", start=START, end=text_of(ORIGIN + 60), partition="hour")
        for said in ("month", "day"):  # also what is the default
            options = WriterOptions(partition=PartitionSpec.of(said))
            with self.assertRaises(UsageError) as caught:
                write_dataset(generator, create_writer("parquet", str(self.output), options=options), clock=self.clock)
            self.assertIn(f"the generator partitions by hour, its writer by {said}", caught.exception.problem)
        self.assertEqual(tree(self.output), {})
        with self.assertRaises(ConfigurationError):
            create_generator("ecommerce", start=START, partition="week")

    def test_by_default_a_day_of_a_table_is_a_file(self):
        period = {"start": "2026-01-01", "end": "2026-01-03", "customers": 5, "products": 5, "orders_per_second": 0.01}
        generator, writer = create_generator("ecommerce", **period), create_writer("parquet", str(self.output))
        report = write_dataset(generator, writer, clock=self.clock)
        self.assertEqual({report.files[table] for table in ("orders", "order_items", "payments")}, {2})
        self.assertEqual(
            repr(generator), "<generator ecommerce, seed 42, from 2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z>"
        )
        self.assertEqual(repr(writer), f"<parquet writer of {self.output}>")

    def test_a_folder_may_be_a_path(self):
        write_dataset(self.beats(), create_writer("parquet", self.output / "beats"), clock=self.clock)
        self.assertTrue(list((self.output / "beats" / "heartbeats").rglob("*.parquet")))

    def test_wrong_arguments_are_refused_with_what_to_do(self):
        shop, writer = self.shop(), create_writer("parquet", str(self.output))
        wrong: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any], str, str]] = [
            (write_dataset, ("shop", writer), {}, "cannot be 'shop', of type str", "create_generator("),
            (write_dataset, (shop, "parquet"), {}, "cannot be 'parquet', of type str", "create_writer("),
            (write_dataset, (writer, shop), {}, "the generator of write_dataset", "create_generator("),
            (write_dataset, (shop, writer), {"tables": "orders"}, "tables cannot be 'orders'", '["customers"]'),
            (write_dataset, (shop, writer), {"tables": [1]}, "tables cannot be [1]", '["customers"]'),
            (write_dataset, (shop, writer), {"tables": ["customer"]}, "unknown: customer", "did you mean customers?"),
            (create_writer, ("deltalake", "x"), {}, "no format 'deltalake'", "did you mean delta?"),
            (create_writer, (["delta"], "x"), {}, "no format ['delta']", "choose one of: delta"),
            (create_writer, ("parquet", None), {}, "output_uri cannot be None", "give a folder"),
            (create_writer, ("parquet", b"x"), {}, "output_uri cannot be b'x'", "give a folder"),
            (create_writer, ("parquet", ""), {}, "output_uri cannot be ''", "give a folder"),
            (create_writer, ("parquet", "x"), {"s3": "http://localhost"}, "s3 cannot be", "s3=emitter.S3Config("),
            (WriterOptions, ("gzipp",), {}, "compression of WriterOptions cannot be 'gzipp'", "one of: zstd"),
            (WriterOptions, (), {"file_rows_target": 0}, "file_rows_target of WriterOptions cannot be 0", "above 0"),
            (WriterOptions, (), {"partition": "month"}, "partition of WriterOptions cannot be 'month'", "Partition"),
            (create_writer, ("parquet", "x"), {"options": {"adopt": 1}}, "options cannot be", "emitter.WriterOptions("),
            (create_generator, ("ecomerce",), {}, "no domain 'ecomerce'", "did you mean ecommerce?"),
            (create_generator, (7,), {}, "no domain 7", "choose one of: ecommerce"),
            (create_generator, ("ecommerce",), {"partition": 7}, "partition: got 7", "correct what is listed"),
            (create_generator, ("ecommerce",), {"start": 7}, "start: got 7", "correct what is listed"),
            (create_generator, ("ecommerce",), {"order_per_second": 7}, "mean ecommerce.orders_per_second", "correct"),
        ]  # fmt: skip
        for function, arguments, options, problem, hint in wrong:
            with self.subTest(arguments=arguments, options=options), self.assertRaises(EmitterError) as caught:
                function(*arguments, **options)
            self.assertIn(problem, caught.exception.problem)
            self.assertIn(hint, caught.exception.hint)
            self.assertIn(hint, str(caught.exception))

    def test_without_a_period_it_is_refused(self):
        with self.assertRaises(UsageError):
            write_dataset(create_generator("ecommerce", start=START), create_writer("parquet", str(self.output)))
        with self.assertRaises(ConfigurationError):
            create_generator("ecommerce", start=START, end=START)
        self.assertEqual(tree(self.output), {})

    def test_into_memory(self):
        storage = MemoryStorage()
        report = write_dataset(self.beats(), MemoryWriter(storage, WriterOptions()), clock=self.clock)
        self.assertEqual(report.rows, {"heartbeats": 500})
        self.assertEqual(sum("parquet" in path for path in storage.objects), report.files["heartbeats"])

    def test_what_is_told_to_be_written_is_what_was_whatever_failed(self):
        generator = self.shop()
        expected = {table: sum(f.height for f in generator.batches_for(table)) for table in TABLES}
        failed = Counter[str]()
        for at in range(1, 40, 5):
            for after in (False, True):
                storage = FaultyStorage(self.new_folder())
                storage.fail(OSError(errno.EIO, os.strerror(errno.EIO)), at=at, after=after, only={"rename"})
                report = write_dataset(self.shop(), ParquetWriter(storage, WriterOptions()), clock=ManualClock())
                self.assertEqual(report.rows, expected)
                self.assertEqual({t: rows for t, (rows, *_) in figures(storage.root).items()}, expected)
                failed[str(after)] += 1
        self.assertEqual(failed["True"], failed["False"])

    def test_a_crash_and_a_repeat(self):
        for calls in range(10, 200, 9):
            self.output = self.new_folder()
            storage = FaultyStorage(self.output)
            storage.fail(SimulatedCrash(), at=calls, times=None)
            with self.subTest(calls), self.assertRaises(SimulatedCrash):
                write_dataset(self.beats(batch_seconds=60), ParquetWriter(storage, WriterOptions(file_rows_target=25)))
            write_dataset(self.beats(batch_seconds=60), create_writer("parquet", str(self.output)), clock=self.clock)
            self.assertEqual(self.written("heartbeats").height, 500)
        self.assert_as_told(self.beats())
