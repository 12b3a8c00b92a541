"""History, then live: all up to now at full speed, and on from there in real time, without a seam."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest import TestCase

from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.config import EmitterConfig
from emitter.errors import ConfigurationError
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, Window
from emitter.run.history import HistoryStager
from emitter.run.pipeline import Request, StagedBatch, Stager
from emitter.testing import ManualClock
from tests.support.case import DaemonCase, spans
from tests.support.shop import ORIGIN, crash, due, shop_daemon

PAST = 7_203  # seconds from the origin to now: not a whole batch
LIVE_UNTIL = 7_230


class HistoryTest(DaemonCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = ManualClock(EPOCH_UNIX_SECONDS + ORIGIN + PAST)

    def history(self, **changes: Any) -> EmitterConfig:
        return self.live(clock__history="max", **changes)

    def start(self, **changes: Any) -> Any:
        return shop_daemon(self.history(**changes), clock=self.clock)

    def test_the_past_is_made_in_large_steps_then_batches_follow_the_clock(self):
        with self.start(clock__batch_rows_max=2_000) as daemon:
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + PAST)
            past = spans(due(daemon))
            self.assertEqual((past[0][0], past[-1][1]), (0, 7_200))
            self.assertTrue(all(begin == end for (_, begin), (end, _) in pairwise(past)), past)
            self.assertLess(len(past), 20)  # of 720 batches
            self.clock.advance(27)
            self.assertEqual(spans(due(daemon)), [(7_200, LIVE_UNTIL)])
        self.assert_undisturbed(LIVE_UNTIL)

    def test_it_goes_on_where_it_was_killed(self):
        config = self.history(clock__batch_rows_max=2_000)
        for nth in (1, 4, 9):
            self.assertTrue(crash(config, PAST, "parquet.renamed", nth, steps=due, clock=self.clock))
        self.clock.advance(3_600)
        with self.start() as daemon:
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + PAST + 3_600)
            due(daemon)
        self.assert_undisturbed(10_800)

    def test_it_tells_when_it_will_be_level(self):
        with self.start(clock__batch_rows_max=500) as daemon:
            self.assertIsNone(daemon.status().level_in_seconds)
            told, lags = [], []
            for _ in range(5):
                daemon.step()
                self.clock.advance(2)
                told.append(daemon.status().level_in_seconds)
                lags.append(daemon.status().lag_seconds)
            self.assertIsNone(told[0])  # one step makes no pace
            gained_per_second = (lags[0] - lags[-1]) / 8
            self.assertAlmostEqual(told[-1], lags[-1] / gained_per_second, delta=2)
            self.assertEqual(told[1:], sorted(told[1:], reverse=True))
            due(daemon)
            self.assertLess(daemon.status().lag_seconds, 10)

    def test_an_output_begun_without_it_is_brought_level(self):
        with shop_daemon(self.live(), clock=self.clock) as daemon:
            self.clock.advance(20)
            self.assertEqual(spans(due(daemon))[-1][1], 20)
        with self.start() as daemon:
            due(daemon)
            self.assertEqual(daemon.status().reached_slot, ORIGIN + 7_220)
        self.assert_undisturbed(7_220)

    def test_where_it_means_nothing_it_is_refused(self):
        for changes, path in (
            ({"clock__start": "now"}, "clock.history"),
            ({"clock__speed": 60}, "clock.history"),
            ({"clock__speed": "max"}, "clock.history"),
            ({"clock__on_restart": "continue"}, "clock.history"),
            ({"clock__history": "fast"}, "clock.history"),
            ({"clock__history_jobs": 0}, "clock.history_jobs"),
        ):
            with self.subTest(changes), self.assertRaises(ConfigurationError) as caught:
                self.live(**{"clock__history": "max", **changes})
            self.assertEqual([fault.path for fault in caught.exception.faults], [path])


class NotingStager(Stager):
    """Notes what it is asked for."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name, self._notes = name, notes

    def follow(self, generator: GeneratorBase) -> None:
        pass

    def stage(self, request: Request, *_: object) -> StagedBatch:
        self._notes.append(f"{self._name} {request.window.seconds}")
        return StagedBatch(request.window)

    def reset(self) -> None:
        self._notes.append(f"reset {self._name}")

    def close(self) -> None:
        self._notes.append(f"close {self._name}")


class HistoryStagerTest(TestCase):
    def test_other_processes_get_what_is_behind_and_are_let_go_when_nothing_is(self) -> None:
        notes: list[str] = []
        batch_seconds = 10
        stager = HistoryStager(NotingStager("near", notes), NotingStager("far", notes), lambda: batch_seconds)
        for seconds, batch_seconds in ((400, 10), (400, 10), (10, 10), (60, 10), (90, 30), (91, 30)):  # noqa: B007 (told)
            stager.stage(Request(Slice(), Window(0, seconds), ("orders",)), iter(()), lambda *_: None)
        stager.reset()
        stager.close()
        self.assertEqual(
            notes,
            [
                *("reset near", "far 400", "far 400"),
                *("reset far", "close far", "near 10", "near 60", "near 90"),
                *("reset near", "far 91", "reset far", "close near", "close far"),
            ],
        )
