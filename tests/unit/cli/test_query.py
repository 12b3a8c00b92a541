"""`emitter query`: where its SQL comes from, what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from typer.testing import Result

from tests.unit.cli.cli_case import END, PROJECT, CliCase, config_file, invoke

COUNT = "SELECT count(*) AS n, sum(amount) AS s FROM orders"
_WAIT_SECONDS_MAX = 60


class QueryVerbTest(CliCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.config = config_file(str(self.folder))

    def query(self, *arguments: str) -> Result:
        return invoke("query", "-c", self.config, *arguments, width=200)

    def answer(self, *arguments: str) -> list[dict[str, object]]:
        result = self.query("--to", END, "--format", "json", *arguments)
        self.assert_exit(0, result)
        found: list[dict[str, object]] = json.loads(result.stdout)
        return found

    def test_the_answer_is_that_of_the_tables_once_they_are_written(self) -> None:
        before = self.answer(COUNT)
        self.assertGreater(before[0]["n"], 1000)  # type: ignore[operator,misc]
        self.assertEqual([path.name for path in self.folder.iterdir()], ["emitter.yaml"])
        self.assert_exit(0, invoke("generate", "-c", self.config, "--to", END, "--jobs", "1"))
        self.assertEqual(json.loads(invoke("sql", "-c", self.config, "--format", "json", COUNT).stdout), before)
        result = self.query("--format", "json", COUNT)
        self.assertEqual((json.loads(result.stdout), result.stderr), (before, f"Up to {END}, where all tables are.\n"))
        beyond = self.query("--to", "2026-01-01T01:00:00Z", COUNT)
        self.assertIn(f"Sealed until {END}", beyond.stderr)

    def test_the_period_is_as_it_is_asked_for(self) -> None:
        (row,) = self.answer(
            "--from", "2026-01-01T00:05:00Z", "SELECT min(event_time) AS a, max(event_time) AS b FROM orders"
        )
        self.assertRegex(str(row["a"]), "^2026-01-01T00:05:0")
        self.assertRegex(str(row["b"]), "^2026-01-01T00:09:5")

    def test_each_format_as_a_file_is_the_same_rows(self) -> None:
        text = "SELECT order_id, amount, channel FROM orders ORDER BY order_id LIMIT 50"
        printed = self.answer(text)
        files = {name: self.folder / f"a.{name}" for name in ("json", "ndjson", "csv", "parquet", "arrow")}
        for path in files.values():
            result = self.query("--to", END, "-o", str(path), text)
            self.assert_exit(0, result)
            self.assertEqual(result.stdout, "")
        self.assertEqual(json.loads(files["json"].read_text("utf-8")), printed)
        self.assertEqual([json.loads(line) for line in files["ndjson"].read_text("utf-8").splitlines()], printed)
        ids = [row["order_id"] for row in printed]
        self.assertEqual(pa.csv.read_csv(files["csv"])["order_id"].to_pylist(), ids)
        for table in (pq.read_table(files["parquet"]), pa.ipc.open_file(str(files["arrow"])).read_all()):
            self.assertEqual(table["order_id"].to_pylist(), ids)
            self.assertEqual(table.schema.field("amount").type, pa.decimal128(12, 2))
            self.assertEqual(table["amount"][0].as_py(), Decimal(str(printed[0]["amount"])))
        self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith(".")], [])

    def test_the_query_may_be_in_a_file_or_come_along(self) -> None:
        path = self.folder / "q.sql"
        path.write_text(f"-- how many\n{COUNT};\n", "utf-8")
        self.assertEqual(self.answer("--file", str(path)), self.answer(COUNT))
        self.assertEqual(
            set(self.answer("--reference", "order_values")[0]), {"channel", "amount_from", "orders", "revenue"}
        )
        listed = invoke("query", "--list")
        self.assert_exit(0, listed)
        self.assertEqual(len(listed.stdout.splitlines()), 8)
        self.assertIn("revenue_by_hour", listed.stdout)

    def test_times_in_a_list_are_compared_as_any(self) -> None:
        (row,) = self.answer("SELECT min(event_time) AS a, max(event_time) AS b FROM orders")
        times = f"'{row['a']}', '{row['b']}'"
        (found,) = self.answer(f"SELECT count(*) AS n FROM orders WHERE event_time IN ({times})")
        self.assertGreaterEqual(found["n"], 2)  # type: ignore[operator]
        self.assertEqual(
            self.answer(f"SELECT count(*) AS n FROM orders WHERE event_time NOT IN ({times})")[0]["n"],
            self.answer(f"SELECT count(*) - {found['n']} AS n FROM orders")[0]["n"],
        )

    def test_what_has_no_form_in_a_format_is_told_of(self) -> None:
        for text, options in (
            ("SELECT 'infinity'::timestamptz AS t", ("--format", "csv")),
            ("SELECT 'infinity'::date AS t", ("--format", "json")),
            ("SELECT max(event_time) + INTERVAL 9000 YEARS AS t FROM orders", ()),
            ("SELECT max(event_time) - min(event_time) AS t FROM orders", ("-o", str(self.folder / "x.parquet"))),
        ):
            with self.subTest(text):
                result = self.query("--to", END, *options, text)
                self.assert_exit(2, result)
                self.assertIn("VARCHAR", result.stderr)
                self.assertEqual([path.name for path in self.folder.iterdir()], ["emitter.yaml"])

    def test_a_result_takes_the_place_of_a_file_and_of_nothing_else(self) -> None:
        target, link, pipe = (self.folder / name for name in ("there.csv", "link.csv", "pipe"))
        target.write_text("old")
        target.chmod(0o600)
        link.symlink_to(target)
        os.mkfifo(pipe)
        self.assert_exit(0, self.query("--to", END, "-o", str(link), "SELECT 1 AS one"))
        self.assertTrue(link.is_symlink())
        self.assertEqual((target.read_text("utf-8"), target.stat().st_mode & 0o777), ("one\n1\n", 0o600))
        result = self.query("--to", END, "-o", str(pipe), "SELECT 1 AS one")
        self.assert_exit(2, result)
        self.assertIn("it is no file", result.stderr)
        self.assertTrue(pipe.is_fifo())

    def test_explain_tells_what_would_be_made(self) -> None:
        (reading,) = self.answer("--explain", "SELECT sum(amount) FROM orders WHERE event_time < '2026-01-01 00:04'")
        self.assertEqual((reading["table"], reading["columns"]), ("orders", ["event_time", "amount"]))
        self.assertEqual((reading["from"], reading["to"]), ("2026-01-01T00:00:00Z", END))  # an hour is made whole
        self.assertGreater(reading["rows"], 1000)  # type: ignore[operator,misc]
        self.assertIn("orders", self.query("--to", END, "--explain", "FROM orders").stdout)

    def test_what_cannot_be_asked_ends_with_2_and_writes_nothing(self) -> None:
        path = self.folder / "never.parquet"
        for arguments, said in (
            ((COUNT,), "--to"),
            (("--to", END, "SELEC 1"), "syntax error"),
            (("--to", END, "FROM ordrs"), "did you mean orders"),
            (("--to", END, "SELECT now()"), "clock of this machine"),
            (("--to", END, "DROP VIEW orders"), "only reads"),
            (("--to", END, "FROM 'emitter.yaml'"), "Try:"),
            (("--to", "soon", COUNT), "--to 'soon'"),
            (("--to", "2025-01-01", COUNT), "before it begins"),
            (("--to", END, "--format", "cvs", COUNT), "did you mean csv"),
            (("--to", END, "--format", "parquet", COUNT), "-o FILE"),
            (("--to", END, "-o", str(self.folder / "no" / "a.csv"), COUNT), "cannot be written"),
            (("--to", END, "-o", str(path), "SELECT channel::INT FROM orders"), "Could not convert"),
            (("--to", END, "--memory", "much", COUNT), "--memory"),
            (("--to", END, "--file", str(self.folder / "no.sql")), "cannot read"),
            (("--to", END, "--reference", "revenue_by_day"), "did you mean revenue_by_hour"),
            (("--to", END, "--reference", "cohorts", COUNT), "several queries"),
        ):
            with self.subTest(arguments):
                result = self.query(*arguments)
                self.assert_exit(2, result)
                self.assertIn(said, result.stderr)
                self.assertIn("Try:", result.stderr)
                self.assertNotIn("Traceback", result.output)
        self.assert_exit(2, invoke("query", COUNT))
        self.assertEqual([each.name for each in self.folder.iterdir()], ["emitter.yaml"])

    def test_ctrl_c_ends_a_long_query_and_leaves_no_file(self) -> None:
        command = [sys.executable, "-m", "emitter", "query", "-c", self.config, "--to", "2027-01-01", "--format", "csv"]
        process = subprocess.Popen(
            [*command, "SELECT order_id FROM orders"],
            text=True,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        timer = threading.Timer(_WAIT_SECONDS_MAX, process.kill)
        timer.start()
        self.addCleanup(timer.cancel)
        self.assertEqual(process.stdout.readline(), "order_id\n")  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        self.assertEqual((process.returncode, err), (130, ""))
