"""What the remembering catalogue writes is what the library would write."""

from __future__ import annotations

import threading
import unittest
from typing import Any
from unittest.mock import patch

from emitter.clock import SystemClock
from emitter.upkeep.rounds import Round
from emitter.writers.iceberg import remembering
from emitter.writers.upkeep import UpkeepPolicy
from tests.contract.beats import ORIGIN, TABLE, window, write
from tests.contract.iceberg_case import IcebergOutput, OnSqlite


class MetadataFileTest(OnSqlite, IcebergOutput, unittest.TestCase):
    def test_each_text_is_the_one_that_the_library_would_make(self):
        """Also where an expiry has taken the parents from snapshots."""
        pairs: list[tuple[str, str]] = []
        made = remembering._Part.model_dump_json

        def compared(part: remembering._Part, **how: Any) -> str:
            text = made(part, **how)
            pairs.append((text, part._metadata.model_dump_json(**how)))
            return text

        with patch.object(remembering._Part, "model_dump_json", compared):
            writer = self.opened()
            write(writer, window(0, 1), None)
            rounds = Round(writer.upkeep(UpkeepPolicy(versions_max=4)), [TABLE.name], SystemClock(), threading.Event())
            for first in range(1, 8):
                write(writer, window(first, first + 1), ORIGIN + first)
                self.assertEqual([report.problem for report in rounds.run(["expire"])], [""] * (first > 3))
        self.assertGreater(len(pairs), 11)
        for text, by_library in pairs:
            self.assertEqual(text, by_library)
        self.assertEqual(len(self.handle().metadata.snapshots), 4)


if __name__ == "__main__":
    unittest.main()
