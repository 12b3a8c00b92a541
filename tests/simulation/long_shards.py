"""The same as in test_fleet and test_shard_counts, many times."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.simulation import test_fleet, test_shard_counts
from tests.simulation.fleet import free_plays, roll_out_plays
from tests.support.effort import count

_ANY = list(HealthCheck)


class LongFleetTest(test_fleet.FleetTest):
    @settings(max_examples=count(130), deadline=None, suppress_health_check=_ANY)
    @given(free_plays())
    def test_whatever_they_did_every_row_is_there_once(self, play):
        self.check(play)

    @settings(max_examples=count(200), deadline=None, suppress_health_check=_ANY)
    @given(roll_out_plays())
    def test_whatever_came_back_every_row_is_there_once(self, play):
        self.check(play)


class LongShardCountsTest(test_shard_counts.ChangedCountTest):
    def test_two_four_two_with_every_shard_killed_somewhere(self):
        points = [(point, nth) for point in test_shard_counts.POINTS for nth in (1, 2, 3, 5, 8, 13)]
        self.check_every_shard_killed(points, rounds=count(len(points)))
