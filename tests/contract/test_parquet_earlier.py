"""Parquet outputs of earlier releases, which kept progress and staged files in the tables' folders: they go on, whoever
dies or comes between while they are moved over, and no earlier release makes their rows again.
"""

from __future__ import annotations

import dataclasses
import shutil
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from emitter.errors import CommitConflictError, DamagedStateError, OvertakenError, SliceLockedError, StateError
from emitter.model import Slice
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.testing import FaultyStorage, SimulatedCrash
from emitter.writers.parquet import earlier
from emitter.writers.parquet.earlier import EarlierObjects
from emitter.writers.parquet.progress import ProgressObject, ProgressObjects, decode, earlier_staging_of, path_of
from emitter.writers.parquet.writer import ParquetWriter
from tests.contract.beats import OPTIONS, RUN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.contract.test_parquet_takeover import ALL, FIRST, SECOND, Objects, Step
from tests.support.case import new_folder
from tests.support.foreign_readers import counts_by_readers

PLACE = earlier.path_of(TABLE.name, WHOLE)


class EarlierPlace(ProgressObjects):
    """Progress objects where an earlier release has them."""

    def slices(self, table: str) -> list[Slice]:
        return list(EarlierObjects(self._storage)._sizes(table))

    def read(self, table: str, slice: Slice) -> tuple[ProgressObject, str] | None:
        path = earlier.path_of(table, slice)
        if path.rpartition("/")[2] not in [entry.name for entry in self._storage.list(f"{table}/_progress")]:
            return None
        data, version = self._storage.read_version(path)
        return decode(data, path, table, slice), version

    def write(self, table: str, known: ProgressObject, version: str | None) -> str:
        return self._storage.replace_version(earlier.path_of(table, known.slice), known.encode(), version)


class NoEarlierPlace(EarlierObjects):
    def _sizes(self, table: str) -> dict[Slice, int]:
        return {}


class EarlierRelease(ParquetWriter):
    """A writer as it was: it knows of no other place than the table's folder."""

    _staging_of = staticmethod(earlier_staging_of)

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, OPTIONS)
        self._objects._objects, self._objects._earlier = EarlierPlace(storage), NoEarlierPlace(storage)


def opened(writer: ParquetWriter) -> ParquetWriter:
    writer.open(RUN, TABLE)
    return writer


def go_on(writer: ParquetWriter) -> None:
    """What a daemon does from its start on, until all is written."""
    with opened(writer).hold(WHOLE):
        progress = writer.recover(WHOLE, TABLE.name)
        for asked in (FIRST, SECOND):
            if progress is None or progress.slot < asked.end:
                write(writer, asked, progress.slot if progress else None)
                progress = writer.progress(TABLE.name)[WHOLE]


class MovedOnDiskTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(new_folder()))
        self.outputs = 0

    def new_output(self) -> Path:
        self.outputs += 1
        return self.folder / f"out{self.outputs}"

    def interrupted(self) -> Path:
        """Left by an earlier release that was killed after its second file of three was in its place."""
        if not (output := self.folder / "interrupted").exists():
            storage = FaultyStorage(output)
            writer = opened(EarlierRelease(storage))
            write(writer, window(0, 30), None)
            storage.fail(SimulatedCrash(), at=5, times=None, only=("rename",))
            with self.assertRaises(SimulatedCrash):
                write(writer, FIRST, window(0, 30).end)
        return shutil.copytree(output, self.new_output())

    def settle(self, output: Path) -> None:
        go_on(opened(ParquetWriter(LocalStorage(output), dataclasses.replace(OPTIONS, file_rows_target=7))))
        writer = opened(ParquetWriter(LocalStorage(output), OPTIONS))
        self.assertEqual(found(writer, window(0, 80)), in_order(rows(window(0, 80))))
        (progress,) = writer.progress(TABLE.name).values()
        visible = list((output / TABLE.name).rglob("*.parquet"))
        self.assertEqual((progress.rows, progress.files), (80, len(visible)))
        self.assertEqual((output / PLACE).read_bytes(), b"")
        left = [path.name for path in output.rglob("*") if path.suffix in (".staged", ".tmp")]
        self.assertEqual(left, [])

    def test_an_output_that_was_interrupted_goes_on_and_its_folder_is_the_table(self):
        output = self.interrupted()
        self.settle(output)
        for name, counted in counts_by_readers(output, TABLE.name).items():
            with self.subTest(name):
                self.assertEqual(counted(), 80)

    def test_it_can_be_looked_at_before_it_is_moved(self):
        output = self.interrupted()
        before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
        writer = opened(ParquetWriter(LocalStorage(output), OPTIONS))
        self.assertEqual(writer.progress(TABLE.name), EarlierRelease(LocalStorage(output)).progress(TABLE.name))
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].rows, 30)
        self.assertEqual({path: path.read_bytes() for path in output.rglob("*") if path.is_file()}, before)

    def test_the_process_may_die_at_any_system_call(self):
        storage = FaultyStorage(self.interrupted())
        opened(ParquetWriter(storage, OPTIONS)).recover(WHOLE, TABLE.name)
        self.assertGreater(calls := len(storage.calls), 12)
        for at in range(1, calls + 1):
            for after in (False, True):
                with self.subTest(call=at, after=after):
                    storage = FaultyStorage(self.interrupted())
                    storage.fail(SimulatedCrash(), at=at, times=None, after=after)
                    with self.assertRaises(SimulatedCrash):
                        opened(ParquetWriter(storage, OPTIONS)).recover(WHOLE, TABLE.name)
                    self.settle(storage.root)

    def test_an_earlier_release_may_go_on_until_it_is_moved_and_is_refused_then(self):
        for at in (1, 5, None):  # the copy, the emptying, the end
            with self.subTest(at=at):
                output = self.interrupted()
                storage = FaultyStorage(output)
                if at:
                    storage.fail(SimulatedCrash(), at=at, times=None)
                    with self.assertRaises(SimulatedCrash):
                        opened(ParquetWriter(storage, OPTIONS)).recover(WHOLE, TABLE.name)
                    go_on(EarlierRelease(LocalStorage(output)))
                else:
                    go_on(opened(ParquetWriter(storage, OPTIONS)))
                    with self.assertRaises(DamagedStateError):
                        go_on(EarlierRelease(LocalStorage(output)))
                self.settle(output)

    def test_a_slice_that_begins_later_is_kept_from_earlier_releases_too(self):
        output, other = self.interrupted(), Slice(1, 2)
        started = opened(EarlierRelease(LocalStorage(output)))
        writer = opened(ParquetWriter(LocalStorage(output), OPTIONS))
        self.assertIsNone(writer.recover(other, TABLE.name))
        write(writer, window(80, 90), None, other, files(window(80, 90)))
        with self.assertRaises(DamagedStateError):
            started.recover(other, TABLE.name)

    def test_an_earlier_release_refuses_what_it_has_never_seen(self):
        output = self.new_output()
        go_on(ParquetWriter(LocalStorage(output), OPTIONS))
        self.assertFalse((output / TABLE.name / "_progress").exists())
        with self.assertRaises(StateError):
            opened(EarlierRelease(LocalStorage(output)))

    def test_where_tables_are_adopted_it_is_kept_from_that_as_well(self):
        output = self.new_output()
        go_on(ParquetWriter(LocalStorage(output), dataclasses.replace(OPTIONS, adopt=True)))
        with self.assertRaises(DamagedStateError):
            opened(EarlierRelease(LocalStorage(output)))

    def test_while_it_lives_an_earlier_release_keeps_the_slice(self):
        output = self.interrupted()
        with opened(EarlierRelease(LocalStorage(output))).hold(WHOLE), self.assertRaises(SliceLockedError):
            go_on(ParquetWriter(LocalStorage(output), OPTIONS))

    def test_older_progress_that_is_put_back_is_refused(self):
        output = self.interrupted()
        old = (output / PLACE).read_bytes()
        self.settle(output)
        (output / PLACE).write_bytes(old)
        with self.assertRaises(DamagedStateError) as caught:
            go_on(ParquetWriter(LocalStorage(output), OPTIONS))
        self.assertIn(f"{PLACE} is back", caught.exception.problem)
        (output / PLACE).write_bytes(b"")  # as the hint says
        self.settle(output)

    def test_progress_of_one_slice_that_is_lost_is_never_absent(self):
        output = self.interrupted()
        self.settle(output)
        write(
            opened(ParquetWriter(LocalStorage(output), OPTIONS)),
            window(80, 90),
            None,
            Slice(1, 2),
            files(window(80, 90)),
        )
        (output / path_of(TABLE.name, WHOLE)).unlink()
        with self.assertRaises(DamagedStateError) as caught:
            opened(ParquetWriter(LocalStorage(output), OPTIONS)).recover(WHOLE, TABLE.name)
        self.assertIn("is gone", caught.exception.problem)

    def test_progress_that_is_lost_is_never_absent(self):
        output = self.interrupted()
        self.settle(output)
        shutil.rmtree(output / "_emitter/progress")
        for adopt in (False, True):
            with self.assertRaises(StateError):
                go_on(ParquetWriter(LocalStorage(output), dataclasses.replace(OPTIONS, adopt=adopt)))


class MovedOnS3Test(unittest.TestCase):
    def setUp(self):
        self.enterContext(patch("emitter.writers.parquet.writer._AT_ONCE_MAX", 1))  # so that requests have numbers

    def begun(self) -> dict[str, bytes]:
        """An output of which an earlier release has made a part."""
        shared: dict[str, bytes] = {}
        writer = opened(EarlierRelease(Objects(shared)))
        with writer.hold(WHOLE):
            writer.recover(WHOLE, TABLE.name)
            write(writer, FIRST, None)
        return shared

    def new(self, storage: Objects) -> ParquetWriter:
        return ParquetWriter(storage, OPTIONS)

    def ended(self, work: Callable[[], None]) -> type[BaseException] | None:
        try:
            work()
        except (OvertakenError, DamagedStateError, CommitConflictError, SimulatedCrash) as error:
            return type(error)
        return None

    def settle(self, shared: dict[str, bytes]) -> None:
        go_on(self.new(Objects(shared)))
        writer = opened(self.new(Objects(shared)))
        self.assertEqual(found(writer, ALL), in_order(rows(ALL)))
        (progress,) = writer.progress(TABLE.name).values()
        visible = [data for path, data in shared.items() if path.endswith(".parquet")]
        self.assertEqual((progress.slot, progress.rows, progress.files), (ALL.end, 50, len(visible)))
        self.assertEqual([path for path in shared if path.endswith(".staged")], [])
        self.assertEqual(shared[PLACE], b"")
        settled = dict(shared)
        with self.assertRaises(DamagedStateError):
            go_on(EarlierRelease(Objects(shared)))
        self.assertEqual(shared, settled)

    def test_an_earlier_release_may_be_at_any_step_when_it_is_moved_and_goes_on(self):
        self.play(EarlierRelease, self.new)

    def test_an_earlier_release_may_take_the_slice_at_any_step_of_the_move(self):
        self.play(self.new, EarlierRelease)

    def test_two_may_move_it_at_once(self):
        self.play(self.new, self.new)

    def test_who_looks_on_while_it_is_moved_sees_it_in_one_of_both_places(self):
        looking = Objects(self.begun())
        stands = self.new(looking).progress(TABLE.name)
        for at in range(1, looking.steps + 1):
            shared = self.begun()

            def step(number: int, at=at, shared=shared) -> None:
                if number == at:
                    opened(self.new(Objects(shared))).recover(WHOLE, TABLE.name)

            with self.subTest(at=at):
                self.assertEqual(self.new(Objects(shared, step)).progress(TABLE.name), stands)

    def play(self, first: Callable[[Objects], ParquetWriter], second: Callable[[Objects], ParquetWriter]) -> None:
        """At every step of the one the other comes, and dies at any change that its taking over makes, or lives."""
        alone, other = Objects(self.begun()), Objects(self.begun())
        go_on(first(alone))
        opened(second(other)).recover(WHOLE, TABLE.name)
        for at in range(1, alone.steps + 1):
            for dies_at in (*other.changes, None):
                shared = self.begun()

                def step(number: int, at=at, shared=shared, dies_at=dies_at) -> None:
                    if number == at:
                        self.ended(lambda: go_on(second(Objects(shared, _dies(dies_at)))))

                with self.subTest(at=at, dies_at=dies_at):
                    self.ended(lambda shared=shared, step=step: go_on(first(Objects(shared, step))))
                    self.settle(shared)


def _dies(dies_at: int | None) -> Step:
    def step(number: int) -> None:
        if dies_at is not None and number >= dies_at:
            raise SimulatedCrash

    return step


if __name__ == "__main__":
    unittest.main()
