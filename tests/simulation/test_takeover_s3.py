"""Daemons that meet on S3, where no lock keeps them apart: the last to start goes on, the others end, and every row is
there once.
"""

from __future__ import annotations

import unittest

from emitter.errors import OvertakenError
from emitter.model import Slice
from emitter.run.assembly import configured_writer
from emitter.run.daemon import Daemon
from emitter.run.duties import LEAVE_SECONDS
from emitter.testing import ManualClock
from tests.simulation.test_formats import CHANGES, FormatCase
from tests.support.places import Place, Target
from tests.support.shop import finish, run, shop_daemon

UNTIL = 600


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
