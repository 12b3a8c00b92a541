"""Shards of any count, started, killed and counted anew in any order, write what one undisturbed run writes."""

from __future__ import annotations

import unittest

from hypothesis import HealthCheck, example, given, settings

from emitter.model import Slice
from emitter.truth import oracle
from tests.simulation.fleet import UNTIL, Fleet, Play, free_plays, roll_out_plays, seals_ahead
from tests.simulation.shards_case import ShardsCase
from tests.support.case import Marks
from tests.support.shop import ORIGIN, TABLES, run, shop

_ANY = list(HealthCheck)


class FleetTest(ShardsCase):
    def check(self, play: Play) -> None:
        self.output = self.new_folder()
        fleet, marks = Fleet(self.output, play.tables, has_revisions=play.has_revisions), Marks(self.output)
        with seals_ahead(1):
            for action, *what in play.actions:
                getattr(fleet, action)(*what)
                marks()
            fleet.stop_all()
            revision = fleet.newest()
            for index in [*range(play.last_count)] * 2:  # what one did not know yet is done in the second round
                run(self.shard(index, play.last_count, revision=revision), UNTIL)
                marks()
        verification = oracle.verify(shop(self.output), None, ORIGIN + UNTIL)  # many small files: others read them long
        self.assertTrue(verification.ok, verification)
        self.assertEqual([each.table for each in verification.tables], list(TABLES))

    @settings(max_examples=6, deadline=None, suppress_health_check=_ANY)
    @example(
        Play(
            TABLES,
            has_revisions=False,
            actions=[
                ("start", Slice(0, 2), False),
                ("step", 0, 3),
                ("start", Slice(1, 3), False),
                ("step", 1, 6),
                ("kill", 0, 17),
                ("start", Slice(0, 2), False),
                ("step", 0, 6),
            ],
            last_count=1,
        )
    )
    @given(free_plays())
    def test_whatever_they_did_every_row_is_there_once(self, play):
        self.check(play)

    @settings(max_examples=6, deadline=None, suppress_health_check=_ANY)
    @example(
        Play(
            TABLES[:2],
            has_revisions=True,
            actions=[
                ("roll_out", 2, 2),
                ("roll_out", 1, 2),
                ("roll_out", 2, 1),
                ("roll_out", 3, 1),
                ("change", 1, TABLES),
                ("step", 1, 1),
                ("visit", 0, 4),
                ("step", 0, 6),
            ],
            last_count=3,
        )
    )
    @given(roll_out_plays())
    def test_whatever_came_back_every_row_is_there_once(self, play):
        self.check(play)


if __name__ == "__main__":
    unittest.main()
