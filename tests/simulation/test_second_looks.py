"""Cases that a second look at the code brought up: each lost something, or hid that something was lost."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import unittest
from functools import partial
from pathlib import Path
from unittest import mock

from emitter.clock import SystemClock
from emitter.config import EmitterConfig
from emitter.errors import MissingJournalError, StorageError, StorageGaveUpError
from emitter.generators.base import GeneratorBase
from emitter.model import Epoch, Slice, Window
from emitter.run.assembly import configured_generator
from emitter.run.journal import Journal
from emitter.run.pipeline import LocalStager, Request, StagedBatch
from emitter.run.workers import WorkerStager
from emitter.testing import FaultyStorage, SimulatedCrash
from emitter.truth import inspection, oracle
from emitter.writers.base import TableWriter
from tests.support.case import DaemonCase
from tests.support.reader import paths
from tests.support.shop import ORIGIN, TABLES, run, shop_daemon, shop_writer

REPOSITORY = Path(__file__).parents[2]


def rebuilt_generator(config: EmitterConfig, origin_slot: int, epochs: tuple[Epoch, ...]) -> GeneratorBase:
    return configured_generator(config, origin_slot).rebuilt(origin_slot, epochs)


def writer_whose_first_write_fails(config: EmitterConfig) -> TableWriter:
    storage = FaultyStorage(config.output.uri)
    storage.fail(OSError(errno.EIO, "I/O error"), only=("write",))
    return shop_writer(config, storage)


class HalfMadeBatchTest(DaemonCase):
    def test_a_worker_does_not_go_on_with_a_batch_that_failed(self):
        # Files of a few rows each, so that the first failure is met in the middle of the batch.
        config = self.config(output__file_rows_target=5, clock__batch_seconds=300)
        stager = WorkerStager(
            partial(rebuilt_generator, config), partial(writer_whose_first_write_fails, config), SystemClock(), 1
        )
        run(config, 300, stager=stager)
        self.assert_undisturbed(300)
        self.assert_verified(config, 300)

    def test_a_step_after_one_that_gave_up_begins_anew(self):
        config = self.config(output__file_rows_target=5, output__retry_attempts_max=0, clock__batch_seconds=300)
        storage = FaultyStorage(self.output)
        with shop_daemon(config, until=300, storage=storage) as daemon:
            storage.fail(OSError(errno.EIO, "I/O error"), only=("write",), at=3)
            with self.assertRaises(StorageGaveUpError):
                daemon.step()
            while not daemon.finished:
                daemon.step()
        self.assert_undisturbed(300)

    def test_files_that_do_not_hold_what_was_made_are_not_committed(self):
        batch = StagedBatch(None, rows={"orders": 3}, files={})  # type: ignore[arg-type]
        with self.assertRaises(StorageError):
            batch.check()


class MarksTest(DaemonCase):
    def test_marks_missed_by_a_crash_come_with_the_next_start(self):
        config = self.config()
        run(config, 240)
        marks = sorted(path.relative_to(self.output) for path in self.output.rglob("_SUCCESS"))
        self.assertEqual(len(marks), len(TABLES))
        for passing in range(1, 3 * len(TABLES)):
            self.output = self.new_folder()
            config, passed = self.config(clock__batch_seconds=240), 0

            def hook(point: str, passing: int = passing) -> None:
                nonlocal passed
                passed += point in ("parquet.progress", "parquet.finished")
                if passed == passing:
                    raise SimulatedCrash

            try:
                run(config, 240, hook=hook)
            except SimulatedCrash:
                run(config, 240)
            found = sorted(path.relative_to(self.output) for path in self.output.rglob("_SUCCESS"))
            self.assertEqual(found, marks, passing)


class WholeTableTest(DaemonCase):
    def test_a_table_that_is_gone_is_lost_or_behind(self):
        for table in TABLES:
            self.output = self.new_folder()
            config = self.config(clock__batch_seconds=30)
            run(config, 600)
            rows = {each.table: each.rows_found for each in oracle.verify(config).tables}
            shutil.rmtree(self.output / table)
            shutil.rmtree(self.output / "_emitter" / "progress" / table)
            (found,) = [each for each in oracle.verify(config).tables if not each.ok]
            self.assertEqual((found.table, found.rows_found), (table, 0))
            self.assertEqual(found.lost + found.behind, rows[table])  # lost is what its children vouch for

    def test_a_file_outside_the_partitions_is_unexpected(self):
        config = self.config()
        run(config, 300)
        for place in ("copy.parquet", "year=2019/month=01/day=01/copy.parquet", "elsewhere/copy.parquet"):
            target = self.output / "orders" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(paths(self.output, "orders")[0], target)
            (found,) = [each for each in oracle.verify(config).tables if not each.ok]
            self.assertEqual((found.table, found.lost, found.duplicated), ("orders", 0, 0))
            self.assertGreater(found.unexpected, 0)
            self.assertIn("outside", found.examples[0])
            target.unlink()
        self.assertTrue(oracle.verify(config).ok)

    def test_a_run_that_ended_before_its_inputs_were_told_has_not_begun(self):
        config = self.config()
        run(config, 60)
        for table in TABLES:
            shutil.rmtree(self.output / table)
        shutil.rmtree(self.output / "_emitter" / "progress")
        for entry in sorted((self.output / "_emitter" / "journal").iterdir())[1:]:
            entry.unlink()
        for look in (oracle.verify, inspection.status):
            with self.assertRaises(MissingJournalError):
                look(config)
        run(config, 300)
        self.assert_undisturbed(300)


class DecimalContextTest(unittest.TestCase):
    def test_rows_do_not_depend_on_the_caller_s_decimal_context(self):
        code = (
            "import sys, decimal\n"
            "decimal.getcontext().prec, decimal.getcontext().rounding = int(sys.argv[1]), sys.argv[2]\n"
            "from emitter import create_generator\n"
            "shop = create_generator('ecommerce', end='2026-01-01T01:00:00Z', customers=500, products=200,\n"
            "                        orders_per_second=0.2)\n"
            "print([shop.batches_for(table).__next__().hash_rows().sum() for table in shop.tables()])\n"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", code, *context], capture_output=True, text=True, check=True, cwd=REPOSITORY
            ).stdout
            for context in (("28", "ROUND_HALF_EVEN"), ("4", "ROUND_UP"))
        }
        self.assertEqual(len(found), 1, found)


class StartTogetherTest(DaemonCase):
    def test_the_slower_of_two_shards_that_start_now_takes_over_the_origin(self):
        shards = [self.live(clock__start="now", shard__count=2, shard__index=index) for index in (0, 1)]
        with shop_daemon(shards[0], clock=self.clock) as first:
            self.clock.advance(1.0)
            looked_too_early = mock.patch.object(
                Journal, "load", side_effect=[None, Journal.load(first._writer.storage)]
            )
            with looked_too_early, shop_daemon(shards[1], clock=self.clock) as second:
                self.assertEqual(second.status().run_id, first.status().run_id)


class LocalStagerTest(DaemonCase):
    def test_what_failed_is_not_kept_for_later(self):
        config = self.config(output__file_rows_target=5)
        storage = FaultyStorage(self.output)
        writer = shop_writer(config, storage)
        writer.open("run", configured_generator(config).table("customers"))
        stager = LocalStager(writer, SystemClock())
        self.addCleanup(stager.close)
        stager.follow(configured_generator(config))
        request = Request(Slice(), Window(ORIGIN, ORIGIN + 60), ("customers",))
        storage.fail(OSError(errno.EIO, "I/O error"), only=("write",))
        with self.assertRaises(StorageError):
            stager.stage(request, iter(()), lambda table, rows: None)
        batch = stager.stage(request, iter(()), lambda table, rows: None)
        batch.check()
        self.assertEqual(batch.rows, {"customers": 50})


if __name__ == "__main__":
    unittest.main()
