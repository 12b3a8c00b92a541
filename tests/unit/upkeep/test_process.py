"""The process of upkeep: it works beside this one, is ended where it takes too much, and ends with whoever began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from unittest import main

import psutil

from emitter.clock import SystemClock
from emitter.config import EmitterConfig
from emitter.model import ChoreReport, RoundReport
from emitter.run.beside import NICENESS
from emitter.upkeep.child import OPEN_SECONDS_MAX, Order, Rounds
from emitter.upkeep.process import UpkeepProcess
from tests.support.case import DaemonCase
from tests.support.killer import DEADLINE_SECONDS, REPOSITORY
from tests.support.scripted_upkeep import SIZE, scripted_writer
from tests.support.shop import TABLES, run, shop


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError("it does not come to the point")
        time.sleep(0.01)


class SkippingClock(SystemClock):
    """An hour later as soon as somebody says so."""

    skipped_seconds = 0.0

    def monotonic_seconds(self) -> float:
        return super().monotonic_seconds() + self.skipped_seconds


class ProcessTest(DaemonCase):
    def setUp(self) -> None:
        super().setUp()
        self.output = self.new_folder() / "out"
        run(self.config(), 60)
        self.chores: list[ChoreReport] = []
        self.clock = SkippingClock()

    def process(self, script: str) -> UpkeepProcess:
        process = UpkeepProcess(partial(scripted_writer, script), self.clock, None)
        self.addCleanup(process.close)
        return process

    def round(self, process: UpkeepProcess, config: EmitterConfig | None = None, **limits: int) -> RoundReport:
        config = config or self.config()
        config = replace(config, maintenance=replace(config.maintenance, **limits))
        return process.run(Order(config), self.chores.append, lambda: None)

    def begun(self) -> int:
        """The process that works, once it does."""
        path = self.output.with_suffix(".begun")
        wait_until(lambda: path.exists() and path.read_text())
        return int(path.read_text())

    def test_one_process_does_round_after_round_and_tells_of_every_chore_and_of_the_tables(self) -> None:
        process = self.process("work")
        report, again = self.round(process), self.round(process)
        self.assertEqual((report.outcome, report.chores, again.chores), ("ok", len(TABLES), len(TABLES)))
        self.assertEqual(dict(report.sizes), dict.fromkeys(TABLES, SIZE))
        self.assertEqual([(each.table, each.files_removed) for each in self.chores[: len(TABLES)]],
                         [(table, 60) for table in TABLES])  # fmt: skip
        (child,) = [each for each in psutil.Process().children() if each.pid == self.begun()]
        self.assertEqual(child.nice(), psutil.Process().nice() + NICENESS)

    def test_no_signal_of_a_terminal_or_a_service_ends_it_and_no_argument_tells_anything(self) -> None:
        process = self.process("work")
        self.round(process)
        child = psutil.Process(self.begun())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child.send_signal(number)
        self.assertEqual(self.round(process).outcome, "ok")
        self.assertTrue(child.is_running())
        self.assertNotIn(str(self.output), " ".join(child.cmdline()))

    def test_a_chore_that_fails_is_told_of_and_the_process_goes_on(self) -> None:
        process = self.process("fail")
        report = self.round(process)
        self.assertEqual((report.outcome, report.problem), ("failed", ""))
        self.assertEqual([each.problem for each in self.chores if "disk full" not in each.problem], [])
        first = self.begun()
        self.round(process)
        self.assertEqual(self.begun(), first)

    def test_tables_stay_open_from_round_to_round_of_one_configuration(self) -> None:
        process, count = self.process("count"), len(TABLES)
        self.round(process)
        self.round(process)
        self.round(process, keep_seconds=7_200)
        counts = [each.files_removed for each in self.chores]
        self.assertEqual(counts, [*range(1, 2 * count + 1), *range(1, count + 1)])

    def test_after_ten_minutes_they_are_opened_again(self) -> None:
        def counted(rounds: Rounds) -> list[int]:
            reports = list(rounds.run(Order(self.config())))
            return [each.files_removed for each in reports if isinstance(each, ChoreReport)]

        count = len(TABLES)
        with Rounds(partial(scripted_writer, "count"), self.clock) as rounds:
            self.assertEqual(counted(rounds), [*range(1, count + 1)])
            self.assertEqual(counted(rounds), [*range(count + 1, 2 * count + 1)])
            self.clock.skipped_seconds = OPEN_SECONDS_MAX + 1.0
            self.assertEqual(counted(rounds), [*range(1, count + 1)])

    def test_a_round_tells_what_each_task_took(self) -> None:
        report = self.round(self.process("work"))
        self.assertEqual(list(report.task_seconds), ["compact", "vacuum"])
        self.assertGreaterEqual(report.seconds, sum(report.task_seconds.values()))

    def test_tables_of_another_run_are_left_alone(self) -> None:
        other = shop(self.output, {"seed": 7})
        report = self.round(self.process("work"), other)
        self.assertEqual((report.outcome, self.chores), ("failed", []))
        self.assertIn("seed: stored 42, asked for 7", report.problem)

    def test_who_is_killed_is_replaced(self) -> None:
        process = self.process("work")
        self.round(process)
        first = self.begun()
        os.kill(first, signal.SIGKILL)  # which takes a while to be seen
        self.assertEqual(self.round(process).outcome, "ok")
        self.assertNotEqual(self.begun(), first)

    def test_who_is_killed_in_the_middle_is_told_of(self) -> None:
        report = self.round(self.process("die"))
        self.assertEqual(report.outcome, "killed")
        self.assertIn("killed by another", report.problem)

    def test_a_fault_ends_the_process_and_no_other(self) -> None:
        report = self.round(self.process("fault"))
        self.assertEqual(report.outcome, "killed")
        self.assertIn("with exit code 1", report.problem)

    def test_a_round_that_takes_too_long_is_ended(self) -> None:
        process, children = self.process("hang"), list[int]()

        def look() -> None:
            if not children and self.output.with_suffix(".begun").exists():
                children.append(self.begun())
                self.clock.skipped_seconds = 1801.0

        report = process.run(Order(self.config()), self.chores.append, look)
        self.assertEqual((report.outcome, report.chores), ("killed", 0))
        self.assertIn("more than 1800 s (maintenance.round_seconds_max)", report.problem)
        self.assertFalse(psutil.pid_exists(children[0]))

    def test_a_round_that_takes_too_much_memory_is_ended(self) -> None:
        report = self.round(self.process("eat"), memory_mib_max=400)
        self.assertEqual(report.outcome, "killed")
        self.assertIn("more than 400 MiB of memory (maintenance.memory_mib_max)", report.problem)
        self.assertFalse(psutil.pid_exists(self.begun()))

    def test_a_stop_ends_a_round_at_once_for_good(self) -> None:
        process, reports = self.process("hang"), list[RoundReport]()
        thread = threading.Thread(target=lambda: reports.append(self.round(process)))
        thread.start()
        child = self.begun()
        process.end()
        thread.join(DEADLINE_SECONDS)
        self.assertEqual([report.outcome for report in reports], ["killed"])
        self.assertFalse(psutil.pid_exists(child))
        self.assertEqual(self.round(process).outcome, "failed")

    def test_it_ends_when_whoever_began_it_is_gone(self) -> None:
        command = [sys.executable, "-m", "tests.unit.upkeep.hanging", str(self.output)]
        with subprocess.Popen(command, cwd=REPOSITORY) as parent:
            child = self.begun()
            parent.send_signal(signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(child))


if __name__ == "__main__":
    main()
