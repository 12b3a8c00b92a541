"""Bounded runs: the same rows as the daemon's, from one process or several, and a repeat does nothing."""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pyarrow.parquet as pq

from emitter import create_generator, create_writer, write_dataset
from emitter.clock import SystemClock, text_of
from emitter.errors import ConfigurationError, EmitterError, StorageError, StorageGaveUpError, UsageError
from emitter.generators.base import GeneratorBase, Period
from emitter.model import Slice, StepReport, Window
from emitter.partitioning import PartitionSpec
from emitter.run.bounded import GenerateReport, estimate, generate
from emitter.testing import (
    FaultyStorage,
    HeartbeatGenerator,
    HeartbeatOptions,
    ManualClock,
    MemoryStorage,
    MemoryWriter,
    SimulatedCrash,
)
from emitter.truth import inspection, oracle
from emitter.watch.observer import DaemonStatus, Observer
from emitter.writers import FORMATS
from emitter.writers.base import WriterOptions
from emitter.writers.parquet.writer import ParquetWriter
from tests.support.case import DaemonCase, tree
from tests.support.reader import contents, figures, paths, rows_of
from tests.support.shop import ORIGIN, START, TABLES, crash, run, shop, shop_daemon

HOUR = 3600


def _blocks(pid: int, number: signal.Signals) -> bool:
    """Whether a process never sees a signal."""
    (mask,) = re.findall(r"SigBlk:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(mask, 16) >> (number - 1) & 1)


class GenerateTest(DaemonCase):
    def generate(self, until: int, *, first: int | None = None, jobs: int = 1, **changes: Any) -> GenerateReport:
        begin = None if first is None else ORIGIN + first
        return generate(self.config(**changes), begin, ORIGIN + until, jobs=jobs, clock=self.clock)

    def test_what_another_process_holds_is_left_to_it_and_told(self):
        with shop_daemon(self.config(), until=600) as old:
            while old.status().reached_slot < ORIGIN + 300:
                old.step()
            left = [self.generate(900, shard__count=2, shard__index=index).left_to_others for index in (0, 1)]
            self.assertEqual([list(each) for each in left], [[Slice(0, 1)], []])
            self.assertTrue(ORIGIN + 300 <= left[0][Slice(0, 1)] < ORIGIN + 320)
            self.assertTrue(oracle.verify(self.config()).ok)  # it may still be at work
        verification = oracle.verify(self.config())
        behind = sum(each.behind for each in verification.tables)
        self.assertEqual((verification.ok, behind > 0), (False, True))
        self.assertEqual({slice for each in verification.tables for slice in each.slices}, {"0-of-1"})
        status = {each.table: each for each in inspection.status(self.config(), clock=self.clock)}
        self.assertEqual(status["orders"].slot, left[0][Slice(0, 1)])
        self.assertEqual(status["orders"].behind_seconds, ORIGIN + 900 - status["orders"].slot)
        again = self.generate(900, shard__count=2)
        self.assertEqual((again.left_to_others, sum(again.rows.values())), ({}, behind))
        self.assert_verified(self.config(), 900)
        self.assertEqual({each.behind_seconds for each in inspection.status(self.config(), clock=self.clock)}, {0})

    def test_a_daemon_tells_which_table_is_behind_others_and_what_others_hold(self):
        run(self.config(tables=["customers", "products"]), 300)
        with shop_daemon(self.config(), until=600) as daemon:
            joined = [dict(daemon.status().table_lag_seconds)]
            while not daemon.finished:
                daemon.step()
                joined.append(dict(daemon.status().table_lag_seconds))
            self.assertEqual({joined[0][table] > 0 for table in TABLES[2:]}, {True})
            self.assertEqual(set(joined[-1].values()), {0})
            other = self.config(shard__count=2)
            with shop_daemon(other, until=900) as shard:
                self.assertEqual(shard.status().left_to_others, ("0-of-1",))
        self.assertEqual(daemon.status().left_to_others, ())

    def test_it_writes_what_the_daemon_writes_and_tells_how_much(self):
        report = self.generate(900)
        self.assertEqual((report.from_slot, report.to_slot), (ORIGIN, ORIGIN + 900))
        self.assertEqual(report.rows, {table: rows for table, (rows, *_) in figures(self.output).items()})
        for table in TABLES:
            files = paths(self.output, table)
            self.assertEqual(report.files[table], len(files))
            self.assertEqual(report.bytes[table], sum(path.stat().st_size for path in files))
        self.assert_undisturbed(900)
        self.assert_verified(self.config(), 900)

    def test_a_repeat_does_nothing(self):
        self.generate(900)
        before = tree(self.output)
        for until in (900, 600):
            report = self.generate(until)
            self.assertEqual((sum(report.rows.values()), sum(report.files.values())), (0, 0))
        self.assertEqual(tree(self.output), before)

    def test_it_makes_only_what_is_missing(self):
        first, second = self.generate(400), self.generate(900)
        self.assertEqual(second.from_slot, ORIGIN + 400)
        total = {table: first.rows.get(table, 0) + second.rows.get(table, 0) for table in TABLES}
        self.assertEqual(total, {table: rows for table, (rows, *_) in figures(self.output).items()})
        self.assert_undisturbed(900)

    def test_history_and_then_live_has_no_seam(self):
        self.generate(415)
        run(self.config(), 700)
        self.generate(805)
        run(self.config(clock__batch_seconds=7), 900)
        self.assert_undisturbed(900)
        self.assert_verified(self.config(), 900)

    def test_nothing_of_how_it_is_cut_shows_in_the_rows(self):
        for changes in (
            {"clock__batch_rows_max": 37},
            {"output__file_rows_target": 3},
            {"output__compression": "snappy", "partition": "hour"},
            {"partition": "month"},
        ):
            with self.subTest(changes):
                self.output = self.new_folder()
                self.generate(600, **changes)
                self.assert_undisturbed(600)

    def test_a_gap_is_refused(self):
        with self.assertRaises(UsageError):
            self.generate(900, first=1)
        self.assertEqual(tree(self.output), {})
        self.generate(300)
        with self.assertRaises(UsageError) as caught:
            self.generate(900, first=301)
        self.assertIn(text_of(ORIGIN + 300), caught.exception.hint)
        self.generate(900, first=300)
        self.assert_undisturbed(900)

    def test_a_period_that_ends_before_it_begins_is_refused(self):
        for first, until in ((None, 0), (None, -10), (20, 20), (30, 20)):
            with self.subTest(first=first, until=until), self.assertRaises(UsageError):
                self.generate(until, first=first)
        self.assertEqual(tree(self.output), {})

    def test_where_the_origin_is_to_be_now_the_period_tells_it(self):
        self.generate(300, first=0, clock__start="now")
        self.assert_undisturbed(300)
        self.generate(600, clock__start="now")
        self.assert_undisturbed(600)

    def test_each_shard_generates_its_part(self):
        for index in range(3):
            self.generate(600, shard__count=3, shard__index=index)
        self.assert_undisturbed(600)
        self.assert_verified(self.config(shard__count=3), 600)

    def test_it_tells_how_far_it_is(self):
        told: list[tuple[int, int, int]] = []
        config = self.config(clock__batch_rows_max=100)
        generate(config, None, ORIGIN + 600, clock=self.clock, on_progress=lambda *each: told.append(each))
        self.assertGreater(len(told), 5)
        self.assertEqual(told, sorted(told))
        self.assertEqual(told[-1], (600, 600, sum(rows for rows, *_ in figures(self.output).values())))

    def test_it_stops_at_the_end_of_a_batch_and_goes_on_from_there(self):
        stop = threading.Event()
        config = self.config(clock__batch_rows_max=120)
        report = generate(config, None, ORIGIN + 900, clock=self.clock, on_progress=lambda *_: stop.set(), stop=stop)
        self.assertLess(ORIGIN, report.to_slot)
        self.assertLess(report.to_slot, ORIGIN + 900)
        self.assert_verified(config, report.to_slot - ORIGIN)
        self.generate(900)
        self.assert_undisturbed(900)

    def test_it_goes_on_after_a_crash(self):
        for nth in (1, 4, 9):
            crash(self.config(clock__batch_rows_max=200), 900, "parquet.rename", nth)
        self.generate(900)
        self.assert_undisturbed(900)


class JobsTest(DaemonCase):
    def workers(self) -> list[psutil.Process]:
        """This process's workers that are alive; not the one that keeps track of shared resources."""
        found = []
        for child in psutil.Process().children():
            with suppress(psutil.Error):  # it has just ended
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def generate(self, observer: Observer | None = None, **changes: Any) -> GenerateReport:
        config = self.config(clock__batch_rows_max=120, output__retry_wait_seconds_max=0.1, **changes)
        self.begun = self.new_folder() / "begun"
        begin = partial(Path.touch, self.begun)
        return generate(config, None, ORIGIN + 900, jobs=2, clock=SystemClock(), observer=observer, begin_worker=begin)

    def killing(self, times: int) -> Observer:
        workers = self.workers

        class Kill(Observer):
            def __init__(self) -> None:
                self.killed = 0
                self.errors: list[StorageError] = []

            def stepped(self, report: StepReport, status: DaemonStatus) -> None:
                alive = workers()
                self.interruptible = [one for one in alive if not _blocks(one.pid, signal.SIGINT)]
                if alive and self.killed < times and report.window.first > ORIGIN + 100 * self.killed:
                    self.killed += 1
                    os.kill(alive[0].pid, signal.SIGKILL)

            def waiting_to_retry(self, error: Any, attempt: int, attempts_max: int, wait_seconds: float) -> None:
                self.errors.append(error)

        return Kill()

    def test_two_processes_write_what_one_does_and_leave_nothing_behind(self):
        report = self.generate()
        self.assertEqual(report.rows, {table: rows for table, (rows, *_) in figures(self.output).items()})
        self.assertGreater(report.files["orders"], 5)
        self.assertTrue(self.begun.exists())
        self.assertEqual(self.workers(), [])
        self.assertEqual([str(path) for path in self.output.rglob("*.staged")], [])
        self.assert_undisturbed(900)
        self.assert_verified(self.config(), 900)

    def test_a_worker_that_is_killed_costs_an_attempt(self):
        observer: Any = self.killing(2)
        report = self.generate(observer)
        self.assertEqual(observer.killed, 2)
        self.assertEqual(observer.interruptible, [])  # Ctrl-C is for the one process that commits
        self.assertGreaterEqual(len(observer.errors), 1)  # what was staged ahead may do without the second one
        self.assertIn("a worker process ended early", observer.errors[0].problem)
        self.assertEqual(report.rows, {table: rows for table, (rows, *_) in figures(self.output).items()})
        self.assertEqual(self.workers(), [])
        self.assert_undisturbed(900)

    def test_without_attempts_it_is_a_clear_error_and_a_repeat_completes(self):
        with self.assertRaises(StorageGaveUpError) as caught:
            self.generate(self.killing(1), output__retry_attempts_max=0)
        self.assertIn("fewer --jobs", caught.exception.hint)
        self.assertEqual(self.workers(), [])
        run(self.config(), 900)
        self.assert_undisturbed(900)


class EstimateTest(DaemonCase):
    def check(self, until: int, **changes: Any) -> None:
        config = self.config(**changes)
        told = estimate(config, None, ORIGIN + until, clock=self.clock)
        self.assertEqual(tree(self.output), {})
        report = generate(config, None, ORIGIN + until, clock=self.clock)
        for table in TABLES:
            rows, size, files = report.rows.get(table, 0), report.bytes.get(table, 0), report.files.get(table, 0)
            spread = 5 * rows**0.5 * 2 + 1  # items come by the order: they spread more than their number says
            self.assertAlmostEqual(told.rows[table], rows, delta=spread, msg=table)
            if rows > 500:
                self.assertAlmostEqual(told.bytes[table] / size, 1, delta=0.3, msg=table)
            self.assertAlmostEqual(told.files[table], files, delta=1 + files * 0.3, msg=table)
        again = estimate(config, None, ORIGIN + until, clock=self.clock)
        self.assertEqual(sum(again.rows.values()), 0)

    def test_one_day_in_large_files(self):
        self.check(5 * HOUR)

    def test_many_files(self):
        self.check(2 * HOUR, output__file_rows_target=500)

    def test_one_shard(self):
        self.check(2 * HOUR, shard__count=4, shard__index=3)


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
