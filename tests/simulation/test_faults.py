"""Every system call may fail, now or from now on: no row is lost or doubled, and nobody retries for ever."""

from __future__ import annotations

import errno
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from emitter.errors import EmitterError, StorageError, StorageGaveUpError
from emitter.model import ChoreReport, CommitReport, Slice
from emitter.run.daemon import Daemon
from emitter.run.opening import Settings
from emitter.run.pipeline import LocalStager, StagedBatch
from emitter.testing import PRIMITIVES, FaultyStorage, HeartbeatGenerator, HeartbeatOptions
from emitter.watch.observer import Observer
from emitter.writers.base import WriterOptions
from emitter.writers.parquet.writer import ParquetWriter
from tests.support.case import DaemonCase
from tests.support.reader import figures, rows_of
from tests.support.shop import ORIGIN, finish, shop_daemon, shop_writer

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))
UNTIL = 240
BEATS_UNTIL = 210


class Watch(Observer):
    """What was waited for, and what landed."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.errors: list[EmitterError] = []
        self.rows: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()

    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        self.waits.append(wait_seconds)
        self.errors.append(error)

    def committed(self, report: CommitReport) -> None:
        self.rows[report.table] += report.rows
        self.outcomes[report.outcome] += 1


class FaultsCase(DaemonCase):
    def shop_with(self, storage: FaultyStorage, watch: Observer | None = None, **changes: Any) -> Daemon:
        return shop_daemon(self.config(**changes), until=UNTIL, storage=storage, clock=self.clock, observer=watch)

    def run_shop(self, storage: FaultyStorage, watch: Observer | None = None) -> None:
        """Start until it starts (a fault then ends it at once), and finish."""
        with suppress(StorageError), self.shop_with(storage, watch) as daemon:
            finish(daemon)
            return
        with self.shop_with(storage, watch) as daemon:
            finish(daemon)

    def assert_whole(self) -> None:
        self.assert_undisturbed(UNTIL)
        self.assert_verified(self.config(), UNTIL)
        self.assert_tidy()

    def assert_tidy(self) -> None:
        """Nothing that was staged is left."""
        self.assertEqual([str(path) for path in self.output.rglob("*.staged")], [])


class EachCallTest(FaultsCase):
    def beats(self, storage: FaultyStorage, watch: Observer | None = None) -> None:
        """A run of the smallest domain: three batches, an edge of a partition, files of 60 rows."""
        generator = HeartbeatGenerator(seed=7, origin_slot=ORIGIN, options=HeartbeatOptions())
        writer = ParquetWriter(storage, WriterOptions(file_rows_target=60))
        settings = Settings(Slice(), ("heartbeats",), batch_seconds=90)
        with Daemon(
            generator, writer, settings, clock=self.clock, observer=watch, until_slot=ORIGIN + BEATS_UNTIL
        ) as daemon:
            finish(daemon)

    def found(self, output: Path) -> pa.Table:
        return rows_of("heartbeats", output)

    def test_each_call_in_turn_fails_before_or_after_its_effect(self):
        undisturbed = FaultyStorage(self.new_folder())
        self.beats(undisturbed)
        calls = len(undisturbed.calls)
        expected = self.found(undisturbed.root)
        self.assertEqual(set(undisturbed.calls), set(PRIMITIVES))
        self.assertEqual(expected.num_rows, BEATS_UNTIL)
        restarts = retries = 0
        for at, after in itertools.product(range(1, calls + 1), (False, True)):
            with self.subTest(at=at, call=undisturbed.calls[at - 1], after=after):
                self.output, watch = self.new_folder(), Watch()
                storage = FaultyStorage(self.output)
                storage.fail(BROKEN, at=at, after=after)
                try:
                    self.beats(storage, watch)
                except StorageError as error:
                    self.assertEqual((error.exit_code, type(error)), (4, StorageError))
                    restarts += 1
                    self.beats(storage, watch)
                self.assertLessEqual(len(watch.waits), 1)  # one fault costs one attempt
                retries += len(watch.waits)
                self.assertTrue(self.found(self.output).equals(expected))
                self.assertEqual(watch.rows["heartbeats"], BEATS_UNTIL)  # what was told is what landed
                self.assert_tidy()
        self.assertGreater(retries, calls)
        self.assertGreater(restarts, 10)  # where a start fails

    def test_several_calls_in_a_row_fail(self):
        expected = None
        for at, times in itertools.product(range(28, 56, 4), (2, 3, 5)):
            with self.subTest(at=at, times=times):
                self.output = self.new_folder()
                storage = FaultyStorage(self.output)
                storage.fail(BROKEN, at=at, times=times)
                self.beats(storage)
                found = self.found(self.output)
                expected = expected or found
                self.assertTrue(found.equals(expected))
                self.assertEqual(found.num_rows, BEATS_UNTIL)

    def test_a_batch_that_took_two_attempts_counts_once(self):
        for at in (1, 6, 9, 11):
            self.output = self.new_folder()
            storage = FaultyStorage(self.output)
            with self.shop_with(storage) as daemon:
                daemon.step()
                storage.fail(BROKEN, at=at, only={"rename"})
                reports = finish(daemon)
            self.assertEqual(sorted(report.attempts for report in reports if report.ends_batch), [1, 1, 2], at)

    def test_a_file_that_got_lost_before_the_commit_is_made_again(self):
        storage, watch = FaultyStorage(self.output), Watch()

        class Forgetful(LocalStager):
            def stage(self, *request: Any) -> StagedBatch:
                batch = super().stage(*request)
                if not watch.waits:
                    batch.files["order_items"].pop()
                return batch

        stager = Forgetful(shop_writer(self.config(), storage), self.clock)
        with shop_daemon(self.config(), until=UNTIL, observer=watch, stager=stager, clock=self.clock) as daemon:
            finish(daemon)
        self.assertEqual(len(watch.waits), 1)
        self.assert_whole()

    def test_each_kind_of_call_fails_in_the_shop(self):
        undisturbed = FaultyStorage(self.new_folder())
        self.output = undisturbed.root
        self.run_shop(undisturbed)
        expected = figures(self.output)
        counts = Counter(undisturbed.calls)
        for place, kind in enumerate(PRIMITIVES):
            at = counts[kind] * (place + 2) // (len(PRIMITIVES) + 2) + 1
            for after in (False, True):
                with self.subTest(kind=kind, at=at, after=after):
                    self.output, watch = self.new_folder(), Watch()
                    storage = FaultyStorage(self.output)
                    storage.fail(FULL, at=at, after=after, only={kind})
                    self.run_shop(storage, watch)
                    self.assertLessEqual(len(watch.waits), 1)
                    self.assertEqual(figures(self.output), expected)
                    self.assertEqual(watch.rows, Counter({table: rows for table, (rows, *_) in expected.items()}))
                    self.assert_verified(self.config(), UNTIL)
                    self.assert_tidy()


class LastingTest(FaultsCase):
    def gives_up(self, storage: FaultyStorage, attempts: int = 9, **changes: Any) -> tuple[StorageGaveUpError, Watch]:
        watch = Watch()
        with self.assertRaises(StorageGaveUpError) as caught, self.shop_with(storage, watch, **changes) as daemon:
            daemon.step()
            storage.fail(FULL, times=None)
            finish(daemon)
        self.assertEqual((caught.exception.exit_code, caught.exception.attempts), (4, attempts))
        self.assertEqual(len(watch.waits), attempts - 1)
        return caught.exception, watch

    def test_a_disk_that_stays_full_ends_it_and_room_lets_it_go_on(self):
        storage = FaultyStorage(self.output)
        before = self.clock.monotonic_seconds()
        error, watch = self.gives_up(storage)
        self.assertIn("No space left", error.problem)
        self.assertIn("free some space", error.hint)
        self.assertAlmostEqual(self.clock.monotonic_seconds() - before, sum(watch.waits))
        self.assertGreater(watch.waits[5], watch.waits[0] * 5)  # it backs off
        self.assertLessEqual(max(watch.waits), 30)
        storage.heal()
        self.run_shop(storage)
        self.assert_whole()

    def test_wherever_it_began_to_fail(self):
        for kind, at in itertools.product(("write", "fsync_file", "fsync_folder", "rename", "make_folder"), (1, 3)):
            with self.subTest(kind=kind, at=at):
                self.output = self.new_folder()
                storage = FaultyStorage(self.output)
                with self.assertRaises(StorageGaveUpError), self.shop_with(storage) as daemon:
                    for _ in range(2):
                        daemon.step()
                    storage.fail(BROKEN, at=at, times=None, only={kind})
                    finish(daemon)
                storage.heal()
                self.run_shop(storage)
                self.assert_whole()

    def test_the_attempts_and_the_waits_are_as_configured(self):
        error, watch = self.gives_up(
            FaultyStorage(self.output), 4, output__retry_attempts_max=3, output__retry_wait_seconds_max=0.5
        )
        self.assertIn("in 4 attempts", error.problem)
        self.assertLessEqual(max(watch.waits), 0.5)
        self.output = self.new_folder()
        self.gives_up(FaultyStorage(self.output), 1, output__retry_attempts_max=0)

    def test_shards_do_not_retry_at_the_same_moments(self):
        waits = []
        for index in range(2):
            self.output = self.new_folder()
            _, watch = self.gives_up(FaultyStorage(self.output), shard__index=index, shard__count=2)
            waits.append(watch.waits)
        self.assertEqual(set(waits[0]) & set(waits[1]), set())

    def test_a_stop_ends_the_retries(self):
        storage = FaultyStorage(self.output)
        daemon = self.shop_with(storage)

        class Stop(Watch):
            def waiting_to_retry(self, *details: Any) -> None:
                super().waiting_to_retry(*details)
                if len(self.waits) == 3:
                    daemon.request_stop()

        watch = Stop()
        daemon = self.shop_with(storage, watch)
        with self.assertRaises(StorageGaveUpError) as caught, daemon:
            daemon.step()
            storage.fail(FULL, times=None)
            daemon.step()
        self.assertEqual(caught.exception.attempts, 4)
        self.assertIn("a stop was asked for", caught.exception.problem)
        storage.heal()
        self.run_shop(storage)
        self.assert_whole()

    def test_a_fault_that_passes_is_waited_for(self):
        storage, case = FaultyStorage(self.output), self

        class Heal(Watch):
            def waiting_to_retry(self, *details: Any) -> None:
                super().waiting_to_retry(*details)
                if len(self.waits) == 5:
                    storage.heal()

        watch = Heal()
        with self.shop_with(storage, watch) as daemon:
            daemon.step()
            storage.fail(FULL, times=None)
            report = daemon.step()
            case.assertEqual(report.attempts if report else 0, 6)
            finish(daemon)
        self.assertEqual({type(error) for error in watch.errors}, {StorageError})
        self.assert_whole()


class MaintenanceTest(FaultsCase):
    def test_a_mark_that_cannot_be_set_is_counted_each_time_and_set_once_it_can(self):
        class Count(Observer):
            failed = 0

            def maintained(self, report: ChoreReport) -> None:
                self.failed += report.task == "finish_partitions" and "_SUCCESS" in report.problem

        obstacle = self.output / "orders/year=2026/month=01/day=01/_SUCCESS"
        obstacle.mkdir(parents=True)
        count = Count()
        config = self.config(output__retry_attempts_max=2)
        with self.assertRaises(StorageGaveUpError), shop_daemon(config, until=UNTIL, observer=count) as daemon:
            finish(daemon)
        self.assertEqual(count.failed, 3)
        obstacle.rmdir()
        with shop_daemon(config, until=UNTIL, observer=count) as daemon:
            finish(daemon)
        self.assertEqual(count.failed, 3)
        self.assertTrue(obstacle.is_file())


class OutputTest(FaultsCase):
    """An output that cannot be written to."""

    def refused(self, code: int, **changes: Any) -> EmitterError:
        with self.assertRaises(StorageError) as caught, shop_daemon(self.config(**changes), until=60):
            self.fail("it started")
        self.assertEqual(caught.exception.exit_code, 4)
        self.assertEqual(caught.exception.cause.errno, code)
        return caught.exception

    def test_a_file_where_the_output_should_be(self):
        self.output = self.output / "file"
        self.output.write_text("a file")
        self.assertIn("a file stands where a folder should be", self.refused(errno.ENOTDIR).hint)
        self.assertEqual(self.output.read_text(), "a file")

    def test_a_file_where_a_tables_folder_should_be(self):
        (self.output / "orders").write_text("a file")
        self.assertIn("a file stands where a folder should be", self.refused(errno.ENOTDIR).hint)
        (self.output / "orders").unlink()
        with shop_daemon(self.config(), until=UNTIL) as daemon:
            finish(daemon)
        self.assert_whole()

    def test_a_file_where_a_partition_should_be(self):
        with shop_daemon(self.config(), until=120) as daemon:
            finish(daemon)
        (self.output / "payments/year=2026/month=01/day=02").write_text("a file")
        watch = Watch()
        with self.assertRaises(StorageGaveUpError) as caught:
            self.run_daemon(watch)
        self.assertIn("a file stands where a folder should be", caught.exception.hint)
        (self.output / "payments/year=2026/month=01/day=02").unlink()
        self.run_daemon(watch)
        self.assert_whole()

    def run_daemon(self, watch: Observer) -> None:
        with shop_daemon(self.config(), until=UNTIL, clock=self.clock, observer=watch) as daemon:
            finish(daemon)

    def test_an_output_that_may_not_be_written(self):
        self.output.chmod(0o755)
        (self.output / "shop").mkdir()
        self.output = self.output / "shop"
        self.output.chmod(0o555)
        with as_nobody():
            self.assertIn("give the user that runs emitter the right", self.refused(errno.EACCES).hint)
        self.assertEqual(list(self.output.iterdir()), [])

    def test_an_output_that_may_no_longer_be_written(self):
        self.output.chmod(0o755)
        with shop_daemon(self.config(), until=UNTIL, clock=self.clock) as daemon:
            daemon.step()
            (self.output / "_emitter/staging/orders/0-of-1").chmod(0o555)
            with as_nobody(), self.assertRaises(StorageGaveUpError) as caught:
                finish(daemon)
        self.assertIn("give the user that runs emitter the right", caught.exception.hint)
        (self.output / "_emitter/staging/orders/0-of-1").chmod(0o755)
        self.run_daemon(Watch())
        self.assert_whole()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Not as root, whom no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
