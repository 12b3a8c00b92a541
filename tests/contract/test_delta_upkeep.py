"""Upkeep of Delta tables: the contract on both storages, and what readers and writers of Delta notice of it."""

from __future__ import annotations

import unittest

from emitter.writers.delta.writer import DeltaWriter
from tests.contract.delta_outputs import OnDisk, OnS3
from tests.contract.upkeep_contract import UpkeepContract


class DeltaUpkeepCase(UpkeepContract):
    writer_class = DeltaWriter


class DeltaUpkeepOnDiskTest(OnDisk, DeltaUpkeepCase, unittest.TestCase):
    pass


class DeltaUpkeepOnS3Test(OnS3, DeltaUpkeepCase, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
