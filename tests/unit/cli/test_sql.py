"""`emitter sql`: what it prints, where it takes its SQL from, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from contextlib import redirect_stdout
from datetime import UTC, datetime
from decimal import Decimal
from unittest.mock import patch

import pyarrow as pa
from typer.testing import Result

from emitter.cli.results import print_result
from tests.unit.cli.cli_case import PROJECT, CliCase, config_file, invoke

_WAIT_SECONDS_MAX = 60


class ResultsTest(unittest.TestCase):
    """What is printed of a result, at 80 columns."""

    MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)

    def printed(self, table: pa.Table, form: str = "table", rows_max: int = 40) -> str:
        text = io.StringIO()
        with redirect_stdout(text), patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"}):
            print_result(table.schema, table.to_batches(), form, rows_max)
        return text.getvalue()

    def test_times_are_utc_and_money_keeps_its_cents(self) -> None:
        moments = pa.array([self.MOMENT], pa.timestamp("us", "America/New_York"))
        table = pa.table({"at": moments.cast(pa.timestamp("us", "UTC")), "amount": pa.array([Decimal("5.10")])})
        self.assertEqual(
            self.printed(table).splitlines(),
            ["at                           amount", "2026-01-02T03:04:05.678000Z    5.10", "1 row."],
        )
        self.assertEqual(self.printed(table, "csv"), "at,amount\n2026-01-02T03:04:05.678000Z,5.10\n")
        self.assertEqual(
            json.loads(self.printed(table, "json")), [{"at": "2026-01-02T03:04:05.678000Z", "amount": 5.1}]
        )

    def test_texts_give_way_and_numbers_are_never_cut(self) -> None:
        table = pa.table({"order_id": [904882504597504], "name": ["x" * 200], "other": ["y" * 10]})
        lines = self.printed(table).splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertIn("904882504597504", lines[1])
        self.assertIn("…", lines[1])
        self.assertIn("yyyyyyyyyy", lines[1])

    def test_what_is_too_wide_is_printed_row_by_row(self) -> None:
        table = pa.table({f"column_{number}": [904882504597504, None] for number in range(8)})
        lines = self.printed(table).splitlines()
        self.assertEqual(lines[0], "row 1")
        self.assertEqual(lines[1], "  column_0  904882504597504")
        self.assertIn("  column_7  NULL", lines)
        self.assertEqual(lines[-1], "2 rows.")

    def test_no_value_ends_a_line_or_reaches_the_terminal_as_a_command(self) -> None:
        lines = self.printed(pa.table({"a\nb": ["c\x1b[31m\nd"]})).splitlines()
        self.assertEqual(lines, [r"a\nb", r"c\x1b[31m\nd", "1 row."])

    def test_a_table_shows_the_first_rows_and_says_that_there_are_more(self) -> None:
        lines = self.printed(pa.table({"a": list(range(50))}), rows_max=3).splitlines()
        self.assertEqual(lines[:4], ["a", "0", "1", "2"])
        self.assertIn("--rows", lines[4])
        self.assertEqual(len(self.printed(pa.table({"a": list(range(50))}), "csv", rows_max=3).splitlines()), 51)

    def test_no_rows(self) -> None:
        empty = pa.table({"a": pa.array([], pa.int64())})
        self.assertEqual(self.printed(empty), "a\n0 rows.\n")
        self.assertEqual(self.printed(empty, "csv"), "a\n")
        self.assertEqual(self.printed(empty, "json"), "[]\n")

    def test_every_kind_of_value_is_valid_json_and_one_cell_of_csv(self) -> None:
        days = pa.MonthDayNano([1, 2, 3_500_000_000])
        table = pa.table(
            {
                "null": pa.array([None]),
                "inf": [float("inf")],
                "exact": pa.array([Decimal("0.12345678901234567890")]),
                "huge": pa.array([Decimal(10) ** 30], pa.decimal128(38, 0)),
                "list": [[Decimal("1.50"), None]],
                "struct": [{"a": self.MOMENT}],
                "interval": pa.array([days], pa.month_day_nano_interval()),
                "blob": [b"\x01"],
                "nanoseconds": pa.array([1], pa.timestamp("ns")),
            }
        )
        table = pa.Table.from_arrays([*table.columns, table.column("blob")], names=[*table.column_names, "blob"])
        (row,) = json.loads(self.printed(table, "json"), parse_constant=self.fail)
        self.assertEqual(row["huge"], 10**30)
        self.assertEqual(row["exact"], "0.12345678901234567890")
        self.assertEqual((row["list"], row["inf"], row["null"]), ([1.5, None], "inf", None))
        self.assertEqual((row["interval"], row["blob"], row["blob_1"]), ("1 month 2 days 00:00:03.5", "01", "01"))
        names, cells = csv.reader(io.StringIO(self.printed(table, "csv")))
        self.assertEqual(len(names), len(cells))


class SqlCase(CliCase):
    folder: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.config = config_file(cls.folder.name)
        written = invoke("generate", "-c", cls.config, "--to", "2026-01-01T00:10:00Z", "--jobs", "1")
        assert written.exit_code == 0, written.output

    @classmethod
    def tearDownClass(cls) -> None:
        cls.folder.cleanup()

    def process(self, *arguments: str, **more: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "emitter", "sql", "-c", self.config, *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        process = subprocess.Popen(command, text=True, cwd=PROJECT, **pipes)  # type: ignore[call-overload]
        timer = threading.Timer(_WAIT_SECONDS_MAX, process.kill)
        timer.start()
        self.addCleanup(timer.cancel)
        return process


class SqlVerbTest(SqlCase):
    def sql(self, *arguments: str) -> Result:
        return invoke("sql", "-c", self.config, *arguments)

    def test_a_table_is_a_view_of_its_name(self) -> None:
        result = self.sql("--format", "json", "SELECT count(*) AS n, min(event_time) AS first FROM orders")
        self.assert_exit(0, result)
        (row,) = json.loads(result.stdout)
        self.assertGreater(row["n"], 0)
        self.assertRegex(row["first"], r"^2026-01-01T00:00:0.*Z$")

    def test_several_statements_follow_one_another(self) -> None:
        result = self.sql("SELECT 1 AS a; SELECT 'x;y' AS b;")
        self.assert_exit(0, result)
        self.assertEqual(result.stdout.split(), ["a", "1", "1", "row.", "b", "x;y", "1", "row."])

    def test_what_cannot_be_asked_ends_with_2_and_no_traceback(self) -> None:
        for arguments in (
            ("SELEC 1",),
            ("FROM nowhere",),
            ("DROP VIEW orders",),
            ("",),
            (" ; ",),
            ("--format", "xml", "SELECT 1"),
            ("--memory", "much", "SELECT 1"),
            ("--set", "output.uri=/nowhere/at/all", "SELECT 1"),
            ("--set", "seed=1", "SELECT 1"),
        ):
            with self.subTest(arguments):
                result = self.sql(*arguments)
                self.assert_exit(2, result)
                self.assertIn("Try:", result.stderr)
                self.assertNotIn("Traceback", result.output)

    def test_sql_comes_from_standard_input(self) -> None:
        out, err = self.process("--format", "csv").communicate("SELECT 1 AS a;\n-- so\nSELECT 2 AS b")
        self.assertEqual((out, err), ("a\n1\nb\n2\n", ""))
        process = self.process()
        _, err = process.communicate("")
        self.assertEqual(process.returncode, 2)
        self.assertIn("there is no SQL", err)

    def test_a_reader_that_goes_away_has_seen_enough(self) -> None:
        process = self.process("--format", "csv", "FROM range(10_000_000_000)")
        self.assertEqual(process.stdout.readline(), "range\n")  # type: ignore[union-attr]
        process.stdout.close()  # type: ignore[union-attr]
        self.assertEqual(process.wait(_WAIT_SECONDS_MAX), 0)
        process.communicate()

    def test_ctrl_c_ends_a_long_query(self) -> None:
        process = self.process("--format", "csv", "FROM range(10_000_000_000)")
        self.assertEqual(process.stdout.readline(), "range\n")  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        self.assertEqual((process.returncode, err), (130, ""))


class PromptTest(SqlCase):
    """At a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.terminal, inner = pty.openpty()
        self.addCleanup(os.close, self.terminal)
        self.prompting = self.process(stdin=inner, stdout=inner, stderr=inner)
        os.close(inner)
        self.said, self.seen = "", 0

    def until(self, text: str) -> None:
        """Read until the terminal shows a text after what was waited for before."""
        deadline = time.monotonic() + _WAIT_SECONDS_MAX
        while text not in self.said[self.seen :]:
            try:
                read = os.read(self.terminal, 65_536)
            except OSError:
                read = b""
            if not read or time.monotonic() > deadline:
                self.fail(f"it ended without {text!r}: {self.said}")
            self.said += read.decode().replace("\r", "")
        self.seen = self.said.index(text, self.seen) + len(text)

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def test_statements_are_answered_until_ctrl_d(self) -> None:
        self.until("emitter> ")
        self.assertIn("customers, products, orders", self.said)
        self.type("SELECT 40 +\n")
        self.until("...> ")
        self.type("2 AS answer;\n")
        self.until("42\n")
        self.until("emitter> ")
        self.type("SELEC;\n")
        self.until("Try:")
        self.assertNotIn("Traceback", self.said)
        self.until("emitter> ")
        self.type("SELECT sum(a.range * b.range) FROM range(1000000) a, range(10000000) b;\n")
        self.until("\n")
        self.prompting.send_signal(signal.SIGINT)  # as Ctrl-C does where the terminal controls the process
        self.until("emitter> ")
        self.type("SELECT 'goes on' AS it;\n")
        self.until("goes on\n")
        self.until("emitter> ")
        self.type("\x04")
        self.assertEqual(self.prompting.wait(_WAIT_SECONDS_MAX), 0)


if __name__ == "__main__":
    unittest.main()
