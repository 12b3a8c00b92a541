"""The board tells what the last round of upkeep did, and of each table what was done there last."""

from __future__ import annotations

import unittest

from emitter.model import ChoreReport, RoundReport, TableSize
from emitter.testing import ManualClock
from emitter.watch.board import Board
from emitter.watch.upkeepboard import TABLES_MAX, TaskLine, TendedTable, UpkeepBoard, UpkeepPicture

COMPACTED = ChoreReport("compact", "orders", "day=01", 1.0, 50, 1, 9_000, 8_000)


class UpkeepBoardTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = ManualClock()
        self.board = UpkeepBoard(self.clock)

    def table(self, name: str = "orders") -> TendedTable:
        return next(table for table in self.board.picture().tables if table.name == name)

    def test_nothing_is_known_before_a_round_has_ended(self) -> None:
        self.board.maintained(COMPACTED)
        self.assertEqual(self.board.picture(), UpkeepPicture())

    def test_chores_of_a_task_are_one_line(self) -> None:
        for _ in range(2):
            self.board.maintained(COMPACTED)
        self.board.maintained(ChoreReport("vacuum", "orders", "", 1.0, 3, 0, 700, conflicts=2, problem="x"))
        self.board.round_ended(RoundReport("failed", 5.0, 3, {"orders": TableSize(4, 16_000)}))
        self.assertEqual(
            dict(self.table().tasks),
            {"compact": TaskLine(2, 100, 2, 18_000, 16_000), "vacuum": TaskLine(1, 3, 0, 700, 0, 2, 1)},
        )
        self.assertEqual((self.table().size, self.table().freed_bytes), (TableSize(4, 16_000), 700))
        last = self.board.picture().last_round
        assert last is not None
        self.assertEqual((last.outcome, last.chores, last.freed_bytes), ("failed", 3, 700))
        self.assertEqual((last.conflicts, last.failures, last.wall_seconds), (2, 1, self.clock.wall_seconds()))

    def test_what_was_done_last_stays_while_rounds_find_nothing_to_do(self) -> None:
        self.board.maintained(COMPACTED)
        self.board.round_ended(RoundReport("ok", chores=1, sizes={"orders": TableSize(1, 8_000)}))
        done = self.clock.wall_seconds()
        self.clock.advance(300.0)
        self.board.round_ended(RoundReport("ok", sizes={"orders": TableSize(9, 9_000)}))
        self.assertEqual((self.table().done_wall_seconds, self.table().tasks["compact"].chores), (done, 1))
        self.assertEqual(self.table().size, TableSize(9, 9_000))
        self.clock.advance(300.0)
        self.board.maintained(ChoreReport("vacuum", "orders", files_removed=50, bytes_removed=9_000))
        self.board.round_ended(RoundReport("ok", chores=1))
        self.assertEqual((list(self.table().tasks), self.table().freed_bytes), (["compact", "vacuum"], 9_000))
        self.assertEqual(self.table().tasks["compact"].chores, 1)
        last = self.board.picture().last_round
        assert last is not None
        self.assertEqual((last.chores, last.freed_bytes), (1, 9_000))
        self.assertEqual(self.table().size, TableSize(9, 9_000), "a round that cannot tell changes nothing")

    def test_the_last_that_went_well_is_remembered(self) -> None:
        self.board.round_ended(RoundReport("ok"))
        well = self.clock.wall_seconds()
        self.clock.advance(300.0)
        self.board.round_ended(RoundReport("killed", problem="it took too long"))
        found = self.board.picture()
        assert found.last_round is not None
        self.assertEqual((found.last_success_wall_seconds, found.last_round.problem), (well, "it took too long"))

    def test_who_leaves_it_to_another_tells_of_no_tables(self) -> None:
        self.board.round_ended(RoundReport("ok", sizes={"orders": TableSize(9, 9_000)}))
        self.board.round_ended(RoundReport("skipped"))
        self.assertEqual(self.board.picture().tables, ())

    def test_what_the_daemon_does_itself_is_none_of_it(self) -> None:
        self.board.maintained(ChoreReport("finish_partitions", ""))
        self.board.round_ended(RoundReport("ok"))
        self.assertEqual(self.board.picture().tables, ())

    def test_it_keeps_no_more_than_it_may(self) -> None:
        for _ in range(2):
            for number in range(1000):
                self.board.maintained(ChoreReport("vacuum", f"table_{number}"))
            self.board.round_ended(
                RoundReport("ok", sizes={f"other_{number}": TableSize(1, 1) for number in range(1000)})
            )
        self.assertEqual(len(self.board.picture().tables), TABLES_MAX)


class FaultsTest(unittest.TestCase):
    def test_failures_of_chores_and_of_rounds_are_among_the_faults(self) -> None:
        board = Board(ManualClock())
        board.maintained(ChoreReport("vacuum", "orders", problem="no space"))
        board.maintained(ChoreReport("finish_partitions", "", problem="told as a retry"))
        board.round_ended(RoundReport("killed", problem="it took too long"))
        found = board.picture()
        self.assertEqual([(one.kind, one.table, one.text) for one in found.troubles],
                         [("upkeep", "", "it took too long"), ("upkeep", "orders", "vacuum: no space")])  # fmt: skip
        self.assertEqual(found.trouble_counts["upkeep"], 2)


if __name__ == "__main__":
    unittest.main()
