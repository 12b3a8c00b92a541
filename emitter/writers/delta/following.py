"""The Delta tables that somebody looks at again and again, each as of the version that was read last.

The library reads all that came since the checkpoint whenever it loads a table, a tenth of a millisecond and more for
each commit. Here it loads a table once. After that every entry of the log is read once, as long as it only adds and
removes files and moves transactions. Where one does more, or is gone while there are later ones, the library looks at
the table anew.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import NamedTuple

from deltalake import DeltaTable

from emitter.model import Slice
from emitter.partitioning import PartitionSpec
from emitter.writers.delta import history
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.committing import DirectLog
from emitter.writers.delta.progress import DeltaProgress, names_of, recent_first
from emitter.writers.delta.tables import DeltaTables


class LiveFile(NamedTuple):
    """A data file that is in the table; `rows` is None where the log does not tell."""

    size_bytes: int
    rows: int | None


@dataclass(slots=True)
class Followed:
    """A table as of a version, and the log entry that made it. By paths in the output: `files` that are in the table,
    and those that were `removed` and of which the log still told when it was looked at first, or that were since, each
    with the unix time of that in seconds; `files` is None where there is more to read than those (deletion vectors).
    `numbers` are the application transactions of its run.
    `loaded` tells schema, protocol and properties, which are still the same.
    """

    name: str
    run_id: str | None
    version: int
    entry: bytes | None
    loaded: DeltaTable
    files: dict[str, LiveFile] | None
    numbers: dict[str, int]
    removed: dict[str, float] = field(default_factory=dict)

    @property
    def slots(self) -> dict[Slice, int]:
        """Up to where each slice of its run is complete."""
        if self.run_id is None:
            return {}
        progress = DeltaProgress(self.run_id, self.name, self.numbers.get).all()
        return {slice: each.slot for slice, each in progress.items()}


class Following:
    """Those of an output. Not safe in threads. Each look gives the same object, brought up to date."""

    def __init__(self, tables: DeltaTables, log: DirectLog, spec: PartitionSpec) -> None:
        self._delta, self._log, self._spec = tables, log, spec
        self._known: dict[str, Followed] = {}

    def look(self, table: str) -> Followed | None:
        """The table as it stands; None only where it is absent. Raises CommitConflictError where others moved what it
        was reading, StateError, StorageError.
        """
        known = self._known.pop(table, None)
        if known is None or not self._is_brought_up(table, known):
            handle = self._delta.load(table)
            known = self._begun(table, handle) if handle else None
        if known:  # and nothing was wrong with it
            self._known[table] = known
        return known

    def _begun(self, table: str, handle: DeltaTable) -> Followed:
        files: dict[str, LiveFile] | None = None
        if self._delta.is_readable(handle):
            parts = self._delta.parts(table, handle, self._spec)
            files = {part.name: LiveFile(part.size_bytes or 0, part.rows) for part in parts}
        numbers: dict[str, int] = {}
        run_id = handle.metadata().configuration.get(delta_tables.RUN_ID)
        if run_id is not None:
            read, checkpoint = self._log.commits(run_id, table), self._delta.log.checkpoint_version(table)
            find = recent_first(read, handle.version(), checkpoint, handle.transaction_version)

            def lookup(name: str) -> int | None:
                number = find(name)
                if number is not None:
                    numbers[name] = number
                return number

            with delta_tables.reading(self._delta.where(table)):
                DeltaProgress(run_id, table, lookup).all()
        entry = self._log.entry(table, handle.version()) if self._delta.is_plain(handle) else None
        removed = {} if files is None else self._removed(table, handle.version(), files)
        return Followed(table, run_id, handle.version(), entry, handle, files, numbers, removed)

    def _removed(self, table: str, version: int, files: Container[str]) -> dict[str, float]:
        """Those that the log still tells of, up to a version; none where that takes more than to read it."""
        told = self._delta.log.told_removed(table)
        if told is None:
            return {}
        checkpoint_version, found = told
        for each in range(checkpoint_version + 1, version + 1):
            entry = self._log.entry(table, each)
            moved = None if entry is None else history.moved_files(entry, delta_tables.entry_path(table, each))
            if moved is None:
                return {}
            found |= moved.removed
        times = {f"{table}/{name}": time for name, time in found.items() if not history.is_escaped(name)}
        return {path: time for path, time in times.items() if path not in files}

    def _is_brought_up(self, table: str, known: Followed) -> bool:
        """Whether all that came since could be taken in."""
        if known.entry is None or known.files is None or self._log.entry(table, known.version) != known.entry:
            return False
        while True:
            entry = self._log.entry(table, known.version + 1)
            if entry is None:
                if not self._delta.log.has_after(table, known.version):
                    return True
                entry = self._log.entry(table, known.version + 1)  # it may have come just now
            if entry is None:
                return False  # a clean-up has removed it: what is behind it only the library finds
            path = delta_tables.entry_path(table, known.version + 1)
            commit = history.decode(entry, path, names_of(known.run_id or "", table))
            moved = history.moved_files(entry, path)
            if not commit.is_plain or moved is None:
                return False
            for name, time_seconds in moved.removed.items():
                known.files.pop(f"{table}/{name}", None)
                known.removed[f"{table}/{name}"] = time_seconds
            for name, file in moved.added.items():
                known.files[f"{table}/{name}"] = LiveFile(*file)
                known.removed.pop(f"{table}/{name}", None)
            known.numbers.update(commit.moved)
            known.version, known.entry = known.version + 1, entry
