"""What every table format must do: one suite for all of them, on every storage and catalogue, and for the fake."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from emitter.errors import (
    DamagedStateError,
    ForeignTableError,
    OvertakenError,
    SliceLockedError,
    StorageError,
    UsageError,
)
from emitter.model import Slice, Table, TableCommit, TableProgress
from emitter.settings.connections import CatalogConfig
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.testing import SimulatedCrash
from emitter.writers.base import CrashHook, TableWriter, no_crash
from tests.contract.beats import (
    CHILDREN,
    ODD_ROWS,
    OPTIONS,
    ORIGIN,
    PARENTS,
    RUN,
    TABLE,
    WHOLE,
    encoded,
    files,
    found,
    in_order,
    renamed,
    rows,
    window,
    write,
)
from tests.support.reading import count_beside


class OutputCase:
    """Subclasses say where the output is; every writer is made as a new process would make it."""

    writer_class: type[TableWriter]
    storage: Storage
    catalog = CatalogConfig()

    def setUp(self) -> None:
        self.new_output()

    def new_output(self) -> None:
        """Put a storage, and a catalogue if the format needs one, in place: empty ones."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "out"
        self.storage = LocalStorage(self.root)

    def writer(self, hook: CrashHook = no_crash, **options: Any) -> Any:
        return self.writer_class(self.storage, replace(OPTIONS, **options), hook, catalog=self.catalog)

    def opened(self, hook: CrashHook = no_crash, **options: Any) -> Any:
        writer = self.writer(hook, **options)
        writer.open(RUN, TABLE)
        return writer


class WriterContract(OutputCase):
    """What is said above."""

    crash_points_step = 1  # where each takes long, one in so many is tried; all of them in long_kill_formats

    def foreign_table(self, table: Table) -> None:
        """Make a table as another tool would: of these columns and our partitioning, without our identity."""
        raise NotImplementedError

    def test_a_new_output_has_no_progress_and_no_rows(self):
        writer = self.opened()
        self.assertIsNone(writer.recover(WHOLE, TABLE.name))
        self.assertEqual(writer.progress(TABLE.name), {})
        self.assertEqual(found(writer, window(0, 100)).num_rows, 0)

    def test_opening_creates_nothing(self):
        self.opened()
        self.assertEqual(self.storage.list(TABLE.name), [])

    def test_committed_rows_are_found_as_they_were_made(self):
        writer, asked = self.opened(), window(0, 200)
        report = write(writer, asked, None)
        self.assertEqual(found(writer, asked), in_order(rows(asked)))
        self.assertEqual((report.outcome, report.rows, report.slot), ("ok", 200, asked.end))

    def test_rows_at_a_partition_edge_go_to_their_own_side(self):
        made = files(window(0, 120))
        folders = {file.partition for file in made}
        self.assertEqual(folders, {"year=2026/month=01/day=01", "year=2026/month=01/day=02"})
        writer = self.opened()
        write(writer, window(0, 120), None)
        self.assertEqual(found(writer, window(0, 1)), in_order(rows(window(0, 60))))
        self.assertEqual(found(writer, window(60, 61)), in_order(rows(window(60, 120))))

    def test_staged_rows_are_not_found(self):
        writer, asked = self.opened(), window(0, 100)
        for file in files(asked):
            writer.stage(WHOLE, asked, file)
        self.assertEqual(found(writer, asked).num_rows, 0)

    def test_progress_counts_all_commits(self):
        writer = self.opened()
        first = write(writer, window(0, 30), None)
        second = write(writer, window(30, 90), ORIGIN + 30)
        self.assertEqual(
            self.opened().progress(TABLE.name),
            {WHOLE: TableProgress(ORIGIN + 90, 90, first.files + second.files, first.bytes + second.bytes)},
        )
        self.assertEqual(second.table_files, first.files + second.files)
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name), self.opened().progress(TABLE.name)[WHOLE])

    def test_progress_can_be_read_before_a_run_is_known(self):
        self.assertEqual(self.writer().progress(TABLE.name), {})
        write(self.opened(), window(0, 30), None)
        self.assertEqual(self.writer().progress(TABLE.name)[WHOLE].slot, ORIGIN + 30)

    def test_a_commit_without_files_moves_the_progress(self):
        writer = self.opened()
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, None, ORIGIN + 10)]))
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 10, ORIGIN + 20)]))
        self.assertEqual(writer.progress(TABLE.name), {WHOLE: TableProgress(ORIGIN + 20)})

    def test_a_commit_from_another_slot_is_refused_and_changes_nothing(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        before = writer.progress(TABLE.name)
        for wrong in (None, ORIGIN + 29):
            with self.subTest(expected_slot=wrong), self.assertRaises(OvertakenError):
                write(writer, window(30, 60), wrong)
        with self.assertRaises(OvertakenError):  # nor one by somebody who has not seen the first
            write(self.opened(), window(0, 30), None)
        self.assertEqual(writer.progress(TABLE.name), before)
        self.assertEqual(found(writer, window(0, 60)), in_order(rows(window(0, 30))))

    def test_slices_go_on_apart_and_add_up(self):
        writer, asked = self.opened(), window(0, 100)
        for half in (Slice(0, 2), Slice(1, 2)):
            self.assertIsNone(writer.recover(half, TABLE.name))
            write(writer, asked, None, half)
        self.assertEqual(set(writer.progress(TABLE.name)), {Slice(0, 2), Slice(1, 2)})
        self.assertEqual(found(writer, asked), in_order(rows(asked)))

    def test_what_is_known_of_one_slice_says_nothing_of_another(self):
        """Two writers bring a slice at once, as may be where storage has no locks; one of them brings another too."""
        own, other = Slice(0, 2), Slice(1, 2)
        writer, rival = self.opened(), self.opened()
        for half in (own, other):
            writer.recover(half, TABLE.name)
            write(writer, window(0, 10), None, half)
        rival.recover(other, TABLE.name)
        write(rival, window(10, 20), ORIGIN + 10, other)
        write(writer, window(10, 40), ORIGIN + 10, own)
        with self.assertRaises(OvertakenError):
            write(writer, window(10, 40), ORIGIN + 10, other)
        again = self.opened()
        again.recover(other, TABLE.name)
        write(again, window(20, 40), ORIGIN + 20, other)
        self.assertEqual(found(again, window(0, 40)), in_order(rows(window(0, 40))))

    def test_recovery_drops_staged_files_of_its_slice_alone(self):
        writer, asked, other = self.opened(), window(0, 100), Slice(1, 2)
        for file in files(asked):
            writer.stage(Slice(0, 2), asked, file)
        kept = tuple(writer.stage(other, asked, file) for file in files(asked, other))
        for _ in range(2):
            self.assertIsNone(self.opened().recover(Slice(0, 2), TABLE.name))
        list(writer.commit(other, [TableCommit(TABLE.name, None, asked.end, kept)]))
        self.assertEqual(found(writer, asked), in_order(rows(asked, other)))

    def test_parents_commit_before_children(self):
        writer, asked = self.opened(), window(0, 30)
        for table in (PARENTS, CHILDREN):
            writer.open(RUN, table)
        commits = []
        for table in (PARENTS, TABLE, CHILDREN):
            staged = tuple(writer.stage(WHOLE, asked, renamed(file, table)) for file in files(asked))
            commits.append(TableCommit(table.name, None, asked.end, staged))
        reports = writer.commit(WHOLE, commits)
        self.assertEqual(next(reports).table, PARENTS.name)
        if not getattr(writer, "commits_together", False):
            self.assertEqual(self.opened().progress(CHILDREN.name), {})
        self.assertEqual([report.table for report in reports], [TABLE.name, CHILDREN.name])
        for table in (PARENTS, TABLE, CHILDREN):
            self.assertEqual(self.opened().progress(table.name)[WHOLE].rows, 30)

    def test_every_value_comes_back_as_it_was(self):
        writer = self.opened()
        write(writer, window(0, 60), None, encoded=encoded(ODD_ROWS))
        there, made = found(writer, window(0, 60)), in_order([ODD_ROWS])
        self.assertEqual(list(map(repr, there.to_pylist())), list(map(repr, made.to_pylist())))  # nan is not nan

    def test_rows_beside_the_partitions_asked_for_are_told_apart(self):
        writer = self.opened()
        write(writer, window(0, 120), None)
        for asked, count in ((window(0, 60), 60), (window(0, 120), 0)):
            self.assertEqual(count_beside(writer, TABLE, asked), count)

    def test_a_crash_at_any_point_loses_and_doubles_nothing(self):
        steps = (window(0, 50), window(50, 130), window(130, 200))
        for point in self.writer_class.crash_points[:: self.crash_points_step]:
            for nth in (1, 2):
                with self.subTest(point=point, nth=nth):
                    self.new_output()
                    self._write_steps(steps, crash_at(point, nth))
                    self._write_steps(steps, no_crash)
                    writer = self.opened()
                    self.assertEqual(found(writer, window(0, 200)), in_order(rows(window(0, 200))))
                    self.assertEqual(writer.progress(TABLE.name)[WHOLE].rows, 200)

    def _write_steps(self, steps, hook: CrashHook) -> None:
        """Recover, and write what is still to be written."""
        try:
            writer = self.opened(hook)
            with writer.hold(WHOLE):
                known = writer.recover(WHOLE, TABLE.name)
                slot = known.slot if known else None
                for asked in steps:
                    if slot is None or asked.first >= slot:
                        write(writer, asked, slot)
                        slot = asked.end
        except SimulatedCrash:
            pass

    def test_a_staged_file_that_somebody_removed_is_noticed(self):
        writer, asked = self.opened(), window(0, 30)
        write(writer, asked, None)
        (staged,) = (writer.stage(WHOLE, window(30, 60), file) for file in files(window(30, 60)))
        self.storage.remove(staged.staged_path)
        commit = TableCommit(TABLE.name, asked.end, ORIGIN + 60, (staged,))
        with self.assertRaises(StorageError):
            list(writer.commit(WHOLE, [commit]))
        again = self.opened()
        self.assertEqual(again.recover(WHOLE, TABLE.name).slot, asked.end)
        write(again, window(30, 60), asked.end)
        self.assertEqual(found(again, window(0, 60)), in_order(rows(window(0, 60))))

    def test_what_a_table_holds_beyond_its_progress_is_noticed(self):
        writer = self.opened()
        for first in (0, 30):
            write(writer, window(first, first + 30), ORIGIN + first if first else None)
        known, again = writer.progress(TABLE.name)[WHOLE], self.opened()
        again.check_not_set_back(WHOLE, TABLE.name, known, ORIGIN + 60)
        again.check_not_set_back(Slice(0, 2), TABLE.name, None, ORIGIN)  # of another slice
        again.check_not_set_back(WHOLE, TABLE.name, None, ORIGIN)  # somebody has just brought it there
        for older, slot in ((None, ORIGIN), (TableProgress(ORIGIN + 30), ORIGIN + 30)):
            with (
                mock.patch.object(again, "stands_at", lambda *_, older=older: _[-1] == older),
                self.assertRaises(DamagedStateError) as caught,
            ):
                again.check_not_set_back(WHOLE, TABLE.name, older, slot)
            self.assertIn("was lost or set back", caught.exception.problem)
        self.assertEqual(list(again.paths_from(TABLE.name, ORIGIN + 86_400)), [])

    def test_a_table_of_the_right_schema_that_another_made_is_refused_unless_adopted(self):
        self.foreign_table(TABLE)
        with self.assertRaises(ForeignTableError) as caught:
            self.opened()
        self.assertIn("output.adopt", caught.exception.hint)
        writer = self.opened(adopt=True)
        self.assertIsNone(writer.recover(WHOLE, TABLE.name))
        write(writer, window(0, 30), None)
        again = self.opened()  # it is ours from now on
        self.assertEqual(again.recover(WHOLE, TABLE.name).rows, 30)
        with self.assertRaises(ForeignTableError):
            self.writer(adopt=True).open("another", TABLE)

    def test_a_table_of_another_schema_is_refused_with_the_difference(self):
        columns = [replace(column, type="string") if column.name == "pulse" else column for column in TABLE.columns]
        self.foreign_table(replace(TABLE, columns=tuple(column for column in columns if column.name != "host")))
        for adopt in (False, True):
            with self.assertRaises(ForeignTableError) as caught:
                self.opened(adopt=adopt)
            self.assertRegex(caught.exception.problem, r"column pulse: \S+, needed as \S+")
            self.assertRegex(caught.exception.problem, "column host: not there, needed as ")

    def test_a_table_of_another_run_is_refused(self):
        write(self.opened(), window(0, 30), None)
        with self.assertRaises(ForeignTableError) as caught:
            self.writer().open("another", TABLE)
        self.assertIn(RUN, caught.exception.problem)

    def test_a_table_that_is_not_ours_is_refused(self):
        self.storage.write(f"{TABLE.name}/part-0.parquet", b"somebody's")
        with self.assertRaises(ForeignTableError):
            self.opened()

    def test_writing_without_opening_is_refused(self):
        with self.assertRaises(UsageError):
            list(self.writer().commit(WHOLE, [TableCommit(TABLE.name, None, ORIGIN + 5)]))

    def test_the_output_can_be_checked_without_leaving_anything(self):
        self.writer().check()
        self.assertEqual(self.storage.list(""), [])

    def test_a_slice_has_one_holder(self):
        if not self.storage.has_locks:
            return
        with self.writer().hold(WHOLE):
            with self.assertRaises(SliceLockedError):
                self.writer().hold(WHOLE).__enter__()
            with self.writer().hold(Slice(0, 2)):
                pass
        with self.writer().hold(WHOLE):
            pass

    def test_complete_partitions_are_marked_in_order_and_once(self):
        writer = self.opened()
        if not writer.marks_partitions:
            return
        write(writer, window(0, 30), None)
        edge, day = ORIGIN + 60, 86_400
        marked: list[list[int]] = []
        for complete in (edge - 1, edge, edge + 1, edge + 3 * day + 5, edge + 3 * day + 6):
            self.opened().finish_partitions([TABLE.name], ORIGIN, complete)
            writer.finish_partitions([TABLE.name], ORIGIN, complete)
            marked.append([n for n in range(1, 9) if self._has_mark(n)])
        self.assertEqual(marked, [[], [1], [1], [1, 2, 3, 4], [1, 2, 3, 4]])

    def _has_mark(self, day: int) -> bool:
        entries = self.storage.list(f"{TABLE.name}/year=2026/month=01/day={day:02d}")
        return "_SUCCESS" in {entry.name for entry in entries}


def crash_at(point: str, nth: int) -> CrashHook:
    passed = 0

    def hook(reached: str) -> None:
        nonlocal passed
        passed += reached == point
        if passed >= nth:  # whatever unwinds reaches nothing any more
            raise SimulatedCrash

    return hook
