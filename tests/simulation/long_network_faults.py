"""Very many mishaps on the way to S3 and to the catalogue, in every format: every row once, and no secret told."""

from __future__ import annotations

from tests.simulation.test_formats import FormatCase
from tests.support.effort import count, new_seed
from tests.support.ordeal import Ordeal
from tests.support.places import TARGETS

MISHAPS = 16
CREATIONS = 5


class LongNetworkFaultsTest(FormatCase):
    def test_mishap_after_mishap(self):
        seed = new_seed()
        for target in TARGETS:
            if target.storage == "s3":
                ordeal = Ordeal(self, target, seed)
                ordeal.begin()
                for mishap in ordeal.choose(count(MISHAPS)):
                    ordeal.endure(mishap)
                ordeal.end()

    def test_mishaps_while_tables_are_created(self):
        seed = new_seed()
        for target in TARGETS:
            if target.storage == "s3":
                known = Ordeal(self, target, seed)
                known.begin()
                for number, mishap in enumerate(known.choose(count(CREATIONS))):
                    ordeal = Ordeal(self, target, number)
                    ordeal.endure(mishap)
                    ordeal.end()
