"""What the README says of reading the tables works, word for word."""

from __future__ import annotations

import os
import re
import unittest
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import duckdb

from emitter.clock import parse_time, slot_of
from tests.support.places import extension_path
from tests.support.shop import ORIGIN, run, shop

ROOT = Path(__file__).parents[2]
CHAPTER = (ROOT / "README.md").read_text().partition("## Reading it")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(sql|python)\n(.*?)```", CHAPTER, re.DOTALL)
CONFIGS = {"parquet": "data/shop", "delta": "data/delta", "iceberg": "data/iceberg", "ducklake": "data/ducklake"}
DUCKDB_CONNECT = duckdb.connect
EXTENSIONS = ("httpfs", "avro", "delta", "iceberg", "sqlite_scanner", "ducklake")


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB as it is elsewhere: there it finds the extensions by itself."""
    connection = DUCKDB_CONNECT(config={"autoinstall_known_extensions": "false"})
    for name in EXTENSIONS:
        connection.execute(f"LOAD '{extension_path(name)}'")
    return connection


class ReadingTest(unittest.TestCase):
    def test_each_way_of_reading_works_and_sees_the_rows(self):
        self.assertEqual([language for language, _ in BLOCKS].count("python"), 4)
        with TemporaryDirectory() as folder, chdir(folder), patch.dict(os.environ, {"PYICEBERG_HOME": folder}):
            for name, output in CONFIGS.items():
                changes = {"output.format": name, "clock.start": "2026-11-20T12:00:00Z"}
                run(shop(Path(output), changes), slot_of(parse_time("2026-11-20T12:10:00Z")) - ORIGIN)
            for language, text in BLOCKS:
                with self.subTest(text):
                    if language == "sql":
                        with connect() as connection:
                            found = connection.sql(text).to_arrow_table()
                        self.assertGreater(found.column(found.num_columns - 1)[0].as_py(), 0)
                    else:
                        shared = connect()
                        with patch.object(duckdb, "connect", connect), patch.object(duckdb, "sql", shared.sql):
                            exec(compile(text, "README.md", "exec"), {})
                        shared.close()


if __name__ == "__main__":
    unittest.main()
