"""The scheduled verification works beside the daemon, tells what it finds in its thread, and is in no one's way."""

from __future__ import annotations

import threading
from dataclasses import replace
from unittest import main, mock

import psutil

from emitter.clock import SystemClock
from emitter.config import EmitterConfig
from emitter.model import VerificationReport, Window
from emitter.run.beside import Beside
from emitter.storage.local import LocalStorage
from emitter.upkeep.turn import VERIFIER, Turn
from emitter.verification import schedule as scheduled
from emitter.verification.child import compared
from emitter.verification.schedule import VerificationSchedule
from emitter.watch.observer import Observer
from tests.support.case import DaemonCase
from tests.support.reader import paths
from tests.support.shop import ORIGIN, TABLES, crash, run
from tests.unit.upkeep.test_process import SkippingClock, wait_until


class Told(Observer):
    def __init__(self) -> None:
        self.reports: list[VerificationReport] = []
        self.threads: set[str] = set()

    def verified(self, report: VerificationReport) -> None:
        self.reports.append(report)
        self.threads.add(threading.current_thread().name)


class VerificationCase(DaemonCase):
    def setUp(self) -> None:
        super().setUp()
        self.output = self.new_folder() / "out"
        run(self.config(), 300)

    def kept(self, **changes: object) -> EmitterConfig:
        """A configuration that verifies all the time, also with limits that its rules do not allow."""
        config = self.config()
        changes = {"enabled": True, "interval_seconds": 0, **changes}
        return replace(config, verification=replace(config.verification, **changes))  # type: ignore[arg-type]

    def lose(self, number: int = -1) -> None:
        paths(self.output, "orders")[number].unlink()


class ComparedTest(VerificationCase):
    def test_only_the_last_while_is_compared(self) -> None:
        self.lose(0)
        report = compared(self.kept(period_seconds=120), SystemClock())
        self.assertEqual((report.outcome, report.window), ("ok", Window(ORIGIN + 180, ORIGIN + 300)))
        self.assertGreater(report.rows, 0)
        report = compared(self.kept(), SystemClock())
        self.assertEqual((report.outcome, report.window), ("different", Window(ORIGIN, ORIGIN + 300)))

    def test_what_is_wrong_is_told_by_table_and_kind_with_examples(self) -> None:
        self.lose()
        report = compared(self.kept(), SystemClock())
        self.assertEqual(set(report.wrong_rows), set(TABLES))
        self.assertGreater(report.wrong_rows["orders"]["lost"], 0)
        self.assertEqual(sum(sum(counts.values()) for counts in report.wrong_rows.values()),
                         report.wrong_rows["orders"]["lost"])  # fmt: skip
        self.assertEqual(report.wrong_files["orders"], {"broken": 0, "misshapen": 0})
        self.assertTrue(report.examples[0].startswith("orders: lost: order_id="), report.examples)

    def test_a_batch_that_only_some_tables_have_is_no_difference(self) -> None:
        self.assertTrue(crash(self.config(), 360, "parquet.progress", 2))
        report = compared(self.kept(), SystemClock())
        self.assertEqual((report.outcome, report.window), ("ok", Window(ORIGIN, ORIGIN + 360)))

    def test_what_cannot_be_compared_is_no_verdict(self) -> None:
        (self.output / "_emitter" / "journal").rename(self.output / "elsewhere")
        report = compared(self.kept(), SystemClock())
        self.assertEqual((report.outcome, report.window, report.wrong_rows), ("failed", None, {}))
        self.assertIn("journal", report.problem)


class ScheduleTest(VerificationCase):
    def setUp(self) -> None:
        super().setUp()
        self.told = Told()

    def wait_for(self, schedule: VerificationSchedule, count: int) -> list[str]:
        def passed_on() -> bool:
            schedule.pass_on(self.told)
            return len(self.told.reports) >= count

        wait_until(passed_on)
        return [report.outcome for report in self.told.reports]

    def children(self) -> list[psutil.Process]:
        return [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]

    def test_it_comes_again_and_again_in_a_process_and_is_told_in_the_thread_that_asks(self) -> None:
        with VerificationSchedule(self.kept(), SystemClock()) as schedule:
            wait_until(self.children)
            self.assertEqual(self.wait_for(schedule, 1), ["ok"])
            self.lose()
            self.assertEqual(self.wait_for(schedule, 3)[-1], "different")
        self.assertEqual(self.told.threads, {threading.current_thread().name})
        self.assertEqual(self.children(), [])

    def test_it_is_off_until_it_is_switched_on(self) -> None:
        with VerificationSchedule(self.config(), SystemClock()) as schedule:
            with mock.patch.object(scheduled, "serve"), mock.patch.object(Beside, "pipe") as pipe:
                threading.Event().wait(3 * scheduled.LOOK_SECONDS)
                pipe.assert_not_called()
            schedule.follow(self.kept())
            self.assertEqual(self.wait_for(schedule, 1), ["ok"])

    def test_who_does_not_get_the_turn_leaves_it_to_the_other(self) -> None:
        turn = Turn(LocalStorage(self.output), VERIFIER, SystemClock())
        self.assertTrue(turn.take())
        with VerificationSchedule(self.kept(), SystemClock()) as schedule:
            self.assertEqual(self.wait_for(schedule, 1), ["skipped"])
            self.assertEqual(self.children(), [])
            turn.let_go()
            self.wait_for(schedule, 3)
        self.assertEqual(self.told.reports[-1].outcome, "ok")

    def test_one_that_takes_too_much_memory_or_time_is_ended_without_a_verdict(self) -> None:
        clock = SkippingClock()
        for limit in ("memory_mib_max", "round_seconds_max"):
            self.told = Told()
            with VerificationSchedule(self.kept(**{limit: 0}), clock) as schedule:
                self.assertEqual(self.wait_for(schedule, 1)[0], "killed")
            self.assertIn(f"verification.{limit}", self.told.reports[0].problem)
        self.assertEqual(self.children(), [])

    def test_one_that_is_killed_by_another_is_told_of_and_the_next_one_comes(self) -> None:
        with VerificationSchedule(self.kept(), SystemClock()) as schedule:
            wait_until(self.children)
            self.children()[0].kill()
            self.assertEqual(self.wait_for(schedule, 1)[0], "killed")
            self.assertIn("killed by another", self.told.reports[0].problem)
            self.assertEqual(self.wait_for(schedule, 2)[1], "ok")

    def test_a_stop_ends_it_at_once_and_is_no_failure(self) -> None:
        with VerificationSchedule(self.kept(), SystemClock()) as schedule:
            wait_until(self.children)
            schedule.end()
            schedule._thread.join(10)
            self.assertFalse(schedule._thread.is_alive())
        schedule.pass_on(self.told)
        self.assertEqual((self.told.reports, self.children()), ([], []))

    def test_the_first_comes_some_minutes_after_the_start(self) -> None:
        clock = SkippingClock()
        with VerificationSchedule(self.kept(interval_seconds=3_600), clock) as schedule:
            self.assertEqual(self.children(), [])
            clock.skipped_seconds = scheduled.FIRST_SECONDS + 1.0
            self.assertEqual(self.wait_for(schedule, 1), ["ok"])


if __name__ == "__main__":
    main()
