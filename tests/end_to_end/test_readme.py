"""What the README and the guide for readers say of reading the tables works, word for word, without the internet."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import unittest
from contextlib import chdir, redirect_stdout
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import duckdb
import yaml

from emitter.clock import parse_time, slot_of
from tests.support.shop import ORIGIN, run, shop

ROOT = Path(__file__).parents[2]
CHAPTER = (ROOT / "README.md").read_text().partition("## Reading it")[2].partition("\n## ")[0]
READERS = (ROOT / "docs" / "READERS.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", CHAPTER, re.DOTALL)
COMMANDS = re.findall(r"^\$ \.venv/bin/(emitter sql (?:[^\"\n#]|\"[^\"]*\")*)", CHAPTER, re.MULTILINE)
CONFIGS = {"parquet": "data/shop", "delta": "data/delta", "iceberg": "data/iceberg", "ducklake": "data/ducklake"}
DAYS = ("2026-11-20", "2026-12-31")  # months differ


class ReadingTest(unittest.TestCase):
    def written(self, begin: str) -> None:
        """Outputs as the configurations of the README make them, in the working folder."""
        start = parse_time(f"{begin}T12:00:00Z")
        for name, output in CONFIGS.items():
            changes = {"output.format": name, "clock.start": start.isoformat()}
            run(shop(Path(output), changes), slot_of(start + timedelta(minutes=10)) - ORIGIN)

    def test_each_way_of_reading_works_at_any_date_and_sees_the_rows(self):
        self.assertEqual(len(BLOCKS), 4)
        for day in DAYS:
            with TemporaryDirectory() as folder, chdir(folder):
                homes = {"PYICEBERG_HOME": folder, "HOME": folder}  # there DuckDB keeps extensions that it has fetched
                self.enterContext(patch.dict(os.environ, homes))
                self.written(day)
                for text in BLOCKS:
                    with self.subTest(text), redirect_stdout(io.StringIO()) as said:
                        exec(compile(text, "README.md", "exec"), {})
                    if ".show()" in text:
                        self.assertRegex(said.getvalue(), r"│ +[1-9]")

    def test_the_commands_answer(self):
        self.assertEqual(len(COMMANDS), 2)
        with TemporaryDirectory() as folder, chdir(folder):
            config = Path("config/emitter.yaml")
            config.parent.mkdir()
            options = {"customers": 50, "products": 20, "orders_per_second": 0.5}
            config.write_text(
                yaml.safe_dump({"clock": {"start": "2026-12-31"}, "output": {"uri": "data/shop"}, "ecommerce": options})
            )
            emitter = [sys.executable, "-m", "emitter"]
            subprocess.run(
                [*emitter, "generate", "-c", config, "--to", "2026-12-31T00:10", "--jobs", "1"],
                check=True,
                capture_output=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for command in COMMANDS:
                with self.subTest(command):
                    done = subprocess.run(
                        [*emitter, *shlex.split(command)[1:]],
                        input="FROM orders LIMIT 1",
                        capture_output=True,
                        text=True,
                        check=False,
                        env={**os.environ, "PYTHONPATH": str(ROOT)},
                    )
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
                    self.assertIn("1 row.", done.stdout)

    def test_what_the_guide_for_readers_says_of_duckdb_holds(self):
        self.assertIn("hive_types = {'year': INT, 'month': INT, 'day': INT}", READERS)
        with TemporaryDirectory() as folder, chdir(folder), duckdb.connect() as connection:
            start = parse_time("2026-01-02T12:00:00Z")
            run(shop(Path("shop"), {"clock.start": start.isoformat()}), slot_of(start) + 600 - ORIGIN)
            count = "SELECT count(*) FROM read_parquet('shop/orders') WHERE month = "
            self.assertGreater(connection.sql(f"{count}1").fetchall()[0][0], 0)
            self.assertEqual(connection.sql(f"{count}'1'").fetchall()[0][0], 0)
            (typed,) = re.findall(r"`(read_parquet\('shop/orders', hive_types = .*?\))`", READERS)
            types = connection.sql(f"SELECT typeof(year), typeof(month), typeof(day) FROM {typed} LIMIT 1").fetchall()
            self.assertEqual(types, [("INTEGER",) * 3])


if __name__ == "__main__":
    unittest.main()
