"""Health says truly whether the daemon is well."""

from __future__ import annotations

import threading
import unittest
from dataclasses import replace

from emitter.errors import StorageError
from emitter.model import Slice
from emitter.testing import ManualClock
from emitter.watch.health import Health
from emitter.watch.observer import DaemonStatus
from tests.unit.watch.scripted_daemon import STATUS, step

BEHIND = replace(STATUS, lag_seconds=100.0)


class HealthTest(unittest.TestCase):
    """STATUS: batches of 10 simulated seconds at speed 2, so at least 30 s pass before readiness is lost."""

    def setUp(self) -> None:
        self.clock = ManualClock()
        self.health = Health(self.clock)
        self.status: DaemonStatus = BEHIND
        self.health.watch(lambda: self.status)

    def test_it_is_not_ready_while_it_starts(self) -> None:
        self.assertEqual(self.health.why_not_ready(), "starting")
        self.assertEqual(self.health.why_not_alive(), "")

    def test_a_standby_is_ready_and_says_that_it_is_one(self) -> None:
        self.health.standing_by(Slice(1, 2))
        self.assertEqual((self.health.why_not_alive(), self.health.why_not_ready()), ("", ""))
        self.assertEqual(self.health.catching_up(), "standby: another process writes slice 1-of-2")
        self.health.started(STATUS)
        self.assertNotIn("standby", self.health.catching_up())

    def test_it_is_ready_for_so_long_after_a_step(self) -> None:
        self.health.started(BEHIND)
        self.clock.advance(29.0)
        self.health.stepped(step(), BEHIND)
        self.clock.advance(30.0)
        self.assertEqual(self.health.why_not_ready(), "")
        self.clock.advance(1.0)
        self.assertEqual(self.health.why_not_ready(), "no step has finished for 31 s, 30 s are allowed")

    def test_large_batches_have_three_times_their_length_in_real_time(self) -> None:
        self.status = replace(BEHIND, batch_seconds=3600, lag_seconds=86_400.0)
        self.health.started(self.status)
        self.clock.advance(5400.0)
        self.assertEqual(self.health.why_not_ready(), "")
        self.clock.advance(1.0)
        self.assertIn("5400 s are allowed", self.health.why_not_ready())

    def test_it_stays_ready_while_nothing_is_due(self) -> None:
        self.status = replace(STATUS, lag_seconds=9.0)
        self.health.started(self.status)
        self.clock.advance(86_400.0)
        self.assertEqual(self.health.why_not_ready(), "")

    def test_what_has_not_been_due_for_long_may_still_take_its_time(self) -> None:
        self.health.started(STATUS)
        self.clock.advance(86_400.0)
        for seconds_due, ready in ((0.0, True), (30.0, True), (31.0, False)):
            self.status = replace(STATUS, lag_seconds=10.0 + 2 * seconds_due)
            self.assertEqual(not self.health.why_not_ready(), ready)

    def test_at_speed_max_something_is_always_due(self) -> None:
        self.status = replace(STATUS, speed=None, lag_seconds=0.0)
        self.health.started(self.status)
        self.clock.advance(31.0)
        self.assertIn("no step has finished", self.health.why_not_ready())

    def test_the_reason_tells_what_is_being_retried_until_a_step_finishes(self) -> None:
        self.health.started(BEHIND)
        self.health.waiting_to_retry(StorageError("write", "x", "no space"), 3, 9, 1.0)
        self.clock.advance(31.0)
        self.assertIn("retrying: could not write x: no space", self.health.why_not_ready())
        self.health.stepped(step(), BEHIND)
        self.clock.advance(31.0)
        self.assertNotIn("retrying", self.health.why_not_ready())

    def test_what_is_far_behind_and_at_work_is_catching_up(self) -> None:
        for status, note in (
            (replace(STATUS, lag_seconds=30.0), ""),  # three batches
            (replace(STATUS, lag_seconds=10_800.5), "catching up: 3 h of simulated time behind"),
            (
                replace(STATUS, lag_seconds=10_800.5, level_in_seconds=95.0),
                "catching up: 3 h of simulated time behind, level in about 1 min 35 s",
            ),
            (replace(STATUS, lag_seconds=500.0, speed=60.0), ""),  # eight seconds of real time
            (replace(STATUS, lag_seconds=660.0, speed=60.0), "catching up: 11 min of simulated time behind"),
            (replace(STATUS, lag_seconds=1e6, speed=None), ""),
            (replace(STATUS, table_lag_seconds={"orders": 60}), ""),  # half a minute of real time
            (
                replace(STATUS, table_lag_seconds={"customers": 60, "orders": 7200}),
                "orders is 2 h of simulated time behind other tables",
            ),
            (
                replace(STATUS, table_lag_seconds={"orders": 7200}, speed=None, left_to_others=("0-of-3", "2-of-3")),
                "orders is 2 h of simulated time behind other tables; left to other processes, which hold them:"
                " slices 0-of-3, 2-of-3",
            ),
        ):
            self.status = status
            self.assertEqual(self.health.catching_up(), note)
        self.assertEqual(Health(self.clock).catching_up(), "")

    def test_a_wall_clock_that_jumps_changes_nothing(self) -> None:
        self.health.started(BEHIND)
        for jump in (3600.0, -7200.0):
            self.clock.jump_wall(jump)
            self.assertEqual(self.health.why_not_ready(), "")

    def test_it_is_dead_once_the_daemons_thread_has_ended(self) -> None:
        made: list[Health] = []
        thread = threading.Thread(target=lambda: made.append(Health(self.clock)))
        thread.start()
        thread.join()
        self.assertEqual(made[0].why_not_alive(), "the daemon's thread has ended")
        self.assertEqual(made[0].why_not_ready(), "the daemon's thread has ended")


if __name__ == "__main__":
    unittest.main()
