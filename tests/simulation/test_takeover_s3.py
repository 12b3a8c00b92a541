"""Daemons that meet on S3, where no lock keeps them apart: the last to start goes on, the others end, and every row is
there once.
"""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from contextlib import suppress

from emitter.errors import OvertakenError, SliceLockedError
from emitter.model import Slice
from emitter.run.assembly import configured_writer
from emitter.run.bounded import generate
from emitter.run.daemon import Daemon
from emitter.run.duties import LEAVE_SECONDS
from emitter.run.lease import BEAT_SECONDS, STILL_SECONDS
from emitter.testing import ManualClock
from tests.simulation.test_formats import CHANGES, FormatCase
from tests.support.places import TARGETS, Place, Target
from tests.support.shop import ORIGIN, finish, run, shop_daemon

UNTIL = 600
SHORT = 180


class StandbyTest(FormatCase):
    """Two processes of one slice, each with a clock of its own, in every format."""

    def daemon(self, place: Place, clock: ManualClock) -> Daemon:
        return shop_daemon(place.config(**CHANGES), until=SHORT, clock=clock)

    def in_each_format(self, check: Callable[[Place], None]) -> None:
        for target in TARGETS[4:]:
            with self.subTest(str(target)):
                check(self.place(target))

    def test_who_finds_a_slice_that_moves_waits_and_takes_it_when_it_is_let_go(self):
        def check(place: Place) -> None:
            here, there = ManualClock(), ManualClock()
            waiting = self.daemon(place, there)
            with self.daemon(place, here) as working:
                for _ in range(4):
                    working.step()
                    self.assertFalse(waiting.take())
                    here.advance(BEAT_SECONDS)
                    there.advance(STILL_SECONDS - 1)
                working.step()
                self.assertFalse(waiting.take())
            self.assertTrue(waiting.take())
            with waiting:
                finish(waiting)
            self.assert_exact(place, SHORT)

        self.in_each_format(check)

    def test_a_slice_that_stands_still_is_taken_and_whoever_had_it_ends(self):
        def check(place: Place) -> None:
            here, there = ManualClock(), ManualClock()
            waiting, asleep = self.daemon(place, there), self.daemon(place, here)
            asleep.__enter__()
            asleep.step()
            self.assertFalse(waiting.take())
            there.advance(STILL_SECONDS)
            self.assertTrue(waiting.take())
            with waiting:
                waiting.step()
                here.advance(BEAT_SECONDS)
                with self.assertRaises(OvertakenError) as caught:
                    asleep.step()
                self.assertEqual(caught.exception.exit_code, 3)
                self.assertFalse(self.daemon(place, here).take())  # started again, it is the one that waits
                asleep.__exit__(OvertakenError, caught.exception, None)  # which lets go of nothing that is not its own
                self.assertFalse(self.daemon(place, here).take())
                finish(waiting)
            self.assert_exact(place, SHORT)

        self.in_each_format(check)

    def test_it_can_be_taken_by_force_and_then_only_the_other_ends(self):
        def check(place: Place) -> None:
            here, there = ManualClock(), ManualClock()
            first, second = self.daemon(place, here), self.daemon(place, there)
            first.__enter__()
            first.step()
            self.assertTrue(second.take(by_force=True))
            with second:
                with suppress(OvertakenError):
                    first.step()  # it may not have seen yet
                second.step()
                here.advance(BEAT_SECONDS)
                with self.assertRaises(OvertakenError):
                    first.step()
                finish(second)
            first.__exit__(OvertakenError, None, None)
            self.assert_exact(place, SHORT)

        self.in_each_format(check)

    def test_a_bounded_run_waits_for_no_process_that_lives(self):
        place, clock = self.place(Target("parquet", "s3")), ManualClock()
        config = place.config(**CHANGES)
        with self.daemon(place, clock) as working:
            working.step()

            class Beating(ManualClock):
                def wait(self, event: threading.Event, seconds: float) -> bool:
                    clock.advance(BEAT_SECONDS)
                    working.step()
                    return super().wait(event, seconds)

            with self.assertRaises(SliceLockedError) as caught:
                generate(config, None, ORIGIN + SHORT, clock=Beating())
            self.assertEqual(caught.exception.exit_code, 3)
        asleep = self.daemon(place, clock)
        asleep.__enter__()
        self.addCleanup(asleep.__exit__, OvertakenError, None, None)
        self.assertGreater(sum(generate(config, None, ORIGIN + SHORT, clock=ManualClock()).rows.values()), 0)
        self.assert_exact(place, SHORT)


class TakeoverTest(FormatCase):
    def setUp(self):
        self.output = self.place(Target("parquet", "s3"))

    def daemon(self, output: Place, until: int = UNTIL, **changes: object) -> Daemon:
        return shop_daemon(output.config(**CHANGES, **changes), until=until, clock=ManualClock())

    def test_the_second_daemon_of_a_shard_goes_on_and_the_first_ends(self):
        with self.assertRaises(OvertakenError) as caught, self.daemon(self.output) as first:
            first.step()
            with self.daemon(self.output) as second:
                second.step()
                try:
                    finish(first)
                finally:
                    finish(second)
        self.assertEqual(caught.exception.exit_code, 3)
        self.assertIn("has taken slice 0-of-1", caught.exception.problem)
        self.assert_exact(self.output, UNTIL)

    def test_each_of_many_daemons_takes_the_slice_from_the_one_before(self):
        for _ in range(5):
            daemon = self.daemon(self.output)
            daemon.__enter__()  # and is never heard of again
            daemon.step()
            daemon.step()
        run(self.output.config(**CHANGES), UNTIL)
        self.assert_exact(self.output, UNTIL)

    def test_another_shard_count_is_taken_up_while_the_old_shards_still_run(self):
        olds = [self.daemon(self.output, shard__index=index, shard__count=2) for index in range(2)]
        for old in olds:
            old.__enter__()
            old.step()
        run(self.output.config(**CHANGES, shard__index=0, shard__count=1), UNTIL)
        for old in olds:
            with self.assertRaises(OvertakenError):
                finish(old)
        self.assert_exact(self.output, UNTIL)

    def test_an_old_shard_that_starts_again_beside_the_new_one_does_not_end_it(self):
        until = 180
        for name in ("parquet", "delta"):
            with self.subTest(name):
                output, clock = self.place(Target(name, "s3")), ManualClock()
                with self.daemon(output, revision=1, shard__count=2) as old:
                    old.step()  # seals ahead, so that much is left of its slice
                with shop_daemon(output.config(**CHANGES, revision=2), until=until, clock=clock) as new:
                    old = self.daemon(output, revision=1, shard__count=2)
                    old.__enter__()
                    old.step()
                    old.step()
                    stood = self.stands(output, Slice(0, 2))
                    finish(new)  # without the old slice, which is left to the old shard
                    self.assertEqual(self.stands(output, Slice(0, 2)), stood)
                    clock.advance(LEAVE_SECONDS)
                    finish(new)
                    with self.assertRaises(OvertakenError):
                        finish(old)
                self.assert_exact(output, until)

    def stands(self, output: Place, slice: Slice) -> int:
        return configured_writer(output.config()).progress("orders")[slice].slot

    def test_shards_start_at_the_same_time(self):
        with (
            self.daemon(self.output, shard__index=0, shard__count=2) as one,
            self.daemon(self.output, shard__index=1, shard__count=2) as other,
        ):
            while not (one.finished and other.finished):
                for daemon in (one, other):
                    if not daemon.finished:
                        daemon.step()
        self.assert_exact(self.output, UNTIL)


if __name__ == "__main__":
    unittest.main()
