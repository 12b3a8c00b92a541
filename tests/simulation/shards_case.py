"""What tests of shards share: an output of their own, and what one undisturbed run writes."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from emitter.config import EmitterConfig
from emitter.run.journal import Journal
from emitter.storage.local import LocalStorage
from emitter.truth import oracle
from tests.support.case import new_folder
from tests.support.reader import contents
from tests.support.shop import ORIGIN, TABLES, run, shop, shop_writer

UNTIL = 900


class ShardsCase(unittest.TestCase):
    """An output of its own for each test, and what one undisturbed run writes."""

    undisturbed: ClassVar[Path]
    truth: ClassVar[dict[str, pa.Table]]

    @classmethod
    def setUpClass(cls):
        cls.undisturbed = cls.new_folder()
        run(shop(cls.undisturbed), UNTIL)
        cls.truth = contents(cls.undisturbed)

    @classmethod
    def new_folder(cls) -> Path:
        folder = new_folder()
        cls.addClassCleanup(folder.cleanup)
        return Path(folder.name)

    def setUp(self):
        self.output = self.new_folder()

    def shard(self, index: int, count: int, output: Path | None = None, **changes: Any) -> EmitterConfig:
        return shop(output or self.output, {"shard.index": index, "shard.count": count, **changes})

    def assert_whole(self, *outputs: Path, until: int = UNTIL) -> None:
        """Every row of the undisturbed run is there once, for an independent reader and for ours."""
        found = contents(*(outputs or (self.output,)))
        for table in TABLES:
            self.assertEqual(found[table].num_rows, self.truth[table].num_rows, table)
            self.assertTrue(found[table].equals(self.truth[table]), table)
        for output in outputs or (self.output,):
            verification = oracle.verify(shop(output), None, None if outputs else ORIGIN + until)
            self.assertFalse(verification.is_wrong, verification)
            # Of several outputs each has but a part of the slices, and says so.
            self.assertEqual(verification.ok, len(outputs) <= 1, verification)

    def positions(self, table: str = "orders") -> dict[str, int]:
        progress = shop_writer(shop(self.output)).progress(table)
        return {str(slice): stands.slot - ORIGIN for slice, stands in progress.items()}

    def counts(self) -> list[tuple[int, int]]:
        """The shard counts of the journal, and from where on they hold."""
        journal = Journal.load(LocalStorage(self.output))
        assert journal is not None
        return [(epoch.from_slot - ORIGIN, epoch.inputs.shard_count) for epoch in journal.epochs]
