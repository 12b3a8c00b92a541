"""One shop in every format, on every storage: the same rows, each once, whatever happens on the way."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from emitter.config import EmitterConfig
from emitter.run.opening import open_tables
from emitter.testing import ManualClock
from emitter.truth import inspection, oracle
from tests.support.places import TARGETS, Place, Target, new_place
from tests.support.shop import ORIGIN, TABLES, crash, finish, run, shop_daemon

BATCHES, BATCH_SECONDS = 4, 15
UNTIL = BATCHES * BATCH_SECONDS
CHANGES: dict[str, Any] = {"clock__batch_seconds": BATCH_SECONDS, "ecommerce__orders_per_second": 0.2}


def truth(config: EmitterConfig, until: int) -> dict[str, tuple[int, str]]:
    """By table, how many rows there should be, and their order-free digest."""
    tables = oracle.expect(config, None, ORIGIN + until)["tables"]
    return {name: (tables[name]["rows"], tables[name]["digest"]) for name in TABLES}


class FormatCase(unittest.TestCase):
    maxDiff = None

    def place(self, target: Target) -> Place:
        return new_place(self, target)

    def assert_exact(self, place: Place, until: int, **changes: Any) -> dict[str, tuple[int, str]]:
        """Another reader and our own see every row once, and the output is as complete as it says. What the other
        reader saw, as `truth` says it.
        """
        config = place.config(**{**CHANGES, **changes})
        expected, found = truth(config, until), place.digests()
        self.assertEqual(found, expected)
        verification = oracle.verify(config)
        self.assertTrue(verification.ok, verification)
        for table in inspection.status(config, clock=ManualClock()):
            self.assertEqual(table.rows, expected[table.table][0])
        return found


class SameShopTest(FormatCase):
    def test_the_rows_are_the_same_in_every_format(self):
        digests = {}
        for target in TARGETS:
            with self.subTest(str(target)):
                place = self.place(target)
                run(place.config(**CHANGES), UNTIL)
                digests[str(target)] = self.assert_exact(place, UNTIL)
        self.assertEqual(len(digests), len(TARGETS))
        self.assertEqual(len(set(map(str, digests.values()))), 1)

    def test_a_repeat_does_nothing_and_a_later_end_goes_on(self):
        for target in TARGETS[:4]:
            with self.subTest(str(target)):
                place = self.place(target)
                run(place.config(**CHANGES), 120)
                repeated = run(place.config(**CHANGES), 120)
                self.assertEqual([report for report in repeated if report.commits or report.rows], [])
                run(place.config(**CHANGES), 180)
                self.assert_exact(place, 180)

    def test_two_shards_at_once_add_up(self):
        for target in TARGETS[1:4]:
            with self.subTest(str(target)):
                place = self.place(target)
                configs = [place.config(**CHANGES, shard__count=2, shard__index=index) for index in range(2)]
                with (
                    shop_daemon(configs[0], until=120) as first,
                    shop_daemon(configs[1], until=120) as second,
                ):
                    while not (first.finished and second.finished):
                        for daemon in (first, second):
                            if not daemon.finished:
                                daemon.step()
                self.assert_exact(place, 120, shard__count=2)


class FirstStartTest(FormatCase):
    def test_shards_that_start_now_for_the_first_time_at_once_are_of_one_run(self):
        """While one looks at the empty output, another begins the run, of an earlier second, and writes to it."""
        for target in TARGETS[:4]:
            with self.subTest(str(target)):
                place, runs, clock = self.place(target), [], ManualClock()
                shards = [place.config(**CHANGES, clock__start="now", shard__count=2, shard__index=i) for i in range(2)]

                def start(shards=shards, clock=clock, runs=runs) -> None:
                    with shop_daemon(shards.pop(), clock=clock) as daemon:
                        daemon.step()
                        runs.append(daemon.status().run_id)

                def late(*arguments: Any, shards=shards, clock=clock, start: Callable[[], None] = start) -> None:
                    clock.advance(2)
                    if shards:
                        start()
                    open_tables(*arguments)

                with patch("emitter.run.opening.open_tables", late):
                    start()
                self.assertEqual(len(set(runs)), 1)
                self.assertEqual(len(runs), 2)


class CrashTest(FormatCase):
    def test_a_crash_at_any_point_leaves_every_table_exact(self):
        # Each format, a part of the points; all, on S3 too and in processes that really end, in `make test-long`.
        for target in TARGETS[1:4]:
            for point in self.place(target).crash_points()[::4]:
                with self.subTest(f"{target}: {point}"):
                    place = self.place(target)
                    config = place.config(**CHANGES)
                    self.assertTrue(crash(config, 90, point, 2))
                    crash(config, 90, point, 7)
                    run(config, 105)
                    self.assert_exact(place, 105)

    def test_tables_at_different_slots_are_brought_together(self):
        for target in TARGETS[1:4]:
            with self.subTest(str(target)):
                place = self.place(target)
                few = place.config(**CHANGES, tables=["customers", "products"])
                run(few, 90)
                with shop_daemon(place.config(**CHANGES), until=240) as daemon:
                    finish(daemon)
                self.assert_exact(place, 240)
