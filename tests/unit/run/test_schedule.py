"""The run loop: steps while something is due, sleeps until the next batch, ends for the right reason."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, repeat
from typing import Any

from emitter.clock import Clock, SystemClock
from emitter.errors import StorageError
from emitter.model import Slice
from emitter.run.lease import LOOK_SECONDS
from emitter.run.schedule import TICK_SECONDS_MAX, Enough, run_daemon, stand_by
from emitter.testing import ManualClock
from emitter.watch.observer import Observer, Tally
from tests.unit.watch.scripted_daemon import STATUS, ScriptedDaemon, commit, step


class Wanted:
    """A daemon whose slice is free, not free, or behind a storage that does not answer, in this order."""

    slice = Slice(1, 2)

    def __init__(self, *answers: bool | StorageError) -> None:
        self._answers = list(answers)

    def take(self) -> bool:
        answer = self._answers.pop(0)
        if isinstance(answer, StorageError):
            raise answer
        return answer


class StandByTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock, self.stop = ManualClock(), threading.Event()

    def stand_by(self, daemon: Wanted, between_looks: Callable[[], None] = lambda: None) -> bool:
        self.told: list[Slice] = []
        case = self

        class Watch(Observer):
            def standing_by(self, slice: Slice) -> None:
                case.told.append(slice)

        return stand_by(
            daemon,  # type: ignore[arg-type]
            clock=self.clock,
            stop=self.stop,
            observer=Watch(),
            between_looks=between_looks,
        )

    def test_it_waits_until_the_slice_is_free_whatever_the_storage_does(self) -> None:
        self.assertTrue(self.stand_by(Wanted(False, StorageError("read", "x", "no answer"), True)))
        self.assertEqual((self.told, self.clock.monotonic_seconds()), ([Slice(1, 2)], 3 * LOOK_SECONDS))

    def test_it_gives_signs_of_life_more_often_than_it_looks(self) -> None:
        signs: list[float] = []
        self.stand_by(Wanted(False, True), lambda: signs.append(self.clock.monotonic_seconds()))
        self.assertEqual(signs[:LOOK_SECONDS], [1.0, 2.0, 3.0, 4.0, 5.0])

    def test_it_ends_when_it_is_told_to(self) -> None:
        self.assertFalse(self.stand_by(Wanted(False, False, False), self.stop.set))


class RunDaemonTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = ManualClock()
        self.stop = threading.Event()
        self.tally = Tally()

    def run_loop(self, daemon: ScriptedDaemon, clock: Clock | None = None, **options: Any) -> str:
        limits = {name: options.pop(name) for name in ("batches", "rows", "bytes") if name in options}
        return run_daemon(
            daemon,  # type: ignore[arg-type]
            clock=clock or self.clock,
            stop=self.stop,
            enough=Enough(**limits),
            tally=self.tally,
            **options,
        )

    def test_it_ends_after_so_many_batches(self) -> None:
        daemon = ScriptedDaemon(repeat(step()), clock=self.clock)
        self.assertEqual(self.run_loop(daemon, batches=3), "batches")
        self.assertEqual(daemon.steps, 3)

    def test_it_ends_with_the_batch_that_makes_it_enough_rows_or_bytes(self) -> None:
        """A step of the script has 105 rows and 2,625 bytes over two tables, and a batch two steps."""
        cut = step(ends_batch=False)
        for limits, reason, steps in (
            ({"rows": 1}, "rows", 2),
            ({"rows": 420}, "rows", 4),
            ({"rows": 421}, "rows", 6),
            ({"bytes": 4 * 2625}, "bytes", 4),
            ({"rows": 10**9, "bytes": 5 * 2625, "batches": 9}, "bytes", 6),
            ({"rows": 10**9, "bytes": 10**12, "batches": 2}, "batches", 4),
        ):
            with self.subTest(limits=limits):
                self.tally = Tally()
                daemon = ScriptedDaemon(cycle([cut, step()]), clock=self.clock, observer=self.tally)
                self.assertEqual(self.run_loop(daemon, **limits), reason)
                self.assertEqual(daemon.steps, steps)

    def test_an_attempt_that_failed_makes_nothing_enough(self) -> None:
        failed = replace(step(), commits=(commit("orders", 0, "conflict"), commit("orders", 100)))
        daemon = ScriptedDaemon(repeat(failed), clock=self.clock, observer=self.tally)
        self.assertEqual(self.run_loop(daemon, rows=201), "rows")
        self.assertEqual(daemon.steps, 3)

    def test_a_step_that_only_begins_a_batch_is_no_batch(self) -> None:
        cut = step(ends_batch=False)
        daemon = ScriptedDaemon([cut, cut, step(), cut, step()], clock=self.clock)
        self.assertEqual(self.run_loop(daemon, batches=2), "batches")
        self.assertEqual(daemon.steps, 5)

    def test_it_ends_where_the_daemon_is_finished(self) -> None:
        daemon = ScriptedDaemon(repeat(step()), clock=self.clock, finished_after=4)
        self.assertEqual(self.run_loop(daemon, batches=9), "until")
        self.assertEqual(daemon.steps, 4)

    def test_it_ends_before_the_next_step_once_told_to_stop(self) -> None:
        def stopping() -> Any:
            self.stop.set()
            return step()

        daemon = ScriptedDaemon([step(), stopping, step()], clock=self.clock)
        self.assertEqual(self.run_loop(daemon), "signal")
        self.assertEqual(daemon.steps, 2)

    def test_while_behind_it_steps_without_waiting(self) -> None:
        daemon = ScriptedDaemon(repeat(step()), clock=self.clock)
        self.run_loop(daemon, batches=50)
        self.assertEqual(self.clock.monotonic_seconds(), 0.0)

    def test_it_sleeps_until_the_next_batch_is_due(self) -> None:
        daemon = ScriptedDaemon([step(), None, step()], clock=self.clock, due_seconds=0.25)
        self.run_loop(daemon, batches=2)
        self.assertEqual(self.clock.monotonic_seconds(), 0.25)

    def test_it_never_sleeps_longer_than_a_tick_although_no_tick_comes(self) -> None:
        """The scheduler plans its ticks by the wall clock: set back by an hour, it is silent for an hour."""
        daemon = ScriptedDaemon([step(), None, None, step()], clock=self.clock, due_seconds=7.25)
        self.run_loop(daemon, batches=2)
        self.assertEqual(self.clock.monotonic_seconds(), 2 * TICK_SECONDS_MAX)

    def test_a_tick_ends_a_sleep_so_that_a_stop_is_seen(self) -> None:
        """With the real clock and the real scheduler: nothing else could end this sleep of a day."""
        looks = 0

        def look() -> None:
            nonlocal looks
            looks += 1
            if looks == 3:
                self.stop.set()

        daemon = ScriptedDaemon(repeat(None), clock=self.clock, due_seconds=86_400.0, status=replace(STATUS, speed=1e6))
        self.assertEqual(self.run_loop(daemon, SystemClock(), between_steps=look), "signal")
        self.assertEqual(daemon.steps, 3)

    def test_reloading_happens_between_steps_in_the_same_thread(self) -> None:
        order: list[str] = []
        daemon = ScriptedDaemon(
            repeat(lambda: order.append(f"step in {threading.current_thread().name}") or step()),
            clock=self.clock,
        )
        self.run_loop(
            daemon,
            batches=2,
            between_steps=lambda: order.append(f"look in {threading.current_thread().name}"),
        )
        here = threading.current_thread().name
        self.assertEqual(order, [f"look in {here}", f"step in {here}"] * 2)

    def test_an_error_of_a_step_ends_the_loop_and_its_threads(self) -> None:
        before = threading.active_count()
        daemon = ScriptedDaemon([step(), StorageError("write", "x", "full")], clock=self.clock)
        with self.assertRaises(StorageError):
            self.run_loop(daemon)
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and "APScheduler" in thread.name:
                thread.join(10)
        self.assertLessEqual(threading.active_count(), before)


if __name__ == "__main__":
    unittest.main()
