"""Delta Lake tables, exactly once, on a local disk or on S3.

See `writers.registering` for what all formats share.

    orders/_delta_log/00000000000000000042.json     a commit: the files it adds, and the progress it moves
    orders/year=2026/month=01/day=02/<window>-<slice>-<part>-<digest>.parquet

The compare-and-set. The library only *records* an application transaction (`writers.delta_progress`): one that repeats
a number lands as well. But it refuses a commit where another one has moved the same name since the version that its
handle stands at. So one handle is brought up to date, asked for the slot, and then commits, and nobody else touches it
in between. Commits of other slices, and compaction, pass without a conflict.

A handle goes on from what it has read before. If that was cleaned up or deleted, it shows only when something is read
again. Then the handle is dropped, and the next attempt begins with a new one, which knows if the table is there.

A commit says at which version it was made. So a table that was set back (`writers.delta_history`) is noticed before
anything more is written to it.

After a commit that failed in any way but a conflict, nobody knows whether it landed, unless the system said that it may
not write or has no room. It may also have landed and only the checkpoint after it failed.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, Transaction

from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    ForeignTableError,
    RolledBackError,
    StorageError,
    StorageNotFoundError,
)
from emitter.model import Slice, StagedFile, Table, TableCommit, TableProgress
from emitter.writers.base import advanced
from emitter.writers.delta import history as delta_history
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.history import LoggedCommit
from emitter.writers.delta.progress import DeltaProgress, names_of
from emitter.writers.delta.statistics import statistics_text
from emitter.writers.delta.tables import DeltaTables, partition_values
from emitter.writers.parts import Part
from emitter.writers.registering import FoundTable, RegisteringWriter, check_expected

_REBASES_MAX = 15  # by the library, where others commit to the same table
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

_UNKNOWN_FEATURES = "Unsupported table features"  # said as if it were a conflict


@dataclass(frozen=True, slots=True)
class _Handle:
    """The library's view of a table, and the log entry that made its version, if that was read: a table that somebody
    has made anew has another one there, or none.
    """

    table: DeltaTable
    credentials_version: int
    entry: bytes | None = None


class DeltaWriter(RegisteringWriter):
    """See the module."""

    format_name = "delta"
    unreadable = (r'[^!-~]|["#<=>?`{}]', "pl.scan_delta")
    progress_place = "transaction identifiers of its log"
    crash_points = ("delta.staged", "delta.created", "delta.checked", "delta.committed")
    own_folders = frozenset({delta_tables.LOG})

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._delta = DeltaTables(self.storage)
        self._handles: dict[str, _Handle] = {}
        self._guards: dict[str, threading.Lock] = {}  # one commit at a time to a table
        self._totals: dict[tuple[str, Slice], TableProgress] = {}  # as of this process's last commits
        self._looked_at: dict[str, int] = {}  # the version up to which a table was not set back

    def _find(self, table: str) -> FoundTable | None:
        with self._looked(table) as handle:
            return None if handle is None else self._delta.described(table, handle)

    def _declared(self, table: Table) -> FoundTable:
        partition = self.options.spec
        columns = delta_tables.declared_columns(table, partition)
        return FoundTable(self._run_id, columns, ", ".join(partition.columns))

    def _create(self, table: Table) -> None:
        self._delta.create(table, self._declared(table))

    def _adopt(self, table: Table) -> None:
        handle = self._delta.load(table.name)
        if handle is None:
            raise self._gone(table.name)
        with delta_tables.reading(self._delta.where(table.name)):
            if self._progress(table.name, handle, self._own_run_id()).all():
                raise self._replaced(table.name)
            handle.alter.set_table_properties({delta_tables.RUN_ID: self._own_run_id()}, raise_if_not_exists=False)

    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        with self._looked(table) as handle:
            run_id = None if handle is None else self._delta.described(table, handle).run_id
            if handle is None or run_id is None:
                return {}
            if self._run_id not in (None, run_id):
                raise ForeignTableError(
                    f"{self._delta.where(table)} belongs to run {run_id}, this is run {self._run_id}",
                    hint="choose another output.uri, or move what the other run has written away",
                )
            with delta_tables.reading(self._delta.where(table)):
                progress = self._progress(table, handle, run_id).all()
            if progress:
                self._look_for_rollback(table, handle, run_id)
            return progress

    @contextmanager
    def _looked(self, table: str) -> Iterator[DeltaTable | None]:
        """The table as it stands, None only where it is absent. To load it, or only to bring it up to date, takes the
        longer, the more it has been written to, and a start looks at it four times: so what was loaded is kept.
        """
        with self._guards.setdefault(table, threading.Lock()):
            known, version = self._handles.pop(table, None), self._delta.credentials_version()
            if known and known.credentials_version == version and self._is_newest(table, known):
                handle: DeltaTable | None = known.table
            else:
                handle = self._delta.load(table)
            yield handle
            if handle is not None:  # and nothing was wrong with it
                self._handles[table] = _Handle(handle, version, self._entry(table, handle.version()))

    def _is_newest(self, table: str, known: _Handle) -> bool:
        version = known.table.version()
        there = known.entry is not None and self._entry(table, version) == known.entry
        return there and self._entry(table, version + 1) is None

    def _entry(self, table: str, version: int) -> bytes | None:
        """The log entry that made a version; None where there is none, or none any more."""
        try:
            return self.storage.read(delta_tables.entry_path(table, version))
        except StorageNotFoundError:
            return None

    def _attempt(self, slice: Slice, commits: Sequence[TableCommit]) -> Mapping[str, TableProgress]:
        (commit,) = commits
        with self._guards.setdefault(commit.table, threading.Lock()):
            handle = self._newest(commit.table)
            after = self._compare_and_set(handle.table, slice, commit)
            self._handles[commit.table] = handle  # only one that nothing was wrong with
            self._totals[commit.table, slice] = after
        self._crash("delta.committed")
        return {commit.table: after}

    def _newest(self, table: str) -> _Handle:
        """A handle at the newest version, which nobody else has."""
        known, version = self._handles.pop(table, None), self._delta.credentials_version()
        if known is not None and known.credentials_version == version:
            with delta_tables.reading(self._delta.where(table)):
                known.table.update_incremental()
            return known
        handle = self._delta.load(table)
        if handle is None:
            raise self._gone(table)
        return _Handle(handle, version)

    def _compare_and_set(self, handle: DeltaTable, slice: Slice, commit: TableCommit) -> TableProgress:
        run_id, where = self._own_run_id(), self._delta.where(commit.table)
        found = self._delta.described(commit.table, handle)
        if found.run_id is None:
            raise self._replaced(commit.table)
        self._check_found(run_id, self._opened(commit.table), found)
        self._look_for_rollback(commit.table, handle, run_id)
        with delta_tables.reading(where):
            progress = self._progress(commit.table, handle, run_id)
            slot, before = progress.slot(slice), self._totals.get((commit.table, slice))
            if before is None or before.slot != slot:
                before = progress.of(slice)
            check_expected(slice, commit, before)
            after = advanced(before, commit)
            moves = progress.moves(slice, before, after)
        self._crash("delta.checked")
        self._commit(handle, commit, moves)
        self._delta.sync_log(commit.table, after_version=handle.version())
        return after

    def _commit(self, handle: DeltaTable, commit: TableCommit, moves: Mapping[str, int]) -> None:
        where, now_milliseconds = self._delta.where(commit.table), int(self._clock.wall_seconds() * 1000)
        try:
            handle.create_write_transaction(
                [_add_action(file, now_milliseconds) for file in commit.files],
                "append",
                handle.schema(),
                handle.metadata().partition_columns,
                commit_properties=CommitProperties(
                    custom_metadata={"readVersion": handle.version()},
                    max_commit_retries=_REBASES_MAX,
                    app_transactions=[Transaction(name, number) for name, number in moves.items()],
                ),
                # To look for entries to clean up is to list the whole log: not at every commit, as it would be.
                post_commithook_properties=PostCommitHookProperties(
                    cleanup_expired_logs=handle.version() % delta_tables.CHECKPOINT_COMMITS == 0
                ),
            )
        except CommitFailedError as error:
            if _UNKNOWN_FEATURES in str(error):
                raise ForeignTableError(
                    f"{where} cannot be written to: {delta_tables.reason(error)}",
                    hint="drop these features of the table, or choose another output.uri",
                ) from error
            raise CommitConflictError(
                f"another commit came before ours to {where}: {delta_tables.reason(error)}",
                hint="read the progress, and try again",
            ) from error
        except (DeltaError, OSError) as error:
            if delta_tables.system_code(error) in _CANNOT_WRITE or delta_tables.NO_RIGHTS in str(error):
                raise delta_tables.storage_error("commit to", where, error) from error
            raise CommitUnknownError(
                f"nobody knows whether a commit to {where} landed: {delta_tables.reason(error)}",
                hint="read the progress: start again, and it goes on from there",
            ) from error

    def paths_from(self, table: str, slot: int) -> Iterator[str]:
        with self._looked(table) as handle:
            return iter(self._delta.paths_from(table, handle, self.options.spec.path(slot)) if handle else ())

    @contextmanager
    def contents(self, table: Table) -> Iterator[Sequence[Part]]:
        handle = self._delta.load(table.name)
        yield [] if handle is None else self._delta.parts(table.name, handle, self.options.spec)

    def _progress(self, table: str, handle: DeltaTable, run_id: str) -> DeltaProgress:
        return DeltaProgress(run_id, table, handle.transaction_version)

    def _look_for_rollback(self, table: str, handle: DeltaTable, run_id: str) -> None:
        """Raises RolledBackError if there was one since this was looked for last."""

        def read(version: int) -> LoggedCommit | None:
            data, path = self._entry(table, version), delta_tables.entry_path(table, version)
            return None if data is None else delta_history.decode(data, path, names_of(run_id, table))

        newest = handle.version()
        version = delta_history.find_rollback(read, newest, self._looked_at.get(table, -1))
        if version is not None:
            raise RolledBackError(
                f"version {version} of {self._delta.where(table)} is a RESTORE, which took rows from it that it still"
                " says it has",
                hint=f"restore version {version - 1}, or move the table away and start again: it is made anew",
            )
        self._looked_at[table] = newest

    def _own_run_id(self) -> str:
        assert self._run_id is not None, "RegisteringWriter asks for no table that is not open"
        return self._run_id

    def _gone(self, table: str) -> StorageError:
        self._ready.discard(table)
        return StorageError("commit to", self._delta.where(table), "it is gone", hint="start again: it is made anew")

    def _replaced(self, table: str) -> RolledBackError:
        return RolledBackError(
            f"{self._delta.where(table)} still says how far this run has come in it, but not that it is this run's:"
            " somebody has replaced it",
            hint="move the table away and start again: it is made anew",
        )


WRITER = DeltaWriter


def _add_action(file: StagedFile, now_milliseconds: int) -> AddAction:
    return AddAction(
        file.final_path.removeprefix(f"{file.table}/"),
        file.size_bytes,
        partition_values(file.partition),
        now_milliseconds,
        True,  # these rows are new: a compaction says False
        statistics_text(file.rows, file.metadata),
    )
