"""Log lines: one a batch, each with an action, JSON unless a person watches, and never a password."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import unittest
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import structlog

from emitter.errors import StorageError
from emitter.model import ChoreReport, RoundReport, Task, VerificationReport, Window
from emitter.testing import ManualClock
from emitter.watch import logs
from emitter.watch.logs import LogLines
from emitter.watch.observer import InputsAhead
from tests.unit.watch.scripted_daemon import STATUS, commit, step


def restore_logging(case: unittest.TestCase) -> None:
    """After the test, let logging be as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    case.addCleanup(lambda: (setattr(root, "handlers", handlers), root.setLevel(level)))
    case.addCleanup(structlog.reset_defaults)
    case.addCleanup(logging.captureWarnings, False)
    case.enterContext(mock.patch.multiple(threading, excepthook=threading.excepthook))
    case.enterContext(mock.patch.multiple(sys, unraisablehook=sys.unraisablehook))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class LogsTest(unittest.TestCase):
    def setUp(self) -> None:
        restore_logging(self)
        self.clock = ManualClock()
        self.out: io.StringIO = io.StringIO()
        logs.configure("debug", "auto", self.clock, self.out)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def test_every_observation_has_an_action_a_level_and_a_utc_time(self) -> None:
        self.clock.advance(1.25)
        watcher = LogLines()
        watcher.started(STATUS)
        watcher.stepped(step(), STATUS)
        watcher.committed(commit(outcome="unknown"))
        watcher.waiting_to_retry(StorageError("write", "x", "full"), 1, 9, 0.5)
        watcher.reloaded(("clock.speed",), ())
        watcher.maintained(ChoreReport("finish_partitions", "", seconds=0.1))
        watcher.stopped("signal")
        logs.log("info", "serve", url="http://127.0.0.1:1")
        found = [(line["action"], line["level"]) for line in self.lines()]
        self.assertEqual(
            found,
            [
                ("start", "info"),
                ("batch", "info"),
                ("commit", "warning"),
                ("retry", "warning"),
                ("reload", "info"),
                ("maintain", "debug"),
                ("stop", "info"),
                ("serve", "info"),
            ],
        )
        self.assertEqual({line["timestamp"] for line in self.lines()}, {"2026-01-01T00:00:01.250Z"})

    def test_inputs_that_are_not_yet_in_force_are_announced_at_every_start(self) -> None:
        inputs = InputsAhead(1100, ("shard.count: 3, before 2",))
        for status in (replace(STATUS, ahead=(inputs,)), replace(STATUS, ahead=(inputs,), speed=None)):
            LogLines(is_watched=True).started(status)
        timed, untimed = self.lines()
        self.assertEqual(
            (timed["action"], timed["in_force_from"], timed["in_seconds"], timed["changes"]),
            ("inputs_ahead", "2020-01-01T00:18:20Z", 50, ["shard.count: 3, before 2"]),
        )
        self.assertNotIn("in_seconds", untimed)

    def test_a_batch_is_one_line_with_window_rows_bytes_seconds_and_lag(self) -> None:
        LogLines().stepped(step(customers=0, orders=100), STATUS)
        (line,) = self.lines()
        self.assertEqual(
            {key: line[key] for key in line if key not in ("timestamp", "level")},
            {
                "action": "batch",
                "first": "2020-01-01T00:16:40Z",
                "end": "2020-01-01T00:16:50Z",
                "rows": {"customers": 0, "orders": 100},
                "bytes": 2500,
                "seconds": 0.012,
                "lag_seconds": 1.5,
            },
        )

    def test_the_steps_of_a_cut_batch_are_one_line(self) -> None:
        watcher = LogLines()
        watcher.stepped(step(1000, 1004, ends_batch=False, orders=40), STATUS)
        watcher.stepped(step(1004, 1010, orders=60), STATUS)
        watcher.stepped(step(1010, 1020, orders=7), STATUS)
        first, second = self.lines()
        self.assertEqual((first["first"], first["end"]), ("2020-01-01T00:16:40Z", "2020-01-01T00:16:50Z"))
        self.assertEqual((first["rows"]["orders"], second["rows"]["orders"]), (100, 7))

    def test_a_good_commit_needs_no_line_of_its_own(self) -> None:
        LogLines().committed(commit())
        self.assertEqual(self.lines(), [])

    def test_a_chore_is_news_where_it_changed_something_and_a_warning_where_it_failed(self) -> None:
        watcher = LogLines()
        watcher.maintained(ChoreReport("compact", "orders", "year=2026", 0.5, files_removed=60, files_written=1))
        watcher.maintained(ChoreReport("vacuum", "orders"))
        watcher.maintained(ChoreReport("vacuum", "orders", files_removed=3, problem="disk full"))
        told = [(line["level"], line["task"], line.get("partition"), line.get("error")) for line in self.lines()]
        self.assertEqual(
            told,
            [
                ("info", "compact", "year=2026", None),
                ("debug", "vacuum", None, None),
                ("warning", "vacuum", None, "disk full"),
            ],
        )
        self.assertEqual((self.lines()[0]["files_removed"], self.lines()[0]["files_written"]), (60, 1))

    def test_what_fails_in_every_round_is_told_once_until_it_changes(self) -> None:
        watcher, fails = LogLines(), ChoreReport("vacuum", "orders", problem="it has deletion vectors")

        def told(*reports: ChoreReport, problem: str = "", tasks: Sequence[Task] = ("vacuum",)) -> list[str]:
            before = len(self.lines())
            for report in reports:
                watcher.maintained(report)
            watcher.round_ended(RoundReport("ok", problem=problem, task_seconds=dict.fromkeys(tasks, 1.0)))
            return [line["level"] for line in self.lines()[before:]]

        self.assertEqual(told(fails, problem="no sizes", tasks=()), ["warning", "warning"])
        self.assertEqual(told(fails, problem="no sizes", tasks=()), ["debug", "debug"])
        self.assertEqual(told(tasks=["compact"]), ["debug"])
        self.assertEqual(told(fails), ["debug", "debug"])
        self.assertEqual(told(replace(fails, problem="disk full")), ["warning", "debug"])
        self.assertEqual(told(fails, problem="no sizes"), ["warning", "warning"])
        self.assertEqual(told(), ["debug"])
        self.assertEqual(told(fails), ["warning", "debug"])

    def test_beside_a_live_view_only_failures_of_upkeep_are_told(self) -> None:
        logs.configure("info", "auto", self.clock, self.out)
        watcher = LogLines(is_watched=True)
        watcher.maintained(ChoreReport("compact", "orders", files_removed=60, files_written=1))
        watcher.maintained(ChoreReport("compact", "orders", problem="disk full"))
        self.assertEqual([line["level"] for line in self.lines()], ["warning"])

    def test_a_round_is_told_of_where_it_ended_before_its_time(self) -> None:
        watcher = LogLines()
        watcher.round_ended(RoundReport("ok", chores=2))
        watcher.round_ended(RoundReport("skipped"))
        watcher.round_ended(RoundReport("killed", problem="it took more than 1024 MiB"))
        told = [(line["level"], line["action"], line["outcome"]) for line in self.lines()]
        self.assertEqual(
            told, [("debug", "upkeep", "ok"), ("debug", "upkeep", "skipped"), ("warning", "upkeep", "killed")]
        )

    def test_a_verification_is_told_of_and_an_error_where_it_found_a_difference(self) -> None:
        watcher, window = LogLines(), Window(0, 100)
        rows, files = {"orders": {"lost": 3, "altered": 0}}, {"orders": {"broken": 1, "misshapen": 0}}
        watcher.verified(VerificationReport("ok", 1.5, window, 50, {"orders": {"lost": 0}}))
        watcher.verified(VerificationReport("different", 1.5, window, 50, rows, files, ("orders: lost: x",)))
        watcher.verified(VerificationReport("killed", problem="it took more than 1024 MiB"))
        watcher.verified(VerificationReport("skipped"))
        lines = self.lines()
        self.assertEqual([(line["action"], line["level"]) for line in lines],
                         [("verify", level) for level in ("info", "error", "warning", "debug")])  # fmt: skip
        self.assertEqual((lines[0]["end"], lines[0]["rows"]), ("2020-01-01T00:01:40Z", 50))
        self.assertNotIn("wrong", lines[0])
        self.assertEqual(lines[1]["wrong"], {"orders.lost": 3, "orders.broken_files": 1})
        self.assertEqual(lines[1]["examples"], ["orders: lost: x"])
        self.assertEqual(lines[2]["error"], "it took more than 1024 MiB")

    def test_what_a_reload_could_not_apply_is_a_warning(self) -> None:
        LogLines().reloaded(("log.level",), ("seed",))
        (line,) = self.lines()
        self.assertEqual((line["level"], line["applied"], line["refused"]), ("warning", ["log.level"], ["seed"]))

    def test_an_end_by_error_is_an_error(self) -> None:
        LogLines().stopped("error: could not write x")
        self.assertEqual(self.lines()[0]["level"], "error")

    def test_with_a_live_view_the_batches_are_left_to_it(self) -> None:
        watcher = LogLines(is_watched=True)
        watcher.started(STATUS)
        watcher.stepped(step(), STATUS)
        self.assertEqual(self.lines(), [])
        watcher.waiting_to_retry(StorageError("write", "x", "full"), 1, 9, 0.5)
        self.assertEqual(len(self.lines()), 1)

    def test_secrets_are_hidden_wherever_they_stand(self) -> None:
        logs.log("info", "serve", a="s3://me:hunter2@host/x", b=["password=hunter2"], c={"d": "token=hunter2"})
        logging.getLogger("lib").warning("could not reach http://me:hunter2@host")
        self.assertNotIn("hunter2", self.out.getvalue())
        self.assertEqual(len(self.lines()), 2)

    def test_lines_of_libraries_come_in_at_warning_and_above(self) -> None:
        logging.getLogger("uvicorn.error").info("chatter")
        logging.getLogger("apscheduler.scheduler").warning("late by %d s", 3)
        (line,) = self.lines()
        self.assertEqual(
            (line["action"], line["logger"], line["message"]), ("library", "apscheduler.scheduler", "late by 3 s")
        )

    def test_an_exception_of_a_library_stays_on_its_line(self) -> None:
        try:
            raise ValueError("password=hunter2")
        except ValueError:
            logging.getLogger("lib").exception("it broke")
        (line,) = self.lines()
        self.assertIn("ValueError: password=***", line["exception"])

    def test_the_level_hides_what_is_below_it_and_can_change(self) -> None:
        logs.configure("warning", "json", self.clock, self.out)
        logs.log("info", "serve")
        logs.configure("info", "json", self.clock, self.out)
        logs.log("info", "serve")
        self.assertEqual(len(self.lines()), 1)

    def test_a_terminal_gets_coloured_lines_and_a_file_plain_ones(self) -> None:
        for stream, has_colour in ((_Terminal(), True), (io.StringIO(), False)):
            logs.configure("info", "console", self.clock, stream)
            LogLines().stepped(step(), STATUS)
            text = stream.getvalue()
            self.assertEqual("\x1b[" in text, has_colour)
            self.assertIn("customers 5, orders 100", text)
            self.assertEqual(text.count("\n"), 1)

    def test_auto_is_console_at_a_terminal_and_json_elsewhere(self) -> None:
        terminal = _Terminal()
        logs.configure("info", "auto", self.clock, terminal)
        logs.log("info", "serve", url="u")
        self.assertIn("serve", terminal.getvalue())
        with self.assertRaises(ValueError):
            json.loads(terminal.getvalue())


if __name__ == "__main__":
    unittest.main()
