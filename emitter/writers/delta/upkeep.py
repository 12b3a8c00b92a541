"""What keeps Delta tables as quick and as small as they were: docs/decisions/0025 tells what ages them.

    compact      our small files, a partition and a slice at a time, as a few larger ones
    checkpoint   the log in one file, once some commits have come since the last one
    expire       log entries older than `keep_seconds`; before that the table is told that this is how long it keeps
    vacuum       data files that no version names which is kept

A compaction is a commit with the new files and without the old ones, both marked as no change of data, so that whoever
follows the table's changes passes it by. It moves no progress. The library would let such a commit pass beside another
one that takes the same files away, and every row would be there twice. So it is written as an append is
(`delta.committing`): as the very next version after all that was looked at. Appends pass it as they pass each other.

Files are durable before they are committed, and a checkpoint before what it replaces is removed. Whatever a kill
leaves is a file that no version names, or work that is found undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from deltalake import DeltaTable

from emitter.clock import Clock
from emitter.errors import CommitConflictError, StorageError, StorageNotFoundError
from emitter.merging import merged
from emitter.model import Slice, StagedFile, Table
from emitter.storage.base import Storage, StoredFile
from emitter.writers import merges
from emitter.writers.base import CrashHook, WriterOptions, is_merged_name, parse_file_name
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.committing import Change, DirectLog, Stand
from emitter.writers.delta.log import LOG
from emitter.writers.delta.progress import DeltaProgress, names_of
from emitter.writers.delta.tables import DeltaTables
from emitter.writers.leftovers import Leftovers
from emitter.writers.merges import Merge
from emitter.writers.parts import missing
from emitter.writers.upkeep import Chore, Done, Task, Upkeep, UpkeepPolicy

Declared = Callable[[str, DeltaTable], tuple[Table, str]]
"""The table of a name as this run declares it, and the run. Raises StateError where what is there is another's."""

_CHECKPOINT_COMMITS = 10  # since the last one, at least
_CHECKPOINT_FACTOR = 2  # and so much longer than it: so that all checkpoints together are shorter than the commits


class DeltaUpkeep(Upkeep):
    """See the module. Every step looks at the table anew."""

    tasks = ("compact", "checkpoint", "expire", "vacuum")
    crash_points: ClassVar[tuple[str, ...]] = (
        "delta.merged",  # the new files are there, and no version names them
        "delta.compacted",
        "delta.summed-up",  # a checkpoint is there, perhaps not durable
        "delta.retained",  # the table says how long it keeps what, and nothing is removed yet
        "delta.vacuumed",  # of a single file
    )

    def __init__(
        self,
        policy: UpkeepPolicy,
        storage: Storage,
        tables: DeltaTables,
        options: WriterOptions,
        clock: Clock,
        crash_hook: CrashHook,
        declared: Declared,
    ) -> None:
        super().__init__(policy)
        self._storage, self._delta, self._options = storage, tables, options
        self._clock, self._crash, self._declared = clock, crash_hook, declared
        self._log = DirectLog(storage)
        self._planned: dict[str, tuple[DeltaTable, list[Merge]]] = {}
        self._leftovers = Leftovers(storage, policy.orphan_seconds, clock)

    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        if task == "checkpoint":
            return self._plan_checkpoint(table)
        handle = self._load(table)
        if handle is None:
            return ()
        match task:
            case "compact":
                planned = self._merges(table, handle)
                self._planned[table] = handle, list(planned)
                return [merge.chore(table, self.policy.file_rows_target) for merge in planned]
            case "expire":
                return self._plan_expiry(table, handle)
            case "vacuum":
                files = [*self._unnamed(table, handle), *self._leftovers.find(table)]
                return [Chore("vacuum", table, "", len(files), _bytes(files))] if files else ()

    def apply(self, chore: Chore) -> Done:
        if chore.task == "compact":
            return self._compact(chore)
        handle = self._load(chore.table)
        if handle is None:
            return Done()
        match chore.task:
            case "checkpoint":
                return self._sum_up(chore.table, handle)
            case "expire":
                return self._expire(chore.table, handle)
            case "vacuum":
                return self._vacuum(chore.table, handle)

    def _load(self, table: str) -> DeltaTable | None:
        """The table as it stands, if it is there and ours to write to. Raises StateError."""
        handle = self._delta.load(table)
        if handle is not None:
            self._declared(table, handle)
        return handle

    def _slots(self, table: str, handle: DeltaTable) -> dict[Slice, int]:
        _, run_id = self._declared(table, handle)
        with delta_tables.reading(self._delta.where(table)):
            progress = DeltaProgress(run_id, table, handle.transaction_version).all()
        return {slice: known.slot for slice, known in progress.items()}

    # Compaction.

    def _merges(self, table: str, handle: DeltaTable) -> list[Merge]:
        spec = self._options.spec
        if not self._delta.is_plain(handle):
            return []  # a feature may ask for more than to name the files
        parts = self._delta.parts(table, handle, spec)
        small = (
            merges.small_file(part.name, _folder(table, part.name), part.rows, part.size_bytes or 0) for part in parts
        )
        files = [file for file in small if file]
        if len(files) < 2:
            return []
        return merges.choose(files, self._slots(table, handle), spec, self.policy)

    def _asked(self, chore: Chore) -> tuple[DeltaTable, Merge] | None:
        """A merge that the partition asks for, and the table in which it was seen: one that was planned, as the commit
        looks at all that came since; else, or where that was tried before, one that is asked for by now.
        """
        handle, planned = self._planned.get(chore.table, (None, []))
        asked = [merge for merge in planned if merge.partition == chore.partition]
        if handle is None or not asked:
            handle = self._load(chore.table)
            planned = self._merges(chore.table, handle) if handle else []
            asked = [merge for merge in planned if merge.partition == chore.partition]
        if handle is None or not asked:
            return None
        merge = min(asked, key=lambda each: abs(len(each.files) - chore.files))
        planned.remove(merge)
        return handle, merge

    def _compact(self, chore: Chore) -> Done:
        found = self._asked(chore)
        if found is None:
            return Done()
        handle, merge = found
        try:
            declared, _ = self._declared(chore.table, handle)
            made = self._merge(declared, merge)
        except StorageNotFoundError as error:
            self._check_still_there(chore.table, merge, error)
            raise
        self._crash("delta.merged")
        self._commit(chore.table, handle, merge, made)
        self._crash("delta.compacted")
        return merge.done(made)

    def _merge(self, table: Table, merge: Merge) -> list[StagedFile]:
        return list(merged(self._storage, table, self._options, self.policy.file_rows_target, merge))

    def _check_still_there(self, table: str, merge: Merge, error: StorageNotFoundError) -> None:
        """A file is gone: somebody has compacted and vacuumed meanwhile, or the table is broken."""
        handle = self._load(table)
        named = set(self._paths(table, handle)) if handle else set()
        for file in merge.files:
            if file.path not in named:
                raise _overtaken(self._delta.where(table)) from error
        raise missing(str(error.path)) from error

    def _paths(self, table: str, handle: DeltaTable) -> list[str]:
        return [part.name for part in self._delta.parts(table, handle, self._options.spec)]

    def _commit(self, table: str, handle: DeltaTable, merge: Merge, made: Sequence[StagedFile]) -> None:
        """Put the new files in the old ones' place, if all of these are still in theirs, as they are in the handle."""
        where, version = self._delta.where(table), handle.version()
        entry, named = self._log.entry(table, version), set(self._paths(table, handle))
        old, new = {file.path for file in merge.files}, {file.final_path for file in made}
        if entry is None or not old <= named or new & named:
            raise _overtaken(where)
        _, run_id = self._declared(table, handle)
        columns = self._options.spec.columns
        change = Change(table, columns, names_of(run_id, table), made, removed=merge.files)
        stand = self._log.caught_up(Stand(version, entry, -1), change)
        if stand is None:
            raise _overtaken(where)
        self._check_stored(made)
        self._log.put(stand, change, int(self._clock.wall_seconds() * 1000))

    def _check_stored(self, made: Sequence[StagedFile]) -> None:
        for file in made:
            if self._storage.size(file.final_path) != file.size_bytes:
                raise StorageError("commit", file.final_path, "the merged file is cut short")

    # The log.

    def _plan_checkpoint(self, table: str) -> Sequence[Chore]:
        entries, checkpoint_bytes = self._delta.log.since_checkpoint(table)
        size_bytes = sum(entry.size_bytes for entry in entries)
        if len(entries) < _CHECKPOINT_COMMITS or size_bytes < _CHECKPOINT_FACTOR * checkpoint_bytes:
            return ()
        return [Chore("checkpoint", table, "", len(entries), size_bytes, 1)]

    def _sum_up(self, table: str, handle: DeltaTable) -> Done:
        if not self._plan_checkpoint(table):
            return Done()
        with delta_tables.changing("checkpoint", self._delta.where(table)):
            handle.create_checkpoint()
        self._crash("delta.summed-up")
        self._delta.log.sync_checkpoints(table)
        name = f"{handle.version():020d}.checkpoint.parquet"
        entries = self._storage.list(f"{table}/{LOG}", name[:-1])
        size_bytes = sum(entry.size_bytes for entry in entries if entry.name == name)
        return Done(files_written=1, bytes_written=size_bytes)

    def _plan_expiry(self, table: str, handle: DeltaTable) -> Sequence[Chore]:
        expired = self._expired(table)
        if not expired and not self._missing_properties(handle):
            return ()
        return [Chore("expire", table, "", len(expired), sum(expired.values()))]

    def _expired(self, table: str) -> dict[str, int]:
        before = self._clock.wall_seconds() - self.policy.keep_seconds
        return {entry.name: entry.size_bytes for entry in self._delta.log.expired(table, before)}

    def _missing_properties(self, handle: DeltaTable) -> dict[str, str]:
        """Of those that say how long the table keeps what, the ones that say something else than they should."""
        found = handle.metadata().configuration
        wanted = delta_tables.retention(self.policy.keep_seconds)
        return {name: value for name, value in wanted.items() if found.get(name) != value}

    def _expire(self, table: str, handle: DeltaTable) -> Done:
        where = self._delta.where(table)
        version = handle.version()
        if changed := self._missing_properties(handle):
            with delta_tables.committing(where):
                handle.alter.set_table_properties(changed)
            self._delta.log.sync_entries(table, after_version=version)
            handle = self._load(table) or handle
        self._crash("delta.retained")
        before = self._expired(table)
        if not before:
            return Done()
        self._delta.log.sync_checkpoints(table)
        with delta_tables.changing("clean up the log of", where):
            handle.cleanup_metadata()
        there = {entry.name for entry in self._storage.list(f"{table}/{LOG}")}
        removed = [size for name, size in before.items() if name not in there]
        return Done(files_removed=len(removed), bytes_removed=sum(removed))

    # Data files.

    def _unnamed(self, table: str, handle: DeltaTable) -> list[StoredFile]:
        """The data files that no version names which is kept, and no commit will name.

        The library tells what is not named, by the properties of the table. Of that, a file that was appended is
        done with once its slice is complete beyond its window, and so is one that a version has named; any other may
        be about to be committed for as long as `orphan_seconds`.
        """
        with delta_tables.reading(self._delta.where(table)):
            unnamed = set(handle.vacuum(dry_run=True, full=True))
            named_before = set(handle.vacuum(dry_run=True)) if unnamed else set[str]()
        if not unnamed:
            return []
        slots = self._slots(table, handle)
        found = [file for file in self._storage.walk(table) if file.path.removeprefix(f"{table}/") in unnamed]
        old = set(self._leftovers.old(found))
        return [
            file
            for file in found
            if file in old or file.path.removeprefix(f"{table}/") in named_before or _is_done_with(file.path, slots)
        ]

    def _vacuum(self, table: str, handle: DeltaTable) -> Done:
        files = [*self._unnamed(table, handle), *self._leftovers.find(table)]
        return self._leftovers.remove(files, lambda: self._crash("delta.vacuumed"))


def _is_done_with(path: str, slots: Mapping[Slice, int]) -> bool:
    """Whether a file is one that was staged for a window up to which its slice is complete: then it was committed, or
    another one was in its place.
    """
    made = parse_file_name(path)
    return made is not None and not is_merged_name(path) and made[1].end <= slots.get(made[0], made[1].first)


def _folder(table: str, path: str) -> str:
    return path.removeprefix(f"{table}/").rpartition("/")[0]


def _bytes(files: Iterable[StoredFile]) -> int:
    return sum(file.size_bytes for file in files)


def _overtaken(where: str) -> CommitConflictError:
    return CommitConflictError(
        f"somebody else has rewritten files of {where} that were to be put together", hint="plan it anew"
    )
