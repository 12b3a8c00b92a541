"""Bad luck on a local disk: whatever fails or ends, and wherever, every row is there once afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from emitter.errors import DamagedStateError, OvertakenError, StateError, StorageError
from emitter.model import Slice, TableCommit
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.testing import FaultyStorage, SimulatedCrash
from emitter.writers.base import CrashHook, no_crash
from emitter.writers.parquet.writer import ParquetWriter
from tests.contract.beats import (
    OPTIONS,
    ORIGIN,
    RUN,
    TABLE,
    WHOLE,
    files,
    found,
    in_order,
    rows,
    window,
    write,
)
from tests.contract.power_loss import PowerLossStorage

REPOSITORY = Path(__file__).parents[2]
FIRST, SECOND = window(0, 120), window(120, 150)  # four files in two partitions, then one
ALL = window(0, 150)


class ParquetFaultsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.outputs = 0

    def new_output(self) -> Path:
        self.outputs += 1
        return self.folder / f"out{self.outputs}"

    def opened(self, storage: Storage, hook: CrashHook = no_crash, file_rows: int = 50) -> ParquetWriter:
        options = dataclasses.replace(OPTIONS, file_rows_target=file_rows)
        writer = ParquetWriter(storage, options, hook)
        writer.open(RUN, TABLE)
        return writer

    def finish(self, writer: ParquetWriter) -> None:
        """What a daemon does after a restart or a failure, twice, then see that every row is there once."""
        progress = writer.recover(WHOLE, TABLE.name)
        self.assertEqual(writer.recover(WHOLE, TABLE.name), progress)
        for asked in (FIRST, SECOND):
            if progress is None or progress.slot < asked.end:
                write(writer, asked, progress.slot if progress else None)
                progress = writer.progress(TABLE.name)[WHOLE]
        self.assertEqual(found(writer, ALL), in_order(rows(ALL)))
        self.assertEqual((progress.slot, progress.rows), (ALL.end, 150))
        table = writer.storage.root / TABLE.name
        visible = list(table.rglob("*.parquet"))
        self.assertEqual(progress.files, len(visible))
        self.assertEqual(progress.bytes, sum(path.stat().st_size for path in visible))
        left = [path for path in writer.storage.root.rglob("*") if path.suffix in (".staged", ".tmp")]
        self.assertEqual(left, [])

    def both(self, storage: Storage) -> None:
        writer = self.opened(storage)
        write(writer, FIRST, None)
        write(writer, SECOND, FIRST.end)

    def calls_of(self, work: Callable[[FaultyStorage], None], output: Path) -> int:
        """How many system calls some undisturbed work makes."""
        storage = FaultyStorage(output)
        work(storage)
        return len(storage.calls)

    def test_any_system_call_may_fail(self):
        calls = self.calls_of(self.both, self.new_output())
        self.assertGreater(calls, 40)
        for at in range(1, calls + 1):
            for after, code in ((False, errno.ENOSPC), (True, errno.EIO)):
                with self.subTest(call=at, after=after):
                    storage = FaultyStorage(self.new_output())
                    storage.fail(OSError(code, os.strerror(code)), at=at, after=after)
                    with self.assertRaises(StorageError):
                        self.both(storage)
                    storage.heal()
                    self.finish(self.opened(storage))

    def test_the_process_may_die_at_any_system_call(self):
        for at in range(1, self.calls_of(self.both, self.new_output()) + 1):
            for after in (False, True):
                with self.subTest(call=at, after=after):
                    output = self.new_output()
                    storage = FaultyStorage(output)
                    storage.fail(SimulatedCrash(), at=at, times=None, after=after)
                    with self.assertRaises(SimulatedCrash):
                        self.both(storage)
                    # Other files are made of the rows after the restart than before.
                    self.finish(self.opened(LocalStorage(output), file_rows=1000))

    def test_recovery_itself_may_die_at_any_system_call(self):
        def interrupted() -> Path:
            output = self.new_output()
            storage = FaultyStorage(output)
            storage.fail(SimulatedCrash(), at=7, times=None, only=("rename",))  # four staged, the intent, one moved
            with self.assertRaises(SimulatedCrash):
                self.both(storage)
            return output

        def recover(storage: FaultyStorage) -> None:
            self.opened(storage).recover(WHOLE, TABLE.name)

        calls = self.calls_of(recover, interrupted())
        self.assertGreater(calls, 5)
        for at in range(1, calls + 1):
            for after in (False, True):
                with self.subTest(call=at, after=after):
                    output = interrupted()
                    storage = FaultyStorage(output)
                    storage.fail(SimulatedCrash(), at=at, times=None, after=after)
                    with self.assertRaises(SimulatedCrash):
                        recover(storage)
                    self.finish(self.opened(LocalStorage(output)))

    def test_the_power_may_fail_at_any_system_call(self):
        def both(storage: FaultyStorage) -> None:
            writer = self.opened(storage)
            write(writer, FIRST, None)
            done.append(FIRST.end)
            write(writer, SECOND, FIRST.end)
            done.append(SECOND.end)

        done: list[int] = []
        for at in range(1, self.calls_of(both, self.new_output()) + 2):
            done.clear()
            output = self.new_output()
            output.mkdir()
            storage = PowerLossStorage(output)
            storage.fail(SimulatedCrash(), at=at, times=None)
            with contextlib.suppress(SimulatedCrash):
                both(storage)
            for all_names in (False, True):
                with self.subTest(call=at, all_names=all_names):
                    left = self.new_output()
                    storage.survivors(left, all_names=all_names)
                    writer = self.opened(LocalStorage(left))
                    progress = writer.recover(WHOLE, TABLE.name)
                    if done:
                        self.assertGreaterEqual(progress.slot, done[-1])
                    self.finish(writer)

    def test_a_commit_syncs_what_it_must_and_no_more(self):
        storage = FaultyStorage(self.new_output())
        writer = self.opened(storage)
        write(writer, window(0, 30), None)
        storage.calls.clear()
        write(writer, window(30, 59), ORIGIN + 30)
        replace = ["write", "fsync_file", "rename", "fsync_folder"]
        staged, renamed = ["write", "fsync_file", "rename"], ["rename", "fsync_folder"]
        self.assertEqual(storage.calls, [*staged, "fsync_folder", *replace, *renamed, *replace])
        storage.calls.clear()
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 59, ORIGIN + 60)]))
        self.assertEqual(storage.calls, replace)

    def test_a_kill_at_any_crash_point_is_survived(self):
        passed = Counter()
        writer = self.opened(LocalStorage(self.new_output()), lambda point: passed.update([point]))
        writer.recover(WHOLE, TABLE.name)
        write(writer, FIRST, None)
        write(writer, SECOND, FIRST.end)
        writer.finish_partitions([TABLE.name], ORIGIN, ORIGIN + 100)
        self.assertEqual(set(passed), set(ParquetWriter.crash_points))

        children = []
        for point in ParquetWriter.crash_points:
            for nth in sorted({1, passed[point]}):
                command = [sys.executable, "-m", "tests.contract.crash_child"]
                output = self.new_output()
                child = subprocess.Popen([*command, str(output), point, str(nth)], cwd=REPOSITORY)
                children.append((point, nth, output, child))
        for point, nth, output, child in children:
            with self.subTest(point=point, nth=nth):
                self.assertEqual(child.wait(), 137)
                restarted = self.opened(LocalStorage(output), file_rows=17)
                with restarted.hold(WHOLE):
                    self.finish(restarted)

    def test_a_progress_object_cut_short_is_damage_and_never_absence(self):
        output = self.new_output()
        self.both(LocalStorage(output))
        path = output / "_emitter/progress" / TABLE.name / "0-of-1.json"
        whole = path.read_bytes()
        fresh = ParquetWriter(LocalStorage(output), OPTIONS)
        for size in range(len(whole) - 1):
            path.write_bytes(whole[:size])
            with self.assertRaises(DamagedStateError):
                fresh.open(RUN, TABLE)
            with self.assertRaises(DamagedStateError):
                fresh.progress(TABLE.name)
            with self.assertRaises(DamagedStateError):
                fresh.recover(WHOLE, TABLE.name)
            with self.assertRaises(DamagedStateError):
                write(fresh, window(150, 160), ALL.end, encoded=())
        path.write_bytes(whole)
        self.finish(self.opened(LocalStorage(output)))

    def test_a_progress_object_of_another_shape_slice_or_run_is_refused(self):
        output = self.new_output()
        self.both(LocalStorage(output))
        path = output / "_emitter/progress" / TABLE.name / "0-of-1.json"
        whole = json.loads(path.read_bytes())
        changes = [
            {"slot": "1"},
            {"slot": -1},
            {"rows": 1.5},
            {"files": None},
            {"intent": 3},
            {"intent": {"slot": 9}},
            {"intent": {**whole, "moves": [["one"]]}},
            {"intent": {**whole, "moves": [[1, 2]]}},
            {"slice": "0-of-2"},
            {"run_id": "another"},
        ]
        for change in changes:
            with self.subTest(change=change), self.assertRaises(StateError):
                path.write_text(json.dumps({**whole, **change}))
                ParquetWriter(LocalStorage(output), OPTIONS).open(RUN, TABLE)
        path.write_text("[]")
        with self.assertRaises(DamagedStateError) as caught:
            self.opened(LocalStorage(output))
        self.assertIn("0-of-1.json", caught.exception.problem)

    def interrupted_after_intent(self) -> tuple[Path, list[list[str]]]:
        output = self.new_output()
        storage = FaultyStorage(output)
        writer = self.opened(storage)
        storage.fail(OSError(errno.EIO, "no"), at=6, only=("rename",))  # four staged and the intent
        with self.assertRaises(StorageError):
            write(writer, FIRST, None)
        intent = json.loads((output / "_emitter/progress" / TABLE.name / "0-of-1.json").read_bytes())["intent"]
        return output, intent["moves"]

    def test_a_file_lost_after_the_intent_is_damage_that_names_it(self):
        output, moves = self.interrupted_after_intent()
        staged, final = moves[-1]
        kept = (output / staged).read_bytes()
        (output / staged).unlink()
        for _ in range(2):
            with self.assertRaises(DamagedStateError) as caught:
                self.opened(LocalStorage(output)).recover(WHOLE, TABLE.name)
            self.assertIn(final, caught.exception.problem)
        (output / final).parent.mkdir(parents=True)
        (output / final).write_bytes(kept)  # as the hint says
        self.finish(self.opened(LocalStorage(output)))

    def test_a_commit_under_way_counts_as_its_old_slot_for_others(self):
        output, _ = self.interrupted_after_intent()
        other = self.opened(LocalStorage(output))
        self.assertEqual(other.progress(TABLE.name), {})
        with self.assertRaises(OvertakenError):
            write(other, FIRST, None)
        self.finish(other)

    def test_a_staged_file_lost_or_cut_before_the_intent_changes_nothing(self):
        for harm in (Path.unlink, lambda path: os.truncate(path, 10)):
            writer = self.opened(LocalStorage(self.new_output()))
            staged = tuple(writer.stage(WHOLE, FIRST, file) for file in files(FIRST))
            harm(writer.storage.root / staged[0].staged_path)
            with self.assertRaises(StorageError):
                list(writer.commit(WHOLE, [TableCommit(TABLE.name, None, FIRST.end, staged)]))
            self.assertEqual(list((writer.storage.root / TABLE.name).rglob("*.parquet")), [])
            self.finish(writer)

    def test_a_file_where_the_table_should_be_is_no_empty_table(self):
        output = self.new_output()
        output.mkdir()
        (output / TABLE.name).write_text("a file")
        with self.assertRaises(StorageError) as caught:
            self.opened(LocalStorage(output))
        self.assertIn("a file stands where a folder should be", caught.exception.hint)

    def test_temporary_files_of_a_dead_process_go_with_its_slice(self):
        output = self.new_output()
        self.both(LocalStorage(output))
        folder = output / "_emitter/progress" / TABLE.name
        for name in (".0-of-1.json.7-8-9.tmp", ".0-of-10.json.7-8-9.tmp"):
            (folder / name).write_bytes(b"{")
        writer = self.opened(LocalStorage(output))
        writer.recover(WHOLE, TABLE.name)
        self.assertEqual(sorted(path.name for path in folder.iterdir()), [".0-of-10.json.7-8-9.tmp", "0-of-1.json"])
        writer.recover(Slice(0, 10), TABLE.name)
        self.finish(writer)

    def test_a_visible_file_that_is_no_parquet_is_named(self):
        output = self.new_output()
        self.both(LocalStorage(output))
        broken = next((output / TABLE.name).rglob("*.parquet"))
        os.truncate(broken, 100)
        with self.assertRaises(DamagedStateError) as caught:
            found(self.opened(LocalStorage(output)), ALL)
        self.assertIn(broken.name, caught.exception.problem)

    def test_marking_partitions_goes_on_where_it_was_interrupted(self):
        output, complete = self.new_output(), ORIGIN + 6 * 86_400
        storage = FaultyStorage(output)
        writer = self.opened(storage)
        storage.fail(OSError(errno.ENOSPC, "full"), at=3, only=("rename",))
        with self.assertRaises(StorageError):
            writer.finish_partitions([TABLE.name], ORIGIN, complete)
        marks = output / TABLE.name
        self.assertEqual(len(list(marks.rglob("_SUCCESS"))), 2)
        writer.finish_partitions([TABLE.name], ORIGIN, complete)
        self.assertEqual(len(list(marks.rglob("_SUCCESS"))), 6)
        storage.calls.clear()
        writer.finish_partitions([TABLE.name], ORIGIN, complete + 5)
        self.assertEqual(storage.calls, [])

    def test_taking_marks_back_leaves_none_without_one_before_it_and_spares_what_became_complete(self):
        output, day = self.new_output(), 86_400
        storage = FaultyStorage(output)
        writer, marks = self.opened(storage), lambda: sorted(output.rglob("_SUCCESS"))
        writer.finish_partitions([TABLE.name], ORIGIN, ORIGIN + 6 * day)
        whole = marks()
        slots = iter((ORIGIN + day, ORIGIN + 6 * day))  # another shard got there between the two looks
        writer.reopen_partitions(TABLE.name, lambda: next(slots))
        self.assertEqual(marks(), whole)
        storage.fail(OSError(errno.EIO, "broken"), at=3, only=("remove",))
        with self.assertRaises(StorageError):
            writer.reopen_partitions(TABLE.name, lambda: ORIGIN + day)
        self.assertEqual(marks(), whole[:4])
        writer.reopen_partitions(TABLE.name, lambda: ORIGIN + day)
        self.assertEqual(marks(), whole[:1])
        writer.reopen_partitions(TABLE.name, lambda: ORIGIN + day)
        self.assertEqual(marks(), whole[:1])


if __name__ == "__main__":
    unittest.main()
