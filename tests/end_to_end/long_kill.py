"""The same as in test_kill: every passing of every crash point, and kills at any moment, 100 in a soak."""

from __future__ import annotations

from emitter.truth import oracle
from emitter.writers.parquet.writer import ParquetWriter
from tests.end_to_end import test_kill
from tests.support.effort import count, new_seed
from tests.support.shop import run, settled

KILLS, KILLS_PER_OUTPUT = 100, 10


class LongKillTest(test_kill.KillCase):
    def test_every_passing_of_every_crash_point(self):
        for point in ParquetWriter.crash_points:
            nth = 1
            while True:
                self.output = self.new_folder()
                if self.drive(point, nth, 200) == 0:
                    break  # it is not passed so often
                with self.subTest(point=point, nth=nth):
                    run(self.config(), 200)
                    self.assert_whole(200)
                nth += 1
            self.assertGreater(nth, 2, point)

    def test_one_after_the_other_in_one_output(self):
        until = 0
        for point in sorted(ParquetWriter.crash_points):  # a partition ends only at the beginning
            until += 300
            self.assertEqual(self.drive(point, 4, until), test_kill.EXIT_CRASHED, point)
            self.assertTrue(oracle.verify(self.config()).ok, point)
        until = settled(self.config()) + 60
        run(self.config(), until)
        self.assert_whole(until)

    def test_kill_9_at_any_moment(self):
        for _ in range(count(KILLS // KILLS_PER_OUTPUT)):
            self.output = self.new_folder()
            self.kill_often(new_seed(), KILLS_PER_OUTPUT)
