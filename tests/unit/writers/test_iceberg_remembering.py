"""What the remembering catalogue writes is what the library would write."""

from __future__ import annotations

import unittest
from pathlib import Path

from pyiceberg.table.metadata import TableMetadataUtil

from tests.contract.beats import ORIGIN, TABLE, window, write
from tests.contract.iceberg_case import IcebergOutput, OnSqlite


class MetadataFileTest(OnSqlite, IcebergOutput, unittest.TestCase):
    def test_each_file_holds_the_text_that_the_library_would_give_it(self):
        writer = self.opened()
        write(writer, window(0, 1), None)
        for first in range(1, 6):
            write(writer, window(first, first + 1), ORIGIN + first)
        paths = sorted(Path(self.root / TABLE.name / "metadata").glob("*.metadata.json"))
        self.assertGreater(len(paths), 5)
        for path in paths:
            text = path.read_text()
            self.assertEqual(text, TableMetadataUtil.parse_raw(text).model_dump_json(exclude_none=True))
        self.assertEqual(len(TableMetadataUtil.parse_raw(text).snapshots), 6)


if __name__ == "__main__":
    unittest.main()
