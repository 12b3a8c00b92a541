"""The live view fits the terminal and shows what counts."""

from __future__ import annotations

import io
import re
import threading
import unittest
from dataclasses import replace

from rich.console import Console, ConsoleDimensions

from emitter.cli.liveview import LiveView
from emitter.errors import StorageError
from emitter.model import ChoreReport, RoundReport, TableProgress
from emitter.testing import ManualClock
from emitter.watch.board import Board
from tests.unit.watch.scripted_daemon import STATUS, commit, step

HUGE = TableProgress(2**31 - 1, rows=10**11, files=10**6, bytes=10**14)
MANY = {f"table_{number}": 10_000_000.0 for number in range(8)}


def picture(view: LiveView, width: int = 80, height: int = 24) -> list[str]:
    """The lines of one frame, as a terminal of this size shows them."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    view._console, view._size = console, console.size
    with console.capture() as capture:
        console.print(view.render())
    return [line.rstrip() for line in capture.get().splitlines()]


class LiveViewTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = ManualClock()
        self.status = STATUS
        self.board = Board(self.clock)
        self.view = LiveView(self.board, Console(file=io.StringIO()), url="http://127.0.0.1:9108")
        self.board.watch(lambda: self.status)
        self.board.started(STATUS)

    def row(self, table: str) -> list[str]:
        line = next(line for line in picture(self.view) if line.startswith(table))
        return re.split(r"\s{2,}", line)

    def test_it_shows_where_time_stands(self) -> None:
        self.status = replace(STATUS, simulated_slot=86_400.5, lag_seconds=75.0, speed=60.0)
        text = "\n".join(picture(self.view))
        for part in ("2020-01-02T00:00:00Z", "speed 60x", "lag 1 min 15 s", "data/shop", "slice 0-of-2", ":9108"):
            self.assertIn(part, text)

    def test_it_shows_what_flows_by_table(self) -> None:
        self.board.committed(commit("orders", 100))
        self.clock.advance(5.0)
        self.board.committed(commit("orders", 100))
        self.clock.advance(5.0)
        # 200 rows in 10 s, a target of 10 a simulated second at speed 2
        self.assertEqual(self.row("orders"), ["orders", "20.00", "20.00", "12,345", "30.0 kB", "7", "5 s ago"])

    def test_a_rate_forgets_what_was_long_ago(self) -> None:
        self.board.committed(commit("orders", 100))
        self.clock.advance(16.0)  # three batches of 10 s at speed 2 are 15 s
        self.assertEqual(self.row("orders")[1], "0.00")

    def test_rows_of_a_failed_commit_are_not_shown(self) -> None:
        self.board.committed(commit("orders", 100, "unknown"))
        self.assertEqual(self.row("orders")[1], "0.00")

    def test_at_speed_max_there_is_no_target(self) -> None:
        self.status = replace(STATUS, speed=None)
        self.assertEqual(self.row("orders")[2], "max")

    def test_a_retry_is_shown_until_a_step_finishes(self) -> None:
        self.board.waiting_to_retry(StorageError("write", "x", "no space"), 2, 9, 1.5)
        self.assertIn("Attempt 2 of 9 failed, the next follows in 1.5 s: could not write x: no space",
                      "\n".join(picture(self.view)))  # fmt: skip
        self.board.stepped(step(), STATUS)
        self.assertNotIn("Attempt", "\n".join(picture(self.view)))

    def test_the_last_round_of_upkeep_has_a_line(self) -> None:
        self.assertNotIn("Upkeep", "\n".join(picture(self.view)))
        height = len(picture(self.view))
        self.board.maintained(ChoreReport("vacuum", "orders", files_removed=9, bytes_removed=30_000))
        for report, words in (
            (RoundReport("ok", chores=1), "Upkeep 5 s ago: 1 chore, 30.0 kB freed"),
            (RoundReport("ok"), "Upkeep 5 s ago: nothing to do"),
            (RoundReport("killed", problem="too long"), "Upkeep 5 s ago: killed"),
            (RoundReport("skipped"), "Upkeep 5 s ago: left to another process"),
        ):
            self.board.round_ended(report)
            self.clock.advance(5.0)
            shown = picture(self.view)
            self.assertEqual((words in shown, len(shown)), (True, height))

    def test_the_newest_step_is_on_top(self) -> None:
        self.board.stepped(step(1000, 1010), STATUS)
        self.board.stepped(step(1010, 1030), STATUS)
        lines = [line for line in picture(self.view) if line.startswith("2020-")]
        self.assertEqual(
            [line[:28] for line in lines], ["2020-01-01T00:16:50Z  +20 s ", "2020-01-01T00:16:40Z  +10 s "]
        )

    def test_nothing_wraps_and_all_fits_with_room_for_log_lines(self) -> None:
        self.status = replace(
            STATUS,
            tables=tuple(MANY),
            written=dict.fromkeys(MANY, HUGE),
            rows_per_second=MANY,
            output_uri="/data/" + "long/" * 40,
            lag_seconds=1e7,
        )
        self.board.started(self.status)
        for number in range(40):
            for table in MANY:
                self.board.committed(commit(table, 123_456_789))
            self.board.stepped(step(number * 10, number * 10 + 10, orders=1_000_000_000), self.status)
        self.board.waiting_to_retry(StorageError("write", "/data/" + "x" * 500, "no space"), 2, 9, 1.5)
        self.assertIn("no space", picture(self.view)[-1])
        for width, height in ((60, 24), (80, 24), (120, 40)):
            with self.subTest(width=width):
                lines = picture(self.view, width, height)
                self.assertLessEqual(max(map(len, lines)), width)
                self.assertLessEqual(len(lines), height - 1)
                self.assertEqual(sum(line.startswith("tab") for line in lines), 1 + len(MANY))

    def test_in_a_narrow_terminal_no_column_is_cut(self) -> None:
        self.board.committed(commit("orders", 100))
        self.clock.advance(5.0)
        for width in (64, 70, 80):
            lines = picture(self.view, width)
            self.assertTrue(any(line.rstrip().endswith("last commit") for line in lines), lines)
            self.assertTrue(any(line.rstrip().endswith("5 s ago") for line in lines), lines)
            self.assertFalse([line for line in lines if "orders " in line and "…" in line], lines)

    def test_columns_stand_still_while_numbers_grow(self) -> None:
        heads = []
        for rows in (1, 1000, 1_000_000):
            self.status = replace(STATUS, written={"orders": TableProgress(1000, rows, files=7, bytes=rows)})
            heads.append(next(line for line in picture(self.view) if line.startswith("table")))
        self.assertEqual(len(set(heads)), 1)

    def test_before_the_daemon_runs_it_says_so(self) -> None:
        view = LiveView(Board(self.clock), Console(file=io.StringIO()))
        self.assertTrue(picture(view)[0].startswith("Starting"))

    def test_the_last_picture_says_how_it_ended(self) -> None:
        for reason, words in (("signal", "Stopped as asked."), ("error: x", "Stopped by an error.")):
            self.board.stopped(reason)
            self.assertEqual(picture(self.view)[-1], words)

    def test_after_a_change_of_size_it_begins_on_an_empty_screen(self) -> None:
        screen = io.StringIO()
        console = Console(file=screen, width=110, height=30, force_terminal=True, color_system=None)
        view, emptied = LiveView(self.board, console), "\x1b[H\x1b[2J"
        view.render()
        self.assertNotIn(emptied, screen.getvalue())
        for size, count in (((70, 30), 1), ((70, 30), 1), ((70, 24), 2)):
            console.size = ConsoleDimensions(*size)
            view.render()
            self.assertEqual(screen.getvalue().count(emptied), count)

    def test_it_draws_on_the_terminal_and_leaves_no_thread(self) -> None:
        out = io.StringIO()
        console = Console(file=out, width=80, height=24, force_terminal=True)
        view = LiveView(self.board, console)
        before = set(threading.enumerate())
        with view:
            self.board.stopped("batches")
        self.assertIn("Done: all batches are written.", out.getvalue())
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
            self.assertFalse(thread.is_alive())


if __name__ == "__main__":
    unittest.main()
