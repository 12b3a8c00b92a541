"""The contract of upkeep where storage or catalogue is a server: it takes longer there, and differs in little."""

from __future__ import annotations

import unittest

from tests.contract import ducklake_outputs, iceberg_case
from tests.contract.beats import ORIGIN, window
from tests.contract.delta_outputs import OnS3
from tests.contract.ducklake_outputs import commit, outcomes
from tests.contract.test_delta_upkeep import DeltaUpkeepCase
from tests.contract.test_ducklake_faults import at
from tests.contract.test_ducklake_upkeep import DuckLakeUpkeepCase
from tests.contract.test_iceberg_upkeep import IcebergUpkeepContract


class DeltaUpkeepOnS3Test(OnS3, DeltaUpkeepCase, unittest.TestCase):
    """With conditional writes of the log."""


class IcebergUpkeepOnPostgresAndS3Test(iceberg_case.OnPostgresAndS3, IcebergUpkeepContract, unittest.TestCase):
    pass


class IcebergUpkeepOnRestTest(iceberg_case.OnRest, IcebergUpkeepContract, unittest.TestCase):
    pass


class DuckLakeUpkeepOnPostgresAndS3Test(ducklake_outputs.OnPostgresAndS3, DuckLakeUpkeepCase, unittest.TestCase):
    def test_an_append_and_a_compaction_at_once_both_land(self):
        self.written(12)
        writer = self.opened(at("ducklake.registered", lambda: self.assert_went_well(self.tended())))
        self.assertEqual(outcomes(commit(writer, window(48, 52), ORIGIN + 48)), ["ok"])
        self.assert_whole(13)


if __name__ == "__main__":
    unittest.main()
