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

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import ClassVar

from deltalake import DeltaTable

from emitter.clock import Clock
from emitter.errors import CommitConflictError, StorageError, StorageNotFoundError
from emitter.merging import merged
from emitter.model import Slice, StagedFile, Table
from emitter.storage.base import Storage, StoredFile
from emitter.writers import merges
from emitter.writers.base import CrashHook, WriterOptions, is_merged_name, parse_file_name
from emitter.writers.delta import summing
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.committing import Change, DirectLog, Stand
from emitter.writers.delta.following import Followed, Following
from emitter.writers.delta.log import LAST, LOG
from emitter.writers.delta.progress import names_of
from emitter.writers.delta.tables import DeltaTables
from emitter.writers.leftovers import Leftovers
from emitter.writers.merges import Merge
from emitter.writers.parts import missing
from emitter.writers.upkeep import Chore, Done, Task, Upkeep, UpkeepPolicy

Declared = Callable[[str, DeltaTable], tuple[Table, str]]
"""The table of a name as this run declares it, and the run. Raises StateError where what is there is another's."""

_CHECKPOINT_COMMITS = 10  # since the last one, at least
_CHECKPOINT_FACTOR = 2  # and so much longer than it: so that all checkpoints together are shorter than the commits
_LEAST_BYTES = 15_000  # of any checkpoint
_FILE_BYTES, _REMOVED_BYTES = 600, 140  # what a file takes in it, and one that was removed of late


class DeltaUpkeep(Upkeep):
    """See the module. Every step looks at the table as it stands."""

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
        following: Following,
        declared: Declared,
    ) -> None:
        super().__init__(policy)
        self._storage, self._delta, self._options = storage, tables, options
        self._clock, self._crash, self._declared = clock, crash_hook, declared
        self._log = DirectLog(storage)
        self._following = following
        self._planned: dict[str, list[Merge]] = {}
        self._leftovers = Leftovers(storage, policy.orphan_seconds, clock)

    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        known = self._look(table)
        if known is None:
            return ()
        match task:
            case "compact":
                self._planned[table] = planned = self._merges(known)
                return [merge.chore(table, self.policy.file_rows_target) for merge in planned]
            case "checkpoint":
                return self._plan_checkpoint(known)
            case "expire":
                return self._plan_expiry(known)
            case "vacuum":
                files = [*self._unnamed(known), *self._leftovers.find(table)]
                return [Chore("vacuum", table, "", len(files), _bytes(files))] if files else ()

    def apply(self, chore: Chore) -> Done:
        match chore.task:
            case "compact":
                return self._compact(chore)
            case "checkpoint":
                return self._sum_up(chore.table)
            case "expire":
                return self._expire(chore.table)
            case "vacuum":
                return self._vacuum(chore.table)

    def _look(self, table: str) -> Followed | None:
        """The table as it stands, if it is there and ours to write to. Raises StateError."""
        known = self._following.look(table)
        if known is not None:
            self._declared(table, known.loaded)
        return known

    def _load(self, table: str) -> DeltaTable | None:
        """The same, as the library has it."""
        handle = self._delta.load(table)
        if handle is not None:
            self._declared(table, handle)
        return handle

    # Compaction.

    def _merges(self, known: Followed) -> list[Merge]:
        if known.files is None or not self._delta.is_plain(known.loaded):
            return []  # a feature may ask for more than to name the files
        small = (
            merges.small_file(path, _folder(known.name, path), file.rows, file.size_bytes)
            for path, file in known.files.items()
        )
        files = [file for file in small if file]
        if len(files) < 2:
            return []
        return merges.choose(files, known.slots, self._options.spec, self.policy)

    def _asked(self, chore: Chore) -> Merge | None:
        """A merge that the partition asks for: one that was planned, as the commit sees whether its files are still
        there; else, or where that was tried before, one that is asked for by now.
        """
        planned = self._planned.get(chore.table, [])
        asked = [merge for merge in planned if merge.partition == chore.partition]
        if not asked:
            known = self._look(chore.table)
            planned = self._merges(known) if known else []
            asked = [merge for merge in planned if merge.partition == chore.partition]
        if not asked:
            return None
        merge = min(asked, key=lambda each: abs(len(each.files) - chore.files))
        planned.remove(merge)
        return merge

    def _compact(self, chore: Chore) -> Done:
        merge, known = self._asked(chore), self._look(chore.table)
        if merge is None or known is None:
            return Done()
        try:
            declared, _ = self._declared(chore.table, known.loaded)
            made = self._merge(declared, merge)
        except StorageNotFoundError as error:
            self._check_still_there(chore.table, merge, error)
            raise
        self._crash("delta.merged")
        self._commit(chore.table, merge, made)
        self._crash("delta.compacted")
        return merge.done(made)

    def _merge(self, table: Table, merge: Merge) -> list[StagedFile]:
        return list(merged(self._storage, table, self._options, self.policy.file_rows_target, merge))

    def _check_still_there(self, table: str, merge: Merge, error: StorageNotFoundError) -> None:
        """A file is gone: somebody has compacted and vacuumed meanwhile, or the table is broken."""
        known = self._look(table)
        if known is None or not {file.path for file in merge.files} <= _paths(known):
            raise _overtaken(self._delta.where(table)) from error
        raise missing(str(error.path)) from error

    def _commit(self, table: str, merge: Merge, made: Sequence[StagedFile]) -> None:
        """Put the new files in the old ones' place, if all of these are in the table as it stands now, and none of
        those. What comes after that look the log tells.
        """
        known = self._look(table)
        old, new = {file.path for file in merge.files}, {file.final_path for file in made}
        if known is None or known.entry is None or not old <= _paths(known) or new & _paths(known):
            raise _overtaken(self._delta.where(table))
        _, run_id = self._declared(table, known.loaded)
        columns = self._options.spec.columns
        change = Change(table, columns, names_of(run_id, table), made, removed=merge.files)
        self._check_stored(made)
        stand = Stand(known.version, known.entry, -1)
        self._log.put(stand, change, int(self._clock.wall_seconds() * 1000))

    def _check_stored(self, made: Sequence[StagedFile]) -> None:
        for file in made:
            if self._storage.size(file.final_path) != file.size_bytes:
                raise StorageError("commit", file.final_path, "the merged file is cut short")

    # The log.

    def _plan_checkpoint(self, known: Followed) -> Sequence[Chore]:
        entries, checkpoint_bytes = self._delta.log.since_checkpoint(known.name)
        size_bytes = sum(entry.size_bytes for entry in entries)
        if len(entries) < _CHECKPOINT_COMMITS:
            return ()
        if size_bytes < _CHECKPOINT_FACTOR * checkpoint_bytes:
            next_bytes = self._next_checkpoint_bytes(known)
            if next_bytes is None or size_bytes < _CHECKPOINT_FACTOR * next_bytes:
                return ()
        return [Chore("checkpoint", known.name, "", len(entries), size_bytes, 1)]

    def _next_checkpoint_bytes(self, known: Followed) -> int | None:
        """About what the next one takes, but for what was removed since the last one, of which the entries tell at
        greater length: where the last one tells of much that is gone by now, all readers would go on reading that.
        """
        since = self._clock.wall_seconds() - self.policy.keep_seconds
        told = None if known.files is None else self._delta.log.told_removed(known.name)
        if told is None or told[0] < 0:
            return None
        removed = sum(time_seconds >= since for time_seconds in told[1].values())
        return _LEAST_BYTES + _FILE_BYTES * len(_paths(known)) + _REMOVED_BYTES * removed

    def _sum_up(self, table: str) -> Done:
        known = self._look(table)
        if known is None or not self._plan_checkpoint(known):
            return Done()
        last = self._delta.log.checkpoint_version(table)
        paths = {path.removeprefix(f"{table}/") for path in _paths(known)}
        is_plain = known.entry is not None
        made = summing.checkpoint_of(self._storage, table, last, known.version, paths) if is_plain else None
        if made is None:
            return self._sum_up_by_library(table)
        self._storage.replace(f"{table}/{LOG}/{summing.checkpoint_name(known.version)}", made[0])
        self._crash("delta.summed-up")
        if self._delta.log.checkpoint_version(table) < known.version:
            self._storage.replace(f"{table}/{LOG}/{LAST}", made[1])
        return Done(files_written=1, bytes_written=len(made[0]))

    def _sum_up_by_library(self, table: str) -> Done:
        handle = self._load(table)
        if handle is None:
            return Done()
        with delta_tables.changing("checkpoint", self._delta.where(table)):
            handle.create_checkpoint()
        self._crash("delta.summed-up")
        self._delta.log.sync_checkpoints(table)
        return Done(
            files_written=1,
            bytes_written=self._storage.size(f"{table}/{LOG}/{summing.checkpoint_name(handle.version())}"),
        )

    def _plan_expiry(self, known: Followed) -> Sequence[Chore]:
        expired = self._expired(known.name)
        if not expired and not self._missing_properties(known.loaded):
            return ()
        return [Chore("expire", known.name, "", len(expired), sum(expired.values()))]

    def _expired(self, table: str) -> dict[str, int]:
        before = self._clock.wall_seconds() - self.policy.keep_seconds
        return {entry.name: entry.size_bytes for entry in self._delta.log.expired(table, before)}

    def _missing_properties(self, handle: DeltaTable) -> dict[str, str]:
        """Of those that say how long the table keeps what, the ones that say something else than they should."""
        found = handle.metadata().configuration
        wanted = delta_tables.retention(self.policy.keep_seconds)
        return {name: value for name, value in wanted.items() if found.get(name) != value}

    def _expire(self, table: str) -> Done:
        known = self._look(table)
        if known is None:
            return Done()
        if changed := self._missing_properties(known.loaded):
            self._set_properties(table, changed)
        self._crash("delta.retained")
        expired = self._expired(table)
        if expired:
            self._delta.log.sync_checkpoints(table)
        for name in sorted(expired):  # the oldest first: wherever this ends, no gap is left
            self._storage.remove(f"{table}/{LOG}/{name}")
        return Done(files_removed=len(expired), bytes_removed=sum(expired.values()))

    def _set_properties(self, table: str, properties: dict[str, str]) -> None:
        handle = self._load(table)
        if handle is None:
            return
        version = handle.version()
        with delta_tables.committing(self._delta.where(table)):
            handle.alter.set_table_properties(properties)
        self._delta.log.sync_entries(table, after_version=version)

    # Data files.

    def _unnamed(self, known: Followed) -> list[StoredFile]:
        """The data files that no version names which is kept, and no commit will name. Raises ForeignTableError where
        it takes more to know those.
        """
        if known.files is None:
            raise self._delta.unreadable(known.name)
        there = [file for file in self._storage.walk(known.name) if file.path not in known.files]
        before, slots = self._clock.wall_seconds() - self.policy.keep_seconds, known.slots
        if self._missing_properties(known.loaded) or any(self._is_unknown(file, known, slots) for file in there):
            return self._unnamed_by_library(known, there)
        found = [file for file in there if known.removed.get(file.path, math.inf) < before]
        for path in known.removed.keys() - {file.path for file in there}:
            del known.removed[path]
        return found

    def _is_unknown(self, file: StoredFile, known: Followed, slots: Mapping[Slice, int]) -> bool:
        """Whether it takes the whole log to tell what has become of a file that is not in the table: it was not removed
        since that is followed, and not staged just now.
        """
        if file.path in known.removed or _is_hidden(file.path):
            return False
        made = parse_file_name(file.path)
        is_staged = made is not None and not is_merged_name(file.path) and not _is_done_with(file.path, slots)
        return bool(self._leftovers.old([file])) or (file.path.endswith(".parquet") and not is_staged)

    def _unnamed_by_library(self, known: Followed, there: Sequence[StoredFile]) -> list[StoredFile]:
        """The library tells what is not named, by the properties of the table. Of that, a file that was appended is
        done with once its slice is complete beyond its window, and so is one that a version has named; any other may
        be about to be committed for as long as `orphan_seconds`.
        """
        handle = self._load(known.name)
        if handle is None:
            return []
        with delta_tables.reading(self._delta.where(known.name)):
            unnamed = set(handle.vacuum(dry_run=True, full=True))
            named_before = set(handle.vacuum(dry_run=True)) if unnamed else set[str]()
        names = {file: file.path.removeprefix(f"{known.name}/") for file in there}
        found = [file for file in there if names[file] in unnamed]
        old, slots = set(self._leftovers.old(found)), known.slots
        return [file for file in found if file in old or names[file] in named_before or _is_done_with(file.path, slots)]

    def _vacuum(self, table: str) -> Done:
        known = self._look(table)
        files = [*(self._unnamed(known) if known else ()), *self._leftovers.find(table)]
        return self._leftovers.remove(files, lambda: self._crash("delta.vacuumed"))


def _paths(known: Followed) -> Set[str]:
    """Of its data files, where they are all there is to read."""
    return known.files.keys() if known.files is not None else set()


def _is_hidden(path: str) -> bool:
    """Whether nobody takes a file of a table's folder for one of data, nor for a change."""
    folders = path.split("/")[1:]
    return any(name[0] in "._" for name in folders) and not folders[0].startswith("_change_data")


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
