"""The same as in test_shards, many times."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation import test_shards
from tests.support.effort import count


class LongShardsTest(test_shards.AnyFleetTest, test_shards.ChangedCountTest):
    @settings(max_examples=count(200), deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        actions=st.one_of(test_shards.ACTIONS, test_shards.ROLLOUTS),
        last_count=st.integers(1, 3),
        has_revisions=st.booleans(),
    )
    def test_whatever_they_did_every_row_is_there_once(self, actions, last_count, has_revisions):
        self.check(actions, last_count, has_revisions)

    def test_two_four_two_with_every_shard_killed_somewhere(self):
        points = [(point, nth) for point in test_shards.POINTS for nth in (1, 2, 3, 5, 8, 13)]
        self.check_every_shard_killed(points, rounds=count(len(points)))
