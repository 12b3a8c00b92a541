"""The upkeep of a lake: what keeps commits as quick, files as few and the catalogue as small as on the first day.

    compact     small files of a partition into one, in a transaction of some milliseconds (`merging`, `replacing`)
    expire      snapshots that were replaced longer than `keep_seconds` ago, and what commits replaced in the progress
    vacuum      files that went out of use as long ago, and those that no snapshot ever named

An old snapshot reads the same rows after a compaction: from the merged file, which tells when each row came. So what a
compaction replaces is out of use at once, but for those who had begun to read, and is kept for them for `keep_seconds`.

Of files that no snapshot names only those of these tables that are named as ours are removed, and none that a live
process may be about to commit.
What DuckLake's own compaction makes of them counts as any file; what a crash of it leaves, and rules of others' for
their tables in the same lake, are theirs to look after.

The lake's snapshots and progress are looked after once, with the first of the tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emitter.errors import StorageError
from emitter.partitioning import PartitionSpec
from emitter.writers.ducklake import catalog, replacing
from emitter.writers.ducklake import files as lake_files
from emitter.writers.ducklake.catalog import LakeTable
from emitter.writers.ducklake.connection import CATALOG, LAKE
from emitter.writers.ducklake.files import LakeFile
from emitter.writers.ducklake.merging import Merger
from emitter.writers.ducklake.output import Output
from emitter.writers.ducklake.tiers import groups
from emitter.writers.ducklake.vacuum import Vacuum
from emitter.writers.upkeep import Chore, Done, Task, Upkeep, UpkeepPolicy

if TYPE_CHECKING:
    import duckdb

_SNAPSHOTS_MAX = 500  # forgotten in one go
_DEAD_ROWS_MIN = 1_000  # of the progress, worth a chore of their own


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
        self._kept: set[int] = set()  # tables that the upkeep of others is known to pass over
        self._vacuum = Vacuum(policy, output)

    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        if task == "compact":
            found = self._groups(table)
            return [self._chore(table, group) for group in found[1]] if found else []
        if task == "expire":
            return self._planned_expiry(table)
        return self._vacuum.plan(table)

    def apply(self, chore: Chore) -> Done:
        if chore.task == "compact":
            return self._compact(chore)
        return self._expire() if chore.task == "expire" else self._vacuum.apply(chore.table)

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
        closed = spec.values(max(ends)) if ends else ()  # of most slices; those that lag have but few files there
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
        asked = [each for each in planned if self._chore(chore.table, each).partition == chore.partition]
        if known is None or not asked:
            return Done()  # others have come first
        group = min(asked, key=lambda each: abs(len(each) - chore.files))
        self._keep(chore.table, known)
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
        if self._out.storage.size(path) != made.data.size:
            raise StorageError("commit", path, "the merged file is cut short")

        def replace(cursor: duckdb.DuckDBPyConnection) -> bool:
            full = f"{self._out.root}/{path}"
            replacing.replace(cursor, known, group, made, full, statistics, self._lake.data_path)
            self._out.crash("ducklake.replaced")
            return True

        self._out.write("compact", replace)
        self._out.crash("ducklake.compacted")
        self._sweep()
        return Done(len(group), 1, _bytes(group), made.data.size)

    def _keep(self, table: str, known: LakeTable) -> None:
        """See that the upkeep of others passes over a table from now on."""
        if known.table_id in self._kept:
            return
        with self._lake.session("look into") as cursor:
            is_said = cursor is None or catalog.is_said_how_to_compact(cursor, known.table_id)
        if not is_said:
            schema = self._out.schema
            self._out.write("set an option of", lambda cursor: catalog.keep_to_own_upkeep(cursor, schema, table))
        self._kept.add(known.table_id)

    def _sweep(self) -> None:
        with self._lake.session("look into") as cursor:
            numbers = replacing.left_behind(cursor) if cursor else []

        def sweep(cursor: duckdb.DuckDBPyConnection) -> bool:
            replacing.sweep(cursor, numbers)
            return True

        if numbers:
            self._out.write("sweep", sweep)

    # Expiry

    def _planned_expiry(self, table: str) -> list[Chore]:
        if table != next(iter(self._out.tables), None):
            return []
        with self._lake.session("look into") as cursor:
            if cursor is None:
                return []
            count = len(self._expired(cursor))
            dead = catalog.dead_rows(cursor, catalog.inlined_progress(cursor))
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
        with self._lake.session("look into") as cursor:
            numbers = self._expired(cursor)[:_SNAPSHOTS_MAX] if cursor else []
            inlined = catalog.inlined_progress(cursor) if cursor else []

        def expire(cursor: duckdb.DuckDBPyConnection) -> bool:
            cursor.execute(f"SELECT count(*) FROM ducklake_expire_snapshots('{LAKE}', versions => {numbers})")
            return True

        def prune(cursor: duckdb.DuckDBPyConnection) -> bool:
            catalog.prune(cursor, inlined)
            return True

        if numbers:
            self._out.write("expire snapshots of", expire)
        self._out.crash("ducklake.expired")
        self._out.write("prune the progress in", prune)
        return Done()


def _bytes(group: Sequence[LakeFile]) -> int:
    return sum(file.size_bytes for file in group)


def _folder(spec: PartitionSpec, file: LakeFile) -> str:
    pairs = zip(spec.columns, file.partition or (), strict=True)
    return "/".join(f"{name}={value:04d}" if name == "year" else f"{name}={value:02d}" for name, value in pairs)
