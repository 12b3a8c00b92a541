"""What a Parquet output may lose: files that were staged for a commit that can never come.

There is no compaction: no reader of a folder sees two changes as one, so it would find rows twice or not at all
(docs/decisions/0028).

A staged file is named by the intent of its commit, by nothing, or is still to be. It can never be named any more

-   where the slice's progress has passed its window: a commit begins at the progress;
-   where whoever staged it is gone. On a disk the lock tells: a process that dies or lets go of the slice commits no
    more, and who takes the slice after it only what it stages itself. On S3, where the holder may be asleep, a slice
    that nobody has written for as long is taken from it: then its intent is refused.

Recovery drops such files of its own slice. What is left to upkeep is what a writer that was overtaken staged late, and
what slices leave that nobody takes again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from emitter.clock import Clock
from emitter.errors import SliceLockedError
from emitter.model import Slice, Window
from emitter.priority import urgently
from emitter.storage.base import Storage, StoredFile
from emitter.writers.base import CrashHook, lock_path, parse_file_name
from emitter.writers.leftovers import Leftovers
from emitter.writers.parquet.holding import HeldObjects
from emitter.writers.parquet.progress import EARLIER_STAGING, FOLDER, STAGING, ProgressObject, slice_of
from emitter.writers.upkeep import Chore, Done, Task, Upkeep, UpkeepPolicy

_SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class _Abandoned:
    """Old staged files of a slice that no commit will name: `passed` by its progress, `stranded` if nobody holds it."""

    slice: Slice
    passed: list[StoredFile]
    stranded: list[StoredFile]


class ParquetUpkeep(Upkeep):
    """See the module."""

    tasks: ClassVar[tuple[Task, ...]] = ("vacuum",)
    crash_points: ClassVar[tuple[str, ...]] = ("parquet.vacuumed",)

    def __init__(
        self, policy: UpkeepPolicy, storage: Storage, objects: HeldObjects, clock: Clock, crash_hook: CrashHook
    ) -> None:
        super().__init__(policy)
        self._storage, self._objects, self._clock = storage, objects, clock
        self._leftovers = Leftovers(storage, policy.orphan_seconds, clock)
        self._on_each = lambda: crash_hook("parquet.vacuumed")

    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        if task != "vacuum":
            return ()
        files = self._leftovers.find(table)
        for found in self._abandoned(table):
            files += found.passed + found.stranded
        size_bytes = sum(file.size_bytes for file in files)
        return [Chore(task, table, files=len(files), size_bytes=size_bytes)] if files else ()

    def apply(self, chore: Chore) -> Done:
        files, stranded = self._leftovers.find(chore.table), list[_Abandoned]()
        for found in self._abandoned(chore.table):
            files += found.passed
            stranded += [found] if found.stranded else []
        done = self._leftovers.remove(files, self._on_each)
        for found in stranded:
            more = self._remove_stranded(chore.table, found)
            done = Done(done.files_removed + more.files_removed, bytes_removed=done.bytes_removed + more.bytes_removed)
        return done

    def _abandoned(self, table: str) -> Iterator[_Abandoned]:
        """Looks for files first, then for who holds the slice, then at its progress: so that what is decided by the
        later of these holds of all that was found.
        """
        staged = {slice: files for slice, found in self._staged(table) if (files := self._leftovers.old(found))}
        if not staged:
            return
        unheld = self._unheld(table, staged)
        stands = {known.slice: known for known in self._objects.all(table)}
        for slice, files in staged.items():
            known = stands.get(slice)
            unnamed = _unnamed(files, known)
            passed = [file for file, window in unnamed if _is_passed(window, known)]
            stranded = [file for file, window in unnamed if not _is_passed(window, known)]
            yield _Abandoned(slice, passed, stranded if slice in unheld else [])

    def _staged(self, table: str) -> Iterator[tuple[Slice, list[StoredFile]]]:
        found: dict[Slice, list[StoredFile]] = {}
        for folder in (f"{STAGING}/{table}", f"{table}/{EARLIER_STAGING}"):
            for file in self._storage.walk(folder):
                slice = slice_of(f"{file.path.removeprefix(f'{folder}/').partition('/')[0]}.json")
                if slice:
                    found.setdefault(slice, []).append(file)
        return iter(found.items())

    def _unheld(self, table: str, slices: Iterable[Slice]) -> Collection[Slice]:
        """Slices that nobody writes, as far as that can be known; on S3 such whose progress object is there and old."""
        if self._storage.has_locks:
            return {slice for slice in slices if not self._storage.is_locked(lock_path(slice))}
        folder = f"{FOLDER}/{table}"
        entries = [entry for entry in self._storage.list(folder) if not entry.is_folder]
        objects = [StoredFile(entry.name, entry.size_bytes, entry.written_wall_seconds) for entry in entries]
        return {slice for file in self._leftovers.old(objects) if (slice := slice_of(file.path))}

    def _remove_stranded(self, table: str, found: _Abandoned) -> Done:
        """Those that nobody can name from now on; on a disk while the slice is held, so that nobody takes it."""
        if not self._storage.has_locks:
            try:
                known, _ = self._objects.take(table, found.slice)
            finally:
                self._objects.let_go(found.slice)
            return self._leftovers.remove((file for file, _ in _unnamed(found.stranded, known)), self._on_each)
        try:
            return urgently(lambda: self._remove_locked(table, found))  # who begins the slice now is refused meanwhile
        except SliceLockedError:
            return Done()

    def _remove_locked(self, table: str, found: _Abandoned) -> Done:
        with self._storage.lock(lock_path(found.slice)):
            known, _ = self._objects.read(table, found.slice)
            return self._leftovers.remove((file for file, _ in _unnamed(found.stranded, known)), self._on_each)


def _unnamed(files: Iterable[StoredFile], known: ProgressObject | None) -> list[tuple[StoredFile, Window]]:
    """Those of the files that we staged and the intent, if there is one, does not name; each with its window."""
    named = {staged for staged, _ in known.intent.moves} if known and known.intent else set()
    made = ((file, parse_file_name(_final_name(file.path))) for file in files)
    return [(file, ours[1]) for file, ours in made if ours and file.path not in named]


def _final_name(staged_path: str) -> str:
    """`<name>.parquet` of `<name>.parquet.staged`, which may have a mark of its writer in between."""
    return staged_path.rpartition("/")[2].partition(_SUFFIX)[0] + _SUFFIX


def _is_passed(window: Window, known: ProgressObject | None) -> bool:
    return bool(known and known.progress and window.end <= known.progress.slot)
