"""A scheduled verification beside commits and upkeep, in each format: files that move under it are no difference."""

from __future__ import annotations

import threading
import unittest
from typing import Any
from unittest import mock

from emitter.clock import SystemClock
from emitter.config import EmitterConfig
from emitter.model import TASKS, ChoreReport
from emitter.truth.reading import Contents, Found
from emitter.upkeep.once import maintain
from emitter.verification.child import compared
from tests.support.places import TARGETS, new_place
from tests.support.shop import finish, run, shop_daemon

HASTY: dict[str, Any] = {
    "clock__batch_seconds": 5,
    "ecommerce__orders_per_second": 1,
    "maintenance__small_files_min": 2,
    "maintenance__read_seconds_max": 1,
    "maintenance__keep_seconds": 1,
    "maintenance__versions_max": 2,
}
BEGUN_SECONDS, END_SECONDS = 50, 150
TOTALS = Contents.totals


class BesideUpkeepTest(unittest.TestCase):
    def test_neither_upkeep_nor_commits_at_the_same_time_are_a_difference(self) -> None:
        for target in TARGETS[:4]:
            with self.subTest(str(target)):
                config = new_place(self, target).config(**HASTY)
                run(config, BEGUN_SECONDS)
                chores: list[ChoreReport] = []
                done, failed = threading.Event(), list[BaseException]()
                workers = [
                    threading.Thread(target=guarded, args=(failed, append, config, done)),
                    threading.Thread(target=guarded, args=(failed, tend, config, done, chores)),
                ]
                for worker in workers:
                    worker.start()
                outcomes = []
                while not done.is_set() and not failed:
                    outcomes.append(compared(config, SystemClock()))
                for worker in workers:
                    worker.join()
                outcomes.append(compared(config, SystemClock()))
                self.assertEqual(failed, [])
                self.assertEqual([each for each in outcomes if each.outcome == "different"], [])
                self.assertEqual(outcomes[-1].outcome, "ok")
                if config.output.format != "parquet":
                    self.assertGreater(sum(chore.files_removed for chore in chores if chore.task == "compact"), 0)


class MovedTest(unittest.TestCase):
    def test_files_that_upkeep_takes_away_after_they_were_listed_are_found_where_their_rows_are_now(self) -> None:
        for target in TARGETS[1:3]:  # in DuckLake they stay for some rounds more
            with self.subTest(str(target)):
                config = new_place(self, target).config(**HASTY)
                run(config, BEGUN_SECONDS)
                removed: list[int] = []

                def first_moved(
                    self: Contents, *arguments: Any, config: EmitterConfig = config, removed: list[int] = removed
                ) -> Found:
                    if not removed:
                        removed += [sum(files_removed(config)), 0]
                        threading.Event().wait(1.1)  # maintenance.keep_seconds
                        removed[1] = sum(files_removed(config))
                    return TOTALS(self, *arguments)

                with mock.patch.object(Contents, "totals", first_moved):
                    report = compared(config, SystemClock())
                self.assertTrue(all(removed), removed)
                self.assertEqual((report.outcome, report.examples), ("ok", ()))


def files_removed(config: EmitterConfig) -> list[int]:
    """By piece of work of a round."""
    reports = maintain(config, TASKS, clock=SystemClock(), stop=threading.Event(), on_work=lambda *_: None)
    return [report.files_removed for report in reports]


def guarded(failed: list[BaseException], work: Any, *arguments: Any) -> None:
    try:
        work(*arguments)
    except BaseException as error:
        failed.append(error)
        raise


def append(config: EmitterConfig, done: threading.Event) -> None:
    """Commits until the end."""
    try:
        with shop_daemon(config, until=END_SECONDS) as daemon:
            finish(daemon)
    finally:
        done.set()


def tend(config: EmitterConfig, done: threading.Event, chores: list[ChoreReport]) -> None:
    """Round after round."""
    while not done.is_set():
        chores += maintain(config, TASKS, clock=SystemClock(), stop=threading.Event(), on_work=lambda *_: None)


if __name__ == "__main__":
    unittest.main()
