"""Two writers of one slice, where no lock keeps them apart: whoever sleeps, wakes, dies or comes late, and at whatever
step, every row is there once afterwards.
"""

from __future__ import annotations

import dataclasses
import threading
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from emitter.errors import OvertakenError, StorageError
from emitter.model import TableCommit
from emitter.storage.base import Entry
from emitter.testing import MemoryStorage, SimulatedCrash
from emitter.writers.parquet.writer import ParquetWriter
from tests.contract.beats import OPTIONS, RUN, TABLE, WHOLE, files, found, in_order, rows, window, write

FIRST, SECOND = window(30, 70), window(70, 80)  # two files in two partitions, then one
ALL = window(30, 80)
Step = Callable[[int], None]


class Objects(MemoryStorage):
    """An object store as one writer sees it. `step` is called before each request, with its number from 1; a rename
    is two requests.
    """

    has_locks = False

    def __init__(self, shared: dict[str, bytes], step: Step = lambda number: None) -> None:
        super().__init__()
        self.objects = shared
        self._step, self.steps = step, 0
        self.changes: list[int] = []  # the steps that change something
        self._defer: tuple[int, int] | None = None
        self._late: Callable[[], object] | None = None

    def defer(self, number: int, until: int) -> None:
        """Let request `number` fail if it changes anything, and land before request `until`."""
        self._defer = (number, until)

    def _request(self, effect: Callable[[], object] | None = None) -> None:
        self.steps += 1
        if effect:
            self.changes.append(self.steps)
        self._step(self.steps)
        deferred, until = self._defer or (0, 0)
        if self._late and self.steps == until:
            self.land()
        if effect and self.steps == deferred:
            self._late = effect
            raise StorageError("reach", "the store", "it is slow")

    def land(self) -> None:
        late, self._late = self._late, None
        try:
            if late:
                late()
        except (StorageError, OvertakenError, Exception):  # noqa: BLE001 (nobody hears of it)
            pass

    def _change(self, effect: Callable[[], object]) -> object:
        self._request(effect)
        with self._guard:
            return effect()

    def read(self, path: str) -> bytes:
        self._request()
        return super().read(path)

    def list(self, folder: str, after: str = "") -> list[Entry]:
        self._request()
        return super().list(folder, after)

    def write(self, path: str, data: object) -> None:
        self._change(lambda: MemoryStorage.write(Quiet(self), path, data))

    def read_version(self, path: str) -> tuple[bytes, str]:
        self._request()
        return Quiet(self).read_version(path)

    def replace_version(self, path: str, data: bytes, version: str | None) -> str:
        return str(self._change(lambda: Quiet(self).replace_version(path, data, version)))

    def remove(self, path: str) -> None:
        self._change(lambda: MemoryStorage.remove(self, path))

    def rename(self, source: str, target: str) -> None:
        self._change(lambda: Quiet(self).write(target, Quiet(self).read(source)))
        self.remove(source)

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        yield


class Quiet(MemoryStorage):
    """The same objects, without steps."""

    def __init__(self, other: MemoryStorage) -> None:
        super().__init__()
        self.objects = other.objects


class TakeoverTest(unittest.TestCase):
    def setUp(self):
        self.enterContext(patch("emitter.writers.parquet.writer._AT_ONCE_MAX", 1))  # so that requests have numbers

    def opened(self, storage: Objects, file_rows: int = 50) -> ParquetWriter:
        writer = ParquetWriter(storage, dataclasses.replace(OPTIONS, file_rows_target=file_rows))
        writer.open(RUN, TABLE)
        return writer

    def live(self, storage: Objects, file_rows: int = 50) -> None:
        """What a daemon does from its start on, until all is written."""
        writer = self.opened(storage, file_rows)
        with writer.hold(WHOLE):
            self.go_on(writer)

    def go_on(self, writer: ParquetWriter) -> None:
        progress = writer.recover(WHOLE, TABLE.name)
        for asked in (FIRST, SECOND):
            if progress is None or progress.slot < asked.end:
                write(writer, asked, progress.slot if progress else None)
                progress = writer.progress(TABLE.name)[WHOLE]

    def settle(self, shared: dict[str, bytes]) -> None:
        """A last writer comes, and nothing is lost, doubled or left behind."""
        writer = self.opened(Objects(shared))
        self.go_on(writer)
        self.assertEqual(found(writer, ALL), in_order(rows(ALL)))
        (progress,) = writer.progress(TABLE.name).values()
        visible = [data for path, data in shared.items() if path.endswith(".parquet")]
        self.assertEqual((progress.slot, progress.rows), (ALL.end, 50))
        self.assertEqual((progress.files, progress.bytes), (len(visible), sum(map(len, visible))))
        self.assertEqual([path for path in shared if path.endswith(".staged")], [])

    def steps(self) -> int:
        storage = Objects({})
        self.live(storage)
        return storage.steps

    def test_another_may_take_over_at_any_step_of_a_writer_that_goes_on(self):
        for at in range(1, self.steps() + 1):
            for file_rows in (50, 7):  # the other may cut the rows into other files
                with self.subTest(step=at, file_rows=file_rows):
                    shared: dict[str, bytes] = {}

                    def step(number: int, at=at, shared=shared, file_rows=file_rows) -> None:
                        if number == at:
                            self.live(Objects(shared), file_rows)

                    ended = self.ended(lambda shared=shared, step=step: self.live(Objects(shared, step)))
                    self.assertIn(ended, (None, OvertakenError))
                    self.settle(shared)

    def test_another_may_take_over_at_any_step_of_a_writer_that_then_dies(self):
        for at in range(1, self.steps() + 1):
            with self.subTest(step=at):
                shared: dict[str, bytes] = {}

                def step(number: int, at=at, shared=shared) -> None:
                    if number == at:
                        self.live(Objects(shared))
                    if number > at:  # its last request lands after all that the other did
                        raise SimulatedCrash

                self.ended(lambda shared=shared, step=step: self.live(Objects(shared, step)))
                self.settle(shared)

    def test_who_takes_over_may_die_at_any_step_of_both(self):
        for at in range(1, self.steps() + 1):
            for dies_at in range(1, self.steps() + 1):
                shared: dict[str, bytes] = {}

                def dies(number: int, dies_at=dies_at) -> None:
                    if number >= dies_at:
                        raise SimulatedCrash

                def step(number: int, at=at, shared=shared, dies=dies) -> None:
                    if number == at:
                        self.ended(lambda: self.live(Objects(shared, dies), 7))

                with self.subTest(step=at, dies_at=dies_at):
                    self.ended(lambda shared=shared, step=step: self.live(Objects(shared, step)))
                    self.settle(shared)

    def test_both_may_sleep_and_wake_at_any_step(self):
        """The first goes so far, the other so far, then the first to its end, then the other."""
        for first in range(1, self.steps() + 1):
            for second in range(1, self.steps() + 1):
                with self.subTest(first=first, second=second):
                    shared: dict[str, bytes] = {}
                    here, there = threading.Event(), threading.Event()
                    ends: list[type[BaseException] | None] = []

                    def sleep_second(number: int, second=second, here=here, there=there) -> None:
                        if number == second:
                            there.set()
                            here.wait(30)

                    def other(shared=shared, step=sleep_second, ends=ends, there=there) -> None:
                        ends.append(self.ended(lambda: self.live(Objects(shared, step), 7)))
                        there.set()

                    thread = threading.Thread(target=other)

                    def sleep_first(number: int, first=first, there=there, thread=thread) -> None:
                        if number == first:
                            thread.start()
                            there.wait(30)

                    ends.append(self.ended(lambda shared=shared, step=sleep_first: self.live(Objects(shared, step))))
                    here.set()
                    thread.join(30)
                    self.assertLessEqual(set(ends), {None, OvertakenError})
                    self.settle(shared)

    def test_a_request_may_land_at_any_time_after_it_failed(self):
        """As in a daemon that tries again: what was given up on is still on its way."""
        steps = self.steps()
        for number in range(1, steps + 1):
            for until in range(number + 1, 2 * steps):
                shared: dict[str, bytes] = {}
                storage = Objects(shared)
                storage.defer(number, until)
                with self.subTest(request=number, lands_before=until):
                    try:
                        self.live(storage)
                    except StorageError:
                        writer = self.opened(storage)
                        self.go_on(writer)
                    storage.land()
                    self.settle(shared)

    def test_who_was_overtaken_does_not_take_the_slice_back(self):
        shared: dict[str, bytes] = {}
        first, second = self.opened(Objects(shared)), self.opened(Objects(shared))
        with first.hold(WHOLE):
            first.recover(WHOLE, TABLE.name)
            write(first, FIRST, None)
            second.recover(WHOLE, TABLE.name)
            for attempt in (
                lambda: first.recover(WHOLE, TABLE.name),
                lambda: write(first, SECOND, FIRST.end),
                lambda: list(first.commit(WHOLE, [TableCommit(TABLE.name, FIRST.end, SECOND.end)])),
            ):
                with self.assertRaises(OvertakenError) as caught:
                    attempt()
                self.assertIn("only one writer", caught.exception.hint)
        write(second, SECOND, FIRST.end)
        first.recover(WHOLE, TABLE.name)  # it has let go of the slice, and may take it again
        self.settle(shared)

    def test_staged_files_never_share_a_name(self):
        writer = self.opened(Objects({}))
        staged = [writer.stage(WHOLE, FIRST, file) for file in (*files(FIRST), *files(FIRST))]
        self.assertEqual(len({file.staged_path for file in staged}), 4)
        self.assertEqual(len({file.final_path for file in staged}), 2)

    def ended(self, work: Callable[[], None]) -> type[BaseException] | None:
        try:
            work()
        except (OvertakenError, SimulatedCrash) as error:
            return type(error)
        return None


if __name__ == "__main__":
    unittest.main()
