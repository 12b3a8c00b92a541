"""The upkeep of Iceberg tables, in every catalogue."""

from __future__ import annotations

import unittest

from tests.contract.iceberg_case import IcebergOutput, OnPostgresAndS3, OnRest, OnSqlite
from tests.contract.upkeep_contract import UpkeepContract


class IcebergUpkeepContract(IcebergOutput, UpkeepContract):
    assert_whole = UpkeepContract.assert_whole


class IcebergUpkeepContractTest(OnSqlite, IcebergUpkeepContract, unittest.TestCase):
    pass


class IcebergUpkeepOnPostgresAndS3ContractTest(OnPostgresAndS3, IcebergUpkeepContract, unittest.TestCase):
    pass


class IcebergUpkeepOnRestContractTest(OnRest, IcebergUpkeepContract, unittest.TestCase):
    pass
