"""A catalogue that stops or crashes in the middle of a chore of upkeep, and comes back at once or only later: Postgres
under Iceberg and DuckLake, and a REST catalogue. The chore fails or goes on, the next round does it, and every row is
there once.
"""

from __future__ import annotations

import itertools
import unittest
from random import Random

from emitter.model import ChoreReport
from emitter.settings.connections import CatalogConfig
from tests.contract import ducklake_outputs, iceberg_case
from tests.contract.upkeep_contract import AT_ONCE, POLICY, UpkeepCase
from tests.support.effort import new_seed, some
from tests.support.postgres import Postgres
from tests.support.rest_catalog import RestCatalog

FALLS = ("stop", "crash")
RETURNS = ("at once", "after the round")


class OutageCase(UpkeepCase):
    """Subclasses have a `server` of their own, and a new output in it for each try."""

    server: Postgres | RestCatalog

    def test_what_was_cut_off_in_the_middle_is_done_by_the_next_round(self):
        seed = new_seed()
        points = self.opened().upkeep(POLICY).crash_points
        falls = Random(seed)
        for point, returns in some(itertools.product(points, RETURNS), seed):
            fall = falls.choice(FALLS)
            with self.subTest(point=point, fall=fall, returns=returns, seed=seed):
                self.new_output()
                count = self.written(12)
                reports = self.tended_and_cut_off(point, fall, returns)
                if returns == "after the round" and point != points[-1]:  # the last may have been the end of it
                    self.assertTrue([report for report in reports if report.problem])
                self.assert_whole(count)
                count = self.written(3, first=count)
                for _ in range(2):  # what the first has replaced is the second's to remove
                    self.assert_went_well(self.tended(AT_ONCE))
                self.assert_whole(count)
                self.assertEqual(self.planned(AT_ONCE), [])

    def tended_and_cut_off(self, point: str, fall: str, returns: str) -> list[ChoreReport]:
        """A round in which the catalogue falls when a point is first passed."""
        ahead = [point]

        def hook(reached: str) -> None:
            if reached in ahead:
                ahead.remove(reached)
                getattr(self.server, fall)()
                if returns == "at once":
                    self.server.start()

        try:
            return self.tended(AT_ONCE, hook)
        finally:
            self.assertEqual(ahead, [], "it never came to that point")
            if returns == "after the round":
                self.server.start()


class OnPostgres:
    """A catalogue in a server that nobody else has."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Postgres())

    def new_output(self):
        super().new_output()
        self.catalog = CatalogConfig(uri=self.server.url(self.server.new_database()))


class IcebergOnPostgresTest(OnPostgres, OutageCase, iceberg_case.IcebergOutput, unittest.TestCase):
    pass


class IcebergOnRestTest(iceberg_case.OnRest, OutageCase, iceberg_case.IcebergOutput, unittest.TestCase):
    pass


class DuckLakeOnPostgresTest(OnPostgres, ducklake_outputs.OnSqlite, OutageCase, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
