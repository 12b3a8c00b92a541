"""Bounded runs: the same rows as the daemon's, from one process or several, and a repeat does nothing."""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from emitter.clock import SystemClock, text_of
from emitter.errors import StorageError, StorageGaveUpError, UsageError
from emitter.model import Slice, StepReport, Window
from emitter.run import bounded
from emitter.run.bounded import GenerateReport, estimate, generate
from emitter.truth import inspection, oracle
from emitter.watch.observer import DaemonStatus, Observer
from tests.support.case import DaemonCase, tree
from tests.support.reader import figures, paths
from tests.support.shop import ORIGIN, TABLES, crash, run, shop_daemon

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
        """This process's workers that are alive; not the one that they are forked of."""
        found = []
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                if child.ppid() != os.getpid() and "forkserver" in " ".join(child.cmdline()):
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
                if alive and self.killed < times and report.window.first >= ORIGIN + 100 * self.killed:
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

    def test_each_process_gets_as_many_windows_however_few_the_rows(self):
        until = 180  # the day ends there, and with it a window
        whole = sum(estimate(self.config(), None, ORIGIN + until, clock=self.clock).rows.values())
        for rows_max, windows in ((1_000_000, 2), (round(whole / 2.5), 4)):
            self.output = self.new_folder()
            seen: set[Window] = set()

            class See(Observer):
                def stepped(self, report: StepReport, status: DaemonStatus) -> None:
                    seen.add(report.window)  # noqa: B023 (it is done with within the turn)

            config = self.config(clock__batch_rows_max=rows_max)
            with patch.object(bounded, "_DEALT_ROWS_MIN", 10):
                generate(config, None, ORIGIN + until, jobs=2, clock=SystemClock(), observer=See())
            self.assertEqual(len(seen), windows, seen)
            self.assert_undisturbed(until)

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
