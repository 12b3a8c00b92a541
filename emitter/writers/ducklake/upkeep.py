"""The upkeep of a lake: what keeps commits as quick, files as few and the catalogue as small as on the first day.

    compact     small files of a partition into one, in a transaction of some milliseconds (`merging`, `replacing`)
    expire      snapshots that were replaced longer than `keep_seconds` ago, and what commits replaced in the progress
    vacuum      files that went out of use as long ago, and those that no snapshot ever named

An old snapshot reads the same rows after a compaction: from the merged file, which tells when each row came. So what a
compaction replaces is out of use at once, but for those who had begun to read, and is kept for them for `keep_seconds`.

Only files of these tables that are named as ours are ever removed, and none that a live process may be about to commit.
What DuckLake's own compaction makes of them counts as any file; what a crash of it leaves, and rules of others' for
their tables in the same lake, are theirs to look after.

The lake's snapshots and progress are looked after once, with the first of the tables.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from emitter.clock import Clock
from emitter.errors import CommitConflictError
from emitter.model import Slice, Table, TableProgress
from emitter.partitioning import PartitionSpec
from emitter.storage.base import Storage, StoredFile
from emitter.writers.base import CrashHook, WriterOptions, is_file_name, parse_file_name
from emitter.writers.ducklake import catalog, replacing
from emitter.writers.ducklake import files as lake_files
from emitter.writers.ducklake.catalog import LakeTable
from emitter.writers.ducklake.connection import CATALOG, LAKE, Lake
from emitter.writers.ducklake.files import LakeFile
from emitter.writers.ducklake.merging import Merger
from emitter.writers.ducklake.tiers import groups
from emitter.writers.ducklake.turns import Turns
from emitter.writers.leftovers import Leftovers
from emitter.writers.upkeep import Chore, Done, Task, Upkeep, UpkeepPolicy

if TYPE_CHECKING:
    import duckdb

_ATTEMPTS_MAX = 8
_WAIT_SECONDS = 0.02
_SNAPSHOTS_MAX = 1_000  # forgotten in one go
_FILES_MAX = 1_000  # removed in one go
_DEAD_ROWS_MIN = 1_000  # of the progress, worth a chore of their own
_MERGED_NAME = re.compile(r"merged-\d+-[0-9a-f]{16}\.parquet")


@dataclass(frozen=True, slots=True)
class Output:
    """What upkeep must know of the writer whose output it is: `root` is where it is, as its files are registered;
    `tables` are those that are open; `progress` and `is_held` as the writer's.
    """

    lake: Lake
    turns: Turns
    storage: Storage
    root: str
    schema: str
    options: WriterOptions
    tables: Mapping[str, Table]
    progress: Callable[[str], Mapping[Slice, TableProgress]]
    is_held: Callable[[Slice], bool]
    clock: Clock
    crash: CrashHook


class DuckLakeUpkeep(Upkeep):
    """See the module."""

    tasks = ("compact", "expire", "vacuum")
    crash_points = (
        "ducklake.merged",
        "ducklake.replaced",
        "ducklake.compacted",
        "ducklake.expired",
        "ducklake.removed",
    )

    def __init__(self, policy: UpkeepPolicy, output: Output) -> None:
        super().__init__(policy)
        self._out = output
        self._lake = output.lake
        self._never = threading.Event()
        self._kept: set[str] = set()  # tables that the upkeep of others is known to pass over
        self._leftovers = Leftovers(output.storage, policy.orphan_seconds, output.clock)

    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        if task == "compact":
            found = self._groups(table)
            return [self._chore(table, group) for group in found[1]] if found else []
        if task == "expire":
            return self._planned_expiry(table)
        return [
            Chore(task, table, files=len(some), size_bytes=sum(file.size_bytes for file in some))
            for some in batched(self._removable(table), _FILES_MAX)
        ]

    def apply(self, chore: Chore) -> Done:
        if chore.task == "compact":
            return self._compact(chore)
        return self._expire() if chore.task == "expire" else self._vacuum(chore.table)

    # Compaction

    def _groups(self, table: str) -> tuple[LakeTable, list[list[LakeFile]]] | None:
        """The table, and groups of its files that are each to become one."""
        declared = self._out.tables[table]
        with self._lake.session("look into") as cursor:
            known = catalog.table(cursor, self._out.schema, table) if cursor else None
            if cursor is None or known is None:
                return None
            altered = catalog.last_altered(cursor, known.table_id)
            listed = lake_files.files(cursor, known.table_id, self._lake.data_path)
        spec = self._out.options.spec
        if {name for name, _, _ in known.columns} != {*(column.name for column in declared.columns), *spec.columns}:
            return known, []  # others' columns may be anything
        ends = [progress.slot for progress in self._out.progress(table).values()]
        closed = spec.values(min(ends)) if ends else ()
        mergeable = [
            file
            for file in listed
            if file.is_plain
            and not file.has_deletes
            and file.first_snapshot >= altered
            and file.path.startswith(f"{self._out.root}/")
        ]
        return known, groups(mergeable, self.policy, lambda partition: partition < closed)

    def _chore(self, table: str, group: Sequence[LakeFile]) -> Chore:
        return Chore("compact", table, _folder(self._out.options.spec, group[0]), len(group), _bytes(group), 1)

    def _compact(self, chore: Chore) -> Done:
        found = self._groups(chore.table)
        known, planned = found or (None, [])
        group = next((each for each in planned if self._chore(chore.table, each).partition == chore.partition), None)
        if known is None or group is None:
            return Done()  # others have come first
        self._keep(chore.table)
        options, table = self._out.options, self._out.tables[chore.table]
        merger = Merger(self._out.storage, self._out.root, table, known, options.compression)
        made = merger.merge(group, dict(zip(options.spec.columns, group[0].partition or (), strict=True)))
        digest = hashlib.sha256(made.data).hexdigest()[:16]
        name = f"merged-{int(self._out.clock.wall_seconds() * 1e3)}-{digest}.parquet"
        path = f"{chore.table}/{chore.partition}/{name}"
        self._out.storage.put_if_absent(path, made.data)
        self._out.crash("ducklake.merged")
        with self._lake.session("look into") as cursor:
            assert cursor is not None
            statistics = replacing.statistics(cursor, known, group)

        def replace() -> None:
            with self._lake.session("compact") as cursor, self._out.turns.take():
                assert cursor is not None
                cursor.execute("BEGIN")
                full = f"{self._out.root}/{path}"
                replacing.replace(cursor, known, group, made, full, statistics, self._lake.data_path)
                self._out.crash("ducklake.replaced")
                self._lake.commit(cursor, "compact")

        self._insist(replace)
        self._out.crash("ducklake.compacted")
        self._insist(self._sweep)
        return Done(len(group), 1, _bytes(group), made.data.size)

    def _keep(self, table: str) -> None:
        def keep() -> None:
            with self._lake.session("set an option of") as cursor, self._out.turns.take():
                assert cursor is not None
                catalog.keep_to_own_upkeep(cursor, self._out.schema, table)

        if table not in self._kept:
            self._insist(keep)
        self._kept.add(table)

    def _sweep(self) -> None:
        with self._lake.session("sweep") as cursor, self._out.turns.take():
            assert cursor is not None
            cursor.execute("BEGIN")
            if replacing.sweep(cursor):
                self._lake.commit(cursor, "sweep")

    def _insist(self, act: Callable[[], None]) -> None:
        """Do what is short, and lost only against an append that came in between."""
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                act()
            except CommitConflictError:
                if attempt == _ATTEMPTS_MAX:
                    raise
            else:
                return
            self._out.clock.wait(self._never, _WAIT_SECONDS * attempt)

    # Expiry

    def _planned_expiry(self, table: str) -> list[Chore]:
        if table != next(iter(self._out.tables), None):
            return []
        with self._lake.session("look into") as cursor:
            if cursor is None:
                return []
            count = len(self._expired(cursor))
            dead = sum(catalog.dead_rows(cursor, slice) for slice in catalog.slices(cursor))
        chores = -(-count // _SNAPSHOTS_MAX) or int(dead >= _DEAD_ROWS_MIN)
        return [Chore("expire", table)] * chores

    def _expired(self, cursor: duckdb.DuckDBPyConnection) -> list[int]:
        """The snapshots whose successor is old enough."""
        found = cursor.execute(
            f"SELECT snapshot_id FROM {CATALOG}.ducklake_snapshot WHERE snapshot_id < (SELECT max(snapshot_id)"
            f" FROM {CATALOG}.ducklake_snapshot WHERE snapshot_time::TIMESTAMPTZ <= to_timestamp(?)) ORDER BY ALL",
            [self._out.clock.wall_seconds() - self.policy.keep_seconds],
        ).fetchall()
        return [number for (number,) in found]

    def _expire(self) -> Done:
        def expire() -> None:
            with self._lake.session("expire snapshots of") as cursor, self._out.turns.take():
                if cursor is None:
                    return
                numbers = self._expired(cursor)[:_SNAPSHOTS_MAX]
                if numbers:
                    cursor.execute("BEGIN")
                    cursor.execute(f"SELECT count(*) FROM ducklake_expire_snapshots('{LAKE}', versions => {numbers})")
                    self._lake.commit(cursor, "expire snapshots of")
                    self._out.crash("ducklake.expired")

        self._insist(expire)
        self._insist(self._prune)
        return Done()

    def _prune(self) -> None:
        with self._lake.session("prune the progress in") as cursor, self._out.turns.take():
            for slice in catalog.slices(cursor) if cursor else ():
                assert cursor is not None
                catalog.prune_progress(cursor, slice)

    # Vacuum

    def _removable(self, table: str) -> list[StoredFile]:
        """The files of a table that may go. They are listed before the catalogue is asked, so that what is committed
        meanwhile is known by then.
        """
        listed = {file.path: file for file in self._out.storage.walk(table) if _is_ours(file.path)}
        with self._lake.session("look into") as cursor:
            if cursor is None:
                return []
            prefix = f"{self._out.root}/"
            named = lake_files.named_paths(cursor, self._lake.data_path)
            replaced = self._replaced(cursor, f"{prefix}{table}/")
        gone = {path.removeprefix(prefix) for path in replaced}
        progress = self._out.progress(table)
        unnamed = [file for path, file in listed.items() if f"{prefix}{path}" not in named]
        orphans = [file for file in self._leftovers.old(unnamed) if not self._may_be_committed(file.path, progress)]
        out_of_use = [listed.get(path, StoredFile(path, 0, 0.0)) for path in sorted(gone)]
        return [*out_of_use, *orphans, *self._leftovers.find(table)]

    def _replaced(self, cursor: duckdb.DuckDBPyConnection, folder: str) -> dict[str, int]:
        """Files below a folder that went out of use long enough ago, with their numbers."""
        before = self._out.clock.wall_seconds() - self.policy.keep_seconds
        known = lake_files.scheduled(cursor, self._lake.data_path, before)
        return {path: number for path, number in known.items() if path.startswith(folder)}

    def _may_be_committed(self, path: str, progress: Mapping[Slice, TableProgress]) -> bool:
        """Whether a live process may be about to register a file that none ever named."""
        named = parse_file_name(path)
        if named is None:
            return False
        slice, window = named
        return (slice not in progress or progress[slice].slot < window.end) and self._out.is_held(slice)

    def _vacuum(self, table: str) -> Done:
        files = self._removable(table)[:_FILES_MAX]
        done = self._leftovers.remove(files)
        if not files:
            return done
        self._out.crash("ducklake.removed")
        paths = {f"{self._out.root}/{file.path}" for file in files}

        def forget() -> None:
            with self._lake.session("vacuum") as cursor, self._out.turns.take():
                if cursor is None:
                    return
                cursor.execute("BEGIN")
                known = self._replaced(cursor, f"{self._out.root}/{table}/")
                numbers = [number for path, number in known.items() if path in paths]
                if numbers:
                    replacing.forget(cursor, numbers)
                    self._lake.commit(cursor, "vacuum")

        self._insist(forget)
        return done


def _bytes(group: Sequence[LakeFile]) -> int:
    return sum(file.size_bytes for file in group)


def _folder(spec: PartitionSpec, file: LakeFile) -> str:
    pairs = zip(spec.columns, file.partition or (), strict=True)
    return "/".join(f"{name}={value:04d}" if name == "year" else f"{name}={value:02d}" for name, value in pairs)


def _is_ours(path: str) -> bool:
    return is_file_name(path) or _MERGED_NAME.fullmatch(path.rpartition("/")[2]) is not None
