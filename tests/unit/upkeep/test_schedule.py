"""When a round is due, and that nobody waits for it: its reports come in the daemon's own thread."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from unittest import TestCase, main

import psutil

from emitter.clock import SystemClock
from emitter.config import EmitterConfig, MaintenanceConfig
from emitter.model import ChoreReport, RoundReport, Task
from emitter.upkeep.schedule import Due, UpkeepSchedule
from emitter.upkeep.turn import KEEPER, ROUND, Turn
from emitter.watch.observer import Observer
from tests.support.case import DaemonCase
from tests.support.scripted_upkeep import SIZE, scripted_writer
from tests.support.shop import TABLES, run
from tests.unit.upkeep.test_process import wait_until
from tests.unit.watch.scripted_daemon import STATUS, step


class Told(Observer):
    def __init__(self) -> None:
        self.chores: list[ChoreReport] = []
        self.rounds: list[RoundReport] = []
        self.threads: set[str] = set()

    def maintained(self, report: ChoreReport) -> None:
        self.chores.append(report)
        self.threads.add(threading.current_thread().name)

    def round_ended(self, report: RoundReport) -> None:
        self.rounds.append(report)
        self.threads.add(threading.current_thread().name)


class ScheduleTest(DaemonCase):
    def setUp(self) -> None:
        super().setUp()
        self.output = self.new_folder() / "out"
        run(self.config(), 60)
        self.told = Told()

    def kept(self, **changes: object) -> EmitterConfig:
        """A configuration, also with times that the rules of it do not allow."""
        config = self.config()
        return replace(config, maintenance=replace(config.maintenance, **changes))  # type: ignore[arg-type]

    def schedule(self, config: EmitterConfig, script: str = "work") -> UpkeepSchedule:
        return UpkeepSchedule(config, SystemClock(), None, partial(scripted_writer, script))

    def wait_for_rounds(self, schedule: UpkeepSchedule, count: int) -> None:
        def passed_on() -> bool:
            schedule.pass_on(self.told)
            return len(self.told.rounds) >= count

        wait_until(passed_on)

    def children(self) -> list[psutil.Process]:
        return [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]

    def test_rounds_come_by_time_and_are_told_of_in_the_thread_that_asks(self) -> None:
        with self.schedule(self.kept(interval_seconds=0)) as schedule:
            self.wait_for_rounds(schedule, 2)
            self.assertEqual(len(self.children()), 1)
        self.assertEqual([report.outcome for report in self.told.rounds], ["ok", "ok"])
        self.assertEqual(self.told.rounds[0].sizes["orders"], SIZE)
        self.assertEqual([report.table for report in self.told.chores], [*TABLES, *TABLES])
        self.assertEqual(self.told.threads, {threading.current_thread().name})
        self.assertEqual(self.children(), [])

    def test_batches_bring_one_before_its_time(self) -> None:
        with self.schedule(self.kept(interval_seconds=86_400, interval_batches=3)) as schedule:
            for _ in range(3):
                schedule.stepped(step(ends_batch=False), STATUS)
                self.assertEqual(self.children(), [])
                schedule.stepped(step(), STATUS)
            self.wait_for_rounds(schedule, 1)
        self.assertEqual(self.told.rounds[0].outcome, "ok")

    def test_without_upkeep_there_is_no_process_until_it_is_switched_on(self) -> None:
        config = self.kept(enabled=False, interval_seconds=0)
        with self.schedule(config) as schedule:
            for _ in range(300):
                schedule.stepped(step(), STATUS)
            schedule._ticks.wake.set()
            wait_until(lambda: not schedule._ticks.wake.is_set())  # it has looked
            self.assertEqual(self.children(), [])
            schedule.follow(replace(config, maintenance=replace(config.maintenance, enabled=True)))
            self.wait_for_rounds(schedule, 1)

    def test_a_format_without_upkeep_has_no_process_either(self) -> None:
        with self.schedule(self.kept(interval_seconds=0), "none") as schedule:
            schedule._thread.join(30)
            self.assertFalse(schedule._thread.is_alive())
            self.assertEqual(self.children(), [])

    def test_who_does_not_get_the_turn_skips_the_round_and_begins_no_process(self) -> None:
        for name in (KEEPER, ROUND):
            self.told = Told()
            turn = Turn(scripted_writer("work", self.config()).storage, name, SystemClock())
            with self.schedule(self.kept(interval_seconds=0)) as schedule:
                self.assertTrue(turn.take())
                self.wait_for_rounds(schedule, 1)
                self.assertEqual((self.told.rounds[0].outcome, self.children()), ("skipped", []))
                turn.let_go()
                self.wait_for_rounds(schedule, 3)
                self.assertEqual(self.told.rounds[-1].outcome, "ok")

    def test_the_keeper_stays_the_keeper_between_rounds_and_others_may_have_a_round(self) -> None:
        with self.schedule(self.kept(interval_seconds=0)) as schedule:
            self.wait_for_rounds(schedule, 1)
            schedule.follow(self.kept(enabled=False))
            wait_until(lambda: self.storage_is_free(ROUND))
            self.assertFalse(self.storage_is_free(KEEPER))
        self.assertTrue(self.storage_is_free(KEEPER))

    def storage_is_free(self, name: str) -> bool:
        return not scripted_writer("work", self.config()).storage.is_locked(f"_emitter/locks/{name}.lock")

    def test_a_stop_in_the_middle_of_a_round_ends_it_at_once_and_is_no_failure(self) -> None:
        with self.schedule(self.kept(interval_seconds=0), "hang") as schedule:
            wait_until(self.output.with_suffix(".begun").exists)
            schedule.end()
            schedule._thread.join(10)
            self.assertFalse(schedule._thread.is_alive())
        schedule.pass_on(self.told)
        self.assertEqual((self.told.rounds, self.children()), ([], []))


class DueTest(TestCase):
    KEPT = MaintenanceConfig(interval_seconds=300, interval_batches=200)
    BOTH: tuple[Task, ...] = ("compact", "expire")

    def begun(self) -> Due:
        due = Due(self.BOTH)
        due.begin(1_000, self.KEPT)
        return due

    def test_a_round_is_due_after_a_time(self) -> None:
        due = self.begun()
        self.assertEqual(due.at(1_014), [])
        self.assertEqual(due.at(1_015), [*self.BOTH])
        due.ended(dict.fromkeys(self.BOTH, 5.0), 0, 1_070, self.KEPT)
        self.assertEqual(due.at(1_369), [])
        self.assertEqual(due.at(1_370), [*self.BOTH])

    def test_a_task_that_batches_bring_rests_until_it_has_taken_its_part_of_a_tenth(self) -> None:
        due = self.begun()
        due.batches = 199
        self.assertEqual(due.at(1_001), [])
        due.batches = 200
        self.assertEqual(due.at(1_001), [*self.BOTH])
        due.ended({"compact": 5.0, "expire": 1.0}, 200, 1_007, self.KEPT)
        due.batches = 400
        self.assertEqual(due.at(1_025), [])
        self.assertEqual(due.at(1_026), ["expire"])
        due.ended({"expire": 1.0}, 400, 1_027, self.KEPT)
        self.assertEqual(due.at(1_061), [])  # of the other, fewer batches than that since it began
        self.assertEqual(due.at(1_062), ["compact"])
        due.batches = 600
        self.assertEqual(due.at(1_062), [*self.BOTH])

    def test_however_long_a_task_took_it_comes_again_after_the_interval(self) -> None:
        due = self.begun()
        due.ended({"compact": 900.0}, 0, 2_000, self.KEPT)
        self.assertEqual(due.at(2_299), ["expire"])
        self.assertEqual(due.at(2_300), [*self.BOTH])

    def test_a_shorter_interval_holds_at_once(self) -> None:
        due = self.begun()
        due.ended(dict.fromkeys(self.BOTH, 1.0), 0, 1_010, self.KEPT)
        due.follow(1_020, replace(self.KEPT, interval_seconds=5))
        self.assertEqual(due.at(1_025), [*self.BOTH])
        due.follow(1_020, replace(self.KEPT, interval_batches=3))
        due.batches = 3
        self.assertEqual(due.at(1_030), [*self.BOTH])


if __name__ == "__main__":
    main()
