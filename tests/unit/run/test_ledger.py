"""How far each table of a slice is, and what comes next."""

from __future__ import annotations

import unittest
from dataclasses import replace

import pyarrow as pa

from emitter.clock import SLOT_END
from emitter.errors import OvertakenError
from emitter.model import EncodedFile, Epoch, Inputs, Slice, StagedFile, TableProgress, Window
from emitter.partitioning import PartitionSpec
from emitter.run.ledger import Ledger
from emitter.run.pipeline import StagedBatch
from emitter.run.plan import Assignment
from emitter.testing import HeartbeatGenerator, HeartbeatOptions, MemoryStorage, MemoryWriter
from emitter.writers.base import WriterOptions, waves

HOUR = 3600
TABLE = HeartbeatGenerator(seed=1, origin_slot=0, options=HeartbeatOptions()).table("heartbeats")


def epoch(from_slot: int, *tables: str, rate: float = 1.0) -> Epoch:
    return Epoch(from_slot, Inputs({"rate": rate}, 1, tables or ("a", "b")))


def assigned(*stretches: tuple[int, int]) -> Assignment:
    return Assignment(Slice(), tuple(Window(*stretch) for stretch in stretches), is_own=True)


class LedgerTest(unittest.TestCase):
    def setUp(self):
        self.storage = MemoryStorage()

    def writer(self) -> MemoryWriter:
        writer = MemoryWriter(self.storage, WriterOptions(partition=PartitionSpec.of("hour")))
        for name in ("a", "b", "c"):
            writer.open("run", replace(TABLE, name=name))
        return writer

    def ledger(self, *epochs: Epoch, first: int = 0, end: int = SLOT_END, writer: MemoryWriter | None = None) -> Ledger:
        self.used = writer or self.writer()
        ledger = Ledger(self.used)
        ledger.follow(assigned((first, end)), epochs or (epoch(0),))
        list(ledger.recover())
        return ledger

    def staged(self, table: str, window: Window) -> StagedFile:
        """A file of 7 rows and 10 bytes."""
        encoded = EncodedFile(table, "year=2020/month=01", 0, 7, pa.py_buffer(b"1234567890"))
        return self.used.stage(Slice(), window, encoded)

    def do(self, ledger: Ledger, end: int, *with_rows: str) -> list[str]:
        """Do the next work up to `end`; the tables that were committed."""
        window, tables = ledger.next_work()
        self.assertGreaterEqual(window.end, end)
        batch = StagedBatch(Window(window.first, end))
        for table in with_rows:
            batch.files[table] = [self.staged(table, batch.window)]
        commits = ledger.commits(batch, tables)
        self.assertEqual([commit.table for commit in commits], [report.table for report in ledger.commit(commits)])
        ledger.done(batch.window, tables)
        return [commit.table for commit in commits]

    def test_it_begins_where_its_assignment_does(self):
        ledger = self.ledger(first=100, end=200)
        self.assertEqual((ledger.reached_slot, ledger.furthest_slot, ledger.is_done), (100, 100, False))
        self.assertEqual(ledger.next_work(), (Window(100, 200), ("a", "b")))

    def test_every_table_with_rows_commits_and_the_others_lag(self):
        ledger = self.ledger()
        self.assertEqual(self.do(ledger, 10, "b"), ["b"])
        self.assertEqual(self.do(ledger, 20, "b"), ["b"])
        self.assertEqual(ledger.reached_slot, 20)
        self.assertEqual(self.used.progress("a"), {})
        self.assertEqual(self.used.progress("b"), {Slice(): TableProgress(20, rows=14, files=2, bytes=20)})

    def test_a_lagging_table_spans_the_gap(self):
        ledger = self.ledger()
        self.do(ledger, 10, "a", "b")
        self.do(ledger, 20, "b")
        self.do(ledger, 30, "a")
        self.assertEqual(self.used.progress("a")[Slice()].slot, 30)

    def test_after_a_crash_the_table_furthest_behind_comes_first_and_alone(self):
        ledger = self.ledger()
        self.do(ledger, 10, "a", "b")
        self.do(ledger, 20, "a")
        again = self.ledger()
        self.assertEqual((again.reached_slot, again.furthest_slot), (10, 20))
        self.assertEqual(again.next_work(), (Window(10, 20), ("b",)))
        self.do(again, 15)
        self.assertEqual(again.next_work(), (Window(15, 20), ("b",)))
        self.do(again, 20)
        self.assertEqual(again.next_work(), (Window(20, SLOT_END), ("a", "b")))

    def test_at_every_partitions_edge_all_tables_say_where_they_are(self):
        ledger = self.ledger()
        self.do(ledger, 10, "a", "b")
        self.assertEqual(self.do(ledger, HOUR - 1, "b"), ["b"])
        self.assertEqual(self.do(ledger, HOUR), ["a", "b"])
        self.assertEqual(self.do(ledger, HOUR + 50), [])
        self.assertEqual(self.do(ledger, 3 * HOUR + 7), ["a", "b"])  # an edge lies within
        self.assertEqual(self.do(ledger, 4 * HOUR - 1), [])

    def test_tables_without_rows_follow_those_that_have_some(self):
        # Or a crash in between would leave a slice without a file that tells where the batch began.
        ledger = self.ledger(epoch(0, "a", "b", "c"))
        batch = StagedBatch(Window(0, HOUR))
        batch.files = {table: [self.staged(table, batch.window)] for table in ("b", "c")}
        commits = ledger.commits(batch, ("a", "b", "c"))
        self.assertEqual([commit.table for commit in commits], ["b", "c", "a"])
        parents = {"a": (), "b": (), "c": ("b",)}
        found = [[commit.table for commit in wave] for wave in waves(commits, parents.__getitem__)]
        self.assertEqual(found, [["b"], ["c"], ["a"]])

    def test_where_nobody_is_told_of_partitions_nothing_is_committed_without_rows(self):
        class Plain(MemoryWriter):
            marks_partitions = False

        ledger = self.ledger(writer=Plain(self.storage, self.writer().options))
        self.used.open("run", replace(TABLE, name="b"))
        self.assertEqual(self.do(ledger, HOUR), [])
        self.assertEqual(self.do(ledger, HOUR + 1, "b"), ["b"])

    def test_work_ends_where_other_inputs_come_into_force(self):
        ledger = self.ledger(epoch(0), epoch(50, rate=2.0))
        self.assertEqual(ledger.next_work(), (Window(0, 50), ("a", "b")))

    def test_where_other_inputs_come_into_force_all_tables_say_where_they_are(self):
        # Table b is gone from there on: nobody would ever tell that its last slots had no rows.
        ledger = self.ledger(epoch(0), epoch(50, "a"))
        self.do(ledger, 10, "a", "b")
        self.assertEqual(self.do(ledger, 50, "a"), ["a", "b"])
        self.assertEqual(ledger.next_work(), (Window(50, SLOT_END), ("a",)))

    def test_work_ends_with_the_assignment_and_all_tables_say_so(self):
        ledger = self.ledger(end=30)
        self.do(ledger, 10, "a", "b")
        self.assertEqual(self.do(ledger, 30), ["a", "b"])
        self.assertTrue(ledger.is_done)
        self.assertTrue(self.ledger(end=30).is_done)

    def test_a_table_that_joins_later_is_made_from_the_beginning(self):
        ledger = self.ledger(epoch(0, "a"), epoch(50, "a", "c"))
        self.assertEqual(ledger.next_work(), (Window(0, 50), ("a", "c")))
        self.do(ledger, 50, "a", "c")
        self.assertEqual(ledger.next_work(), (Window(50, SLOT_END), ("a", "c")))

    def test_a_table_that_joins_while_it_runs_catches_up(self):
        ledger = self.ledger(epoch(0, "a"))
        self.do(ledger, 40, "a")
        self.assertTrue(ledger.follow(ledger.assignment, (epoch(0, "a"), epoch(50, "a", "c"))))
        self.assertEqual(ledger.next_work(), (Window(0, 40), ("c",)))
        self.do(ledger, 40, "c")
        self.assertEqual(ledger.next_work(), (Window(40, 50), ("a", "c")))

    def test_a_table_that_is_left_out_ends_and_goes_on_there_when_it_comes_back(self):
        ledger = self.ledger(epoch(0))
        self.do(ledger, 10, "a", "b")
        epochs = (epoch(0), epoch(50, "a"))
        ledger.follow(ledger.assignment, epochs)
        self.do(ledger, 50, "a", "b")
        self.do(ledger, 60, "a")
        self.assertEqual((ledger.reached_slot, ledger.furthest_slot), (60, 60))
        epochs = (*epochs, epoch(90))
        ledger.follow(ledger.assignment, epochs)
        self.assertEqual(ledger.next_work(), (Window(50, 60), ("b",)))
        self.do(ledger, 60, "b")
        self.assertEqual(ledger.next_work(), (Window(60, 90), ("a", "b")))

    def test_an_assignment_may_get_an_end_while_it_runs(self):
        ledger = self.ledger()
        self.do(ledger, 10, "a", "b")
        ledger.follow(assigned((0, 30)), (epoch(0),))
        self.assertEqual(ledger.next_work(), (Window(10, 30), ("a", "b")))

    def test_a_table_that_joins_again_stands_where_somebody_else_has_brought_it(self):
        ledger = self.ledger(epoch(0, "a"))
        epochs = (epoch(0, "a"), epoch(50, "a", "c"))
        other = self.ledger(*epochs)
        self.do(other, 40, "a", "c")
        self.assertTrue(ledger.follow(ledger.assignment, epochs))
        list(ledger.recover())
        self.assertEqual(ledger.next_work(), (Window(40, 50), ("a", "c")))
        self.assertFalse(ledger.follow(ledger.assignment, (*epochs, epoch(90, "a"))))

    def test_one_ledger_brings_all_stretches_of_a_slice(self):
        self.used = self.writer()
        ledger = Ledger(self.used)
        ledger.follow(assigned((0, 50), (90, SLOT_END)), (epoch(0),))
        list(ledger.recover())
        self.assertEqual((ledger.next_work(), ledger.stretch), ((Window(0, 50), ("a", "b")), Window(0, 50)))
        self.assertEqual(self.do(ledger, 50, "a"), ["a", "b"])
        self.assertEqual((ledger.next_work()[0], ledger.stretch), (Window(90, SLOT_END), Window(90, SLOT_END)))
        self.assertEqual(self.do(ledger, 100, "a", "b"), ["a", "b"])
        self.assertEqual(self.used.progress("a")[Slice()], TableProgress(100, rows=14, files=2, bytes=20))

    def test_what_others_did_of_a_later_stretch_is_known_in_all(self):
        epochs, stretches = (epoch(0, "a"), epoch(150, "a", "c")), ((0, 50), (90, 120))
        ledger, other = Ledger(self.writer()), Ledger(self.writer())
        for each in (ledger, other):
            each.follow(assigned(*stretches), epochs)
            list(each.recover())
        self.used = self.writer()
        self.do(other, 50, "a", "c")
        self.do(other, 100, "a", "c")
        list(ledger.recover())
        self.assertEqual(ledger.next_work(), (Window(100, 120), ("a", "c")))

    def test_a_commit_that_fails_in_the_middle_leaves_what_is_behind(self):
        ledger = self.ledger()
        self.do(ledger, 10, "a", "b")
        other = self.ledger()
        window = Window(10, 20)
        batch = StagedBatch(window, files={"b": [self.staged("b", window)]})
        commits = ledger.commits(batch, ("a", "b"))
        self.do(other, 20, "b")
        with self.assertRaises(OvertakenError):
            list(ledger.commit(commits))
        self.assertEqual(ledger.reached_slot, 10)
        (landed,) = ledger.recover()  # as if its own reply had been lost
        self.assertEqual((landed.table, landed.outcome, landed.slot), ("b", "deduplicated", 20))
        self.assertEqual((landed.rows, landed.files, landed.bytes, landed.table_files), (7, 1, 10, 2))
        self.assertEqual(list(ledger.recover()), [])
        self.assertEqual(ledger.next_work(), (Window(10, 20), ("a",)))
