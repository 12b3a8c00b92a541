"""What /api/status tells: everything, within bounds, as strict JSON, and nothing that is not for all."""

from __future__ import annotations

import json
import re
import unittest
from dataclasses import replace
from typing import Any

from emitter.errors import StorageError
from emitter.model import TASKS, ChoreReport, RoundReport, TableSize, VerificationReport, Window
from emitter.testing import ManualClock
from emitter.watch.board import Board
from emitter.watch.health import Health
from emitter.watch.observer import DaemonStatus, InputsAhead
from emitter.watch.statuspage import page_files, status_document
from tests.unit.watch.scripted_daemon import STATUS, commit, step

SIZE_MAX = 32_000


def contrast(one: str, other: str) -> float:
    """The ratio of two colours such as #16202a, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class StatusDocumentTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = ManualClock()
        self.health, self.board = Health(self.clock), Board(self.clock)

    def begin(self, status: DaemonStatus = STATUS) -> None:
        for observer in (self.health, self.board):
            observer.watch(lambda: status)
            observer.started(status)

    def document(self) -> dict[str, Any]:
        document = status_document(self.board.picture(), self.health, version="1.2.3")
        text = json.dumps(document, allow_nan=False)
        self.assertLess(len(text), SIZE_MAX)
        read: dict[str, Any] = json.loads(text)
        return read

    def test_it_has_all_its_fields_from_the_start(self) -> None:
        before = self.document()
        self.assertEqual((before["ready"], before["reason"], before["run_id"]), (False, "starting", None))
        self.begin()
        self.assertEqual(list(self.document()), list(before))

    def test_it_tells_how_the_daemon_stands(self) -> None:
        self.begin(
            replace(STATUS, simulated_slot=90_000.7, lag_seconds=10_800.0, debt_rows=4567.8, level_in_seconds=95.04)
        )
        self.board.committed(commit("orders", 100))
        self.board.stepped(step(), STATUS)
        found = self.document()
        for field, value in {
            "version": "1.2.3",
            "domain": "ecommerce",
            "format": "parquet",
            "output": "data/shop",
            "slice": "0-of-2",
            "speed": 2.0,
            "batch_seconds": 10,
            "ready": True,
            "reason": "catching up: 3 h of simulated time behind, level in about 1 min 35 s",
            "retrying": "",
            "simulated_time": "2020-01-02T01:00:00Z",
            "reached_time": "2020-01-01T00:16:40Z",
            "lag_seconds": 10_800.0,
            "debt_rows": 4568,
            "level_in_seconds": 95.0,
            "target_rows_per_second": 21.0,
            "curve": {
                "from_time": "2020-01-01T00:00:00Z",
                "points": [[0, 5.0], [43_200, 20.0], [86_400, 5.0]],
            },
        }.items():
            self.assertEqual(found[field], value, field)
        orders = found["tables"][1]
        self.assertEqual((orders["rows"], orders["bytes"], orders["files"]), (12_345, 30_000, 7))
        self.assertEqual((orders["commit_to_time"], orders["commit_seconds"]), ("2020-01-01T00:16:40Z", 0.004))
        self.assertEqual(found["last_step"]["rows"], 105)

    def test_it_tells_the_next_inputs_and_when_they_come_into_force(self) -> None:
        ahead = tuple(InputsAhead(1100 + number, ("a: 1, before 2", "b" * 500)) for number in range(9))
        self.begin(replace(STATUS, ahead=ahead))
        found = self.document()["inputs_ahead"]
        self.assertEqual((len(found), found[0]["from_time"], found[0]["in_seconds"]), (5, "2020-01-01T00:18:20Z", 50.0))
        self.assertTrue(found[0]["changes"].startswith("a: 1, before 2; bbb"))

    def test_it_tells_of_upkeep(self) -> None:
        self.begin()
        self.assertEqual(self.document()["upkeep"], {"last_round": None, "last_success_time": None, "tables": []})
        self.board.maintained(ChoreReport("compact", "orders", "year=2026", 2.0, 50, 1, 9_000, 8_000, conflicts=1))
        self.board.maintained(ChoreReport("vacuum", "orders", "", 2.0, 50, 0, 7_000))
        self.board.maintained(ChoreReport("vacuum", "customers", problem="no space"))
        self.board.round_ended(RoundReport("failed", 4.5, 3, {"orders": TableSize(7, 8_000)}))
        found = self.document()
        self.assertEqual(
            found["upkeep"]["last_round"],
            {
                "time": "2026-01-01T00:00:00Z",
                "outcome": "failed",
                "seconds": 4.5,
                "chores": 3,
                "freed_bytes": 7_000,
                "conflicts": 1,
                "failures": 1,
                "problem": "",
            },
        )
        orders, customers = found["upkeep"]["tables"]
        self.assertEqual(
            (customers["name"], customers["files"], customers["tasks"][0]["failures"]), ("customers", None, 1)
        )
        self.assertEqual((orders["files"], orders["bytes"], orders["freed_bytes"]), (7, 8_000, 7_000))
        self.assertEqual(orders["done_time"], "2026-01-01T00:00:00Z")
        self.assertEqual([task["task"] for task in orders["tasks"]], ["compact", "vacuum"])
        self.assertEqual((found["faults"]["counts"]["upkeep"], found["upkeep"]["last_success_time"]), (1, None))

    def test_it_tells_of_the_last_verification(self) -> None:
        self.begin()
        self.assertIsNone(self.document()["verification"])
        rows = {"orders": {"lost": 3, "altered": 0}, "customers": {"lost": 0, "altered": 0}}
        files = {table: {"broken": 0, "misshapen": 1} for table in rows}
        self.board.verified(VerificationReport("ok", 1.0, Window(0, 100), 50))
        self.board.verified(
            VerificationReport("different", 1.234, Window(0, 100), 50, rows, files, ("orders: lost: x",))
        )
        found = self.document()
        self.assertEqual(
            {key: value for key, value in found["verification"].items() if key != "tables"},
            {
                "time": "2026-01-01T00:00:00Z",
                "outcome": "different",
                "seconds": 1.23,
                "from_time": "2020-01-01T00:00:00Z",
                "to_time": "2020-01-01T00:01:40Z",
                "rows": 50,
                "differences": 5,
                "last_success_time": "2026-01-01T00:00:00Z",
                "problem": "",
            },
        )
        self.assertEqual(
            found["verification"]["tables"][0],
            {"name": "orders", "lost": 3, "altered": 0, "broken_files": 0, "misshapen_files": 1},
        )
        self.assertEqual(found["faults"]["counts"]["verify"], 1)
        self.assertEqual(found["faults"]["recent"][0]["text"], "orders: lost: x")

    def test_at_speed_max_nothing_is_asked_for(self) -> None:
        self.begin(replace(STATUS, speed=None))
        found = self.document()
        self.assertEqual((found["speed"], found["target_rows_per_second"]), ("max", None))

    def test_the_worst_that_can_be_told_has_a_limit(self) -> None:
        tables = tuple(f"table_{number}" for number in range(12))
        points = tuple((second * 1000, 123.456789) for second in range(86))
        curve = replace(STATUS.curve, points=points)
        self.begin(replace(STATUS, tables=tables, output_uri="/x" * 5000, curve=curve))
        for number in range(1000):
            self.board.waiting_to_retry(StorageError("write", f"{number}/{'x' * 5000}", "no space"), 1, 9, 1.0)
            self.health.waiting_to_retry(StorageError("write", "x" * 5000, "no space"), 1, 9, 1.0)
        for table in (f"{name}{'x' * 60}" for name in tables):
            for task in TASKS:
                self.board.maintained(ChoreReport(task, table, "", 1e5, 10**9, 10**9, 10**15, 10**15, 9, "x" * 5000))
        sizes = {f"table_{number}": TableSize(10**9, 10**15) for number in range(1000)}
        self.board.round_ended(RoundReport("failed", 1e5, 10**6, sizes, "x" * 5000))
        self.clock.advance(1e6)
        self.board.waiting_to_retry(StorageError("write", "x" * 5000, "no space"), 1, 9, 1.0)
        self.document()

    def test_it_holds_no_user_no_secret_and_no_query(self) -> None:
        uri = "https://usercanary:passcanary@store.example/shop?sig=querycanary#fragmentcanary"
        self.begin(replace(STATUS, output_uri=uri, lag_seconds=1e6))
        for observer in (self.health, self.board):
            observer.waiting_to_retry(StorageError("write", uri, f"{uri}: no; secret=keycanary"), 1, 9, 1.0)
        self.clock.advance(100.0)
        found = self.document()
        self.assertNotIn("canary", json.dumps(found))
        self.assertEqual(found["output"], "https://***@store.example/shop?***")
        for text in (found["reason"], found["retrying"], found["faults"]["recent"][0]["text"]):
            self.assertIn("store.example/shop", text)


class PageTest(unittest.TestCase):
    def test_it_puts_in_no_markup_and_loads_nothing_from_elsewhere(self) -> None:
        files = {path: content.decode() for path, (content, _) in page_files().items()}
        for path, text in files.items():
            with self.subTest(path):
                for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"):
                    self.assertNotIn(word, text)
        self.assertNotRegex(files["/"], r"<style|style=|\son\w+=|<script>")
        self.assertLess(sum(map(len, files.values())), 40_000)

    def test_its_colours_can_be_told_apart_in_light_and_dark(self) -> None:
        """As WCAG's level AA asks: 4.5 to 1 for text."""
        css = page_files()["/page.css"][0].decode()
        for scheme, block in zip(("light", "dark"), re.findall(r":root \{(.*?)\}", css, re.DOTALL), strict=True):
            colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
            for text in ("ink", "quiet", "accent", "amber", "red"):
                grounds = ["panel", "paper", *([f"{text}-soft"] if f"{text}-soft" in colours else [])]
                grounds += ["amber-soft", "red-soft"] if text == "ink" else []
                for ground in grounds:
                    with self.subTest(scheme, text=text, ground=ground):
                        self.assertGreaterEqual(contrast(colours[text], colours[ground]), 4.5)

    def test_without_javascript_it_says_what_it_is_and_where_to_look(self) -> None:
        page = page_files()["/"][0].decode()
        words = page[page.index("<noscript>") : page.index("</noscript>")]
        self.assertIn('href="/api/status"', words)
        self.assertIn("simulated shop", page)


if __name__ == "__main__":
    unittest.main()
