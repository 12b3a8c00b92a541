"""Delta Lake tables, exactly once, on a local disk or on S3.

See `writers.registering` for what all formats share.

    orders/_delta_log/00000000000000000042.json     a commit: the files it adds, and the progress it moves
    orders/year=2026/month=01/day=02/<window>-<slice>-<part>-<digest>.parquet

The compare-and-set. The first commit of a slice goes by the library, which only *records* an application transaction
(`writers.delta_progress`): one that repeats a number lands as well. But it refuses a commit where another one has moved
the same name since the version that its handle stands at. So one handle is brought up to date, asked for the slot, and
then commits, and nobody else touches it in between. Those that follow write the log themselves (`delta.committing`).
Commits of other slices, and compaction, pass without a conflict.

A handle goes on from what it has read before. If that was cleaned up or deleted, it shows only when something is read
again. Then the handle is dropped, and the next attempt begins with a new one, which knows if the table is there.

A commit says at which version it was made. So a table that was set back (`writers.delta_history`) is noticed before
anything more is written to it.

After a commit that failed in any way but a conflict, nobody knows whether it landed, unless the system said that it may
not write or has no room. It may also have landed and only the checkpoint after it failed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction, Transaction

from emitter.errors import (
    ForeignTableError,
    RolledBackError,
    StorageError,
)
from emitter.model import Slice, StagedFile, Table, TableCommit, TableProgress, TableSize
from emitter.writers.base import advanced
from emitter.writers.delta import history as delta_history
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.committing import Change, DirectLog, Stand
from emitter.writers.delta.following import Following
from emitter.writers.delta.log import LOG
from emitter.writers.delta.progress import DeltaProgress, names_of, recent_first
from emitter.writers.delta.statistics import statistics_text
from emitter.writers.delta.tables import DeltaTables, partition_values
from emitter.writers.parts import Part
from emitter.writers.registering import FoundTable, RegisteringWriter, check_expected
from emitter.writers.upkeep import Upkeep, UpkeepPolicy

if TYPE_CHECKING:
    from emitter.duck import Connection

_AGAIN_COMMITS = 20
_REBASES_MAX = 15  # by the library, where others commit to the same table


@dataclass(frozen=True, slots=True)
class _Handle:
    """The library's view of a table; the checkpoint that it goes on from, or a newer one that it has not noticed; and
    the log entry that made its version, if that was read: a table that somebody has made anew has another one there,
    or none.
    """

    table: DeltaTable
    credentials_version: int
    checkpoint_version: int
    entry: bytes | None = None


class DeltaWriter(RegisteringWriter):
    """See the module."""

    format_name = "delta"
    unreadable = (r'[^!-~]|["#<=>?`{}]', "pl.scan_delta")
    progress_place = "transaction identifiers of its log"
    crash_points = ("delta.staged", "delta.created", "delta.checked", "delta.committed")
    own_folders = frozenset({LOG})

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._delta = DeltaTables(self.storage)
        self._handles: dict[str, _Handle] = {}
        # What was found at a version: a start asks several times, and the library reads long for each name.
        self._seen: dict[str, tuple[DeltaTable, int, Mapping[Slice, TableProgress]]] = {}
        self._guards: dict[str, threading.Lock] = {}  # one commit at a time to a table
        self._totals: dict[tuple[str, Slice], TableProgress] = {}  # as of this process's last commits
        self._log = DirectLog(self.storage)
        # Of a slice, as what is known of one says nothing of what others have done to the next.
        self._stands: dict[tuple[str, Slice], Stand] = {}
        self._looked_at: dict[str, int] = {}  # the version up to which a table was not set back
        self._overdue_since: dict[str, float] = {}  # in monotonic seconds, of a table's checkpoint
        self._following: Following | None = None  # of who looks after the tables

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
            seen = self._seen.pop(table, None)
            if seen and seen[0] is handle and seen[1] == handle.version():
                progress = seen[2]
            else:
                with delta_tables.reading(self._delta.where(table)):
                    progress = self._progress(table, handle, run_id).all()
            if progress:
                self._look_for_rollback(table, handle, run_id)
            self._seen[table] = handle, handle.version(), progress
            return progress

    @contextmanager
    def _looked(self, table: str) -> Iterator[DeltaTable | None]:
        """The table as it stands, None only where it is absent. To load it, or only to bring it up to date, takes the
        longer, the more it has been written to, and a start looks at it four times: so what was loaded is kept.
        """
        with self._guards.setdefault(table, threading.Lock()):
            known, version = self._handles.pop(table, None), self._delta.credentials_version()
            if known and (known.credentials_version != version or not self._is_newest(table, known)):
                known = None
            known = known or self._load(table)
            yield known.table if known else None
            if known:  # and nothing was wrong with it
                self._handles[table] = replace(known, entry=self._log.entry(table, known.table.version()))

    def _load(self, table: str) -> _Handle | None:
        credentials_version = self._delta.credentials_version()
        checkpoint_version = self._delta.log.checkpoint_version(table)  # first: a newer one is taken up as well
        handle = self._delta.load(table)
        return _Handle(handle, credentials_version, checkpoint_version) if handle else None

    def _is_newest(self, table: str, known: _Handle) -> bool:
        version = known.table.version()
        there = known.entry is not None and self._log.entry(table, version) == known.entry
        return there and self._log.entry(table, version + 1) is None

    def _attempt(self, slice: Slice, commits: Sequence[TableCommit]) -> Mapping[str, TableProgress]:
        (commit,) = commits
        with self._guards.setdefault(commit.table, threading.Lock()):
            after = self._append(slice, commit)
            if after is None:
                handle = self._newest(commit.table)
                after = self._compare_and_set(handle, slice, commit)
                self._remember(commit.table, slice, handle)  # only one that nothing was wrong with
            self._totals[commit.table, slice] = after
            self._crash("delta.committed")
            self._sum_up(commit.table, slice)
        return {commit.table: after}

    def _append(self, slice: Slice, commit: TableCommit) -> TableProgress | None:
        """Commit by what is known since the last commit (`delta.committing`); None where too little is known."""
        key = commit.table, slice
        stand, before = self._stands.pop(key, None), self._totals.get(key)
        if stand is None or before is None or before.slot != commit.expected_slot:
            return None
        run_id = self._own_run_id()
        after = advanced(before, commit)
        names = names_of(run_id, commit.table)
        moves = DeltaProgress(run_id, commit.table, lambda _: None).moves(slice, before, after)
        columns = self.options.spec.columns
        change = Change(commit.table, columns, names, commit.files, moves, {f"{names}{slice}": before.slot})
        caught_up = self._log.caught_up(stand, change)
        if caught_up is None:
            return None
        self._crash("delta.checked")
        landed = self._log.put(caught_up, change, int(self._clock.wall_seconds() * 1000))
        self._stands[key] = landed
        self._looked_at[commit.table] = landed.version
        return after

    def _remember(self, table: str, slice: Slice, handle: _Handle) -> None:
        """What the next commit can go by: the version that was looked at, as others may have come since."""
        self._handles[table] = handle
        version = handle.table.version()
        entry = self._log.entry(table, version)
        if entry is not None and self._delta.is_plain(handle.table):
            self._stands[table, slice] = Stand(version, entry, handle.checkpoint_version)

    def _sum_up(self, table: str, slice: Slice) -> None:
        """Make a checkpoint, and clean up the log, where nobody has for long: upkeep does, where there is any."""
        stand = self._stands.get((table, slice))
        if stand is None or stand.version - stand.checkpoint_version < delta_tables.CHECKPOINT_COMMITS:
            return
        checkpoint_version = self._delta.log.checkpoint_version(table)
        # Where it fails, the rows are in all the same, and it is tried again some commits later.
        later = stand.version - delta_tables.CHECKPOINT_COMMITS + _AGAIN_COMMITS
        self._stands[table, slice] = replace(stand, checkpoint_version=max(checkpoint_version, later))
        if stand.version - checkpoint_version < delta_tables.CHECKPOINT_COMMITS:
            self._overdue_since.pop(table, None)
            return
        now_seconds = self._clock.monotonic_seconds()
        if now_seconds - self._overdue_since.setdefault(table, now_seconds) < delta_tables.CHECKPOINT_GRACE_SECONDS:
            return
        handle = self._delta.load(table)
        if handle is None:
            raise self._gone(table)
        with delta_tables.changing("sum up the log of", self._delta.where(table)):
            handle.create_checkpoint()
            self._delta.log.sync_checkpoints(table)
            handle.cleanup_metadata()
        del self._overdue_since[table]
        self._stands[table, slice] = replace(stand, checkpoint_version=handle.version())

    def _newest(self, table: str) -> _Handle:
        """A handle at the newest version, which nobody else has."""
        known = self._handles.pop(table, None)
        # A handle goes on for ever from the checkpoint that it was loaded with, and reads all that came since.
        if (
            known
            and known.credentials_version == self._delta.credentials_version()
            and self._delta.log.checkpoint_version(table) <= known.checkpoint_version
        ):
            with delta_tables.reading(self._delta.where(table)):
                known.table.update_incremental()
            return known
        loaded = self._load(table)
        if loaded is None:
            raise self._gone(table)
        return loaded

    def _compare_and_set(self, known: _Handle, slice: Slice, commit: TableCommit) -> TableProgress:
        """The same by the library, which reads all that counts."""
        handle = known.table
        where = self._delta.where(commit.table)
        _, run_id = self._ours(commit.table, handle)
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
        self._delta.log.sync_entries(commit.table, after_version=handle.version())
        return after

    def _commit(self, handle: DeltaTable, commit: TableCommit, moves: Mapping[str, int]) -> None:
        where, now_milliseconds = self._delta.where(commit.table), int(self._clock.wall_seconds() * 1000)
        with delta_tables.committing(where):
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
                post_commithook_properties=delta_tables.NO_HOOKS,
            )

    def paths_from(self, table: str, slot: int) -> Iterator[str]:
        with self._looked(table) as handle:
            return iter(self._delta.paths_from(table, handle, self.options.spec.path(slot)) if handle else ())

    @contextmanager
    def contents(self, table: Table) -> Iterator[Sequence[Part]]:
        handle = self._delta.load(table.name)
        yield [] if handle is None else self._delta.parts(table.name, handle, self.options.spec)

    def relation(self, connection: Connection, table: Table) -> str | None:
        from emitter.duck import load, quoted

        handle = self._delta.load(table.name)
        if handle is None:
            return None
        load(connection, "delta", extra="sql", needed_for="SQL over Delta tables")
        path = f"{self.storage.folder or self.storage.uri}/{table.name}"
        return f"delta_scan({quoted(path)}, version = {handle.version()})"

    def upkeep(self, policy: UpkeepPolicy) -> Upkeep:
        from emitter.writers.delta.upkeep import DeltaUpkeep  # the encoder stands above the writers

        options, clock, crash = self.options, self._clock, self._crash
        self._following = following = Following(self._delta, self._log, options.spec)
        return DeltaUpkeep(policy, self.storage, self._delta, options, clock, crash, following, self._ours)

    def size(self, table: str) -> TableSize:
        if self._following:
            known = self._following.look(table)
            if known and known.files is None:
                raise self._delta.unreadable(table)
            sizes = [file.size_bytes for file in known.files.values()] if known and known.files else []
            return TableSize(len(sizes), sum(sizes))
        with self._looked(table) as handle:
            files = self._delta.parts(table, handle, self.options.spec) if handle else []
        return TableSize(len(files), sum(file.size_bytes or 0 for file in files))

    def _progress(self, table: str, handle: DeltaTable, run_id: str) -> DeltaProgress:
        read, checkpoint = self._log.commits(run_id, table), self._delta.log.checkpoint_version(table)
        lookup = recent_first(read, handle.version(), checkpoint, handle.transaction_version)
        return DeltaProgress(run_id, table, lookup)

    def _look_for_rollback(self, table: str, handle: DeltaTable, run_id: str) -> None:
        """Raises RolledBackError if there was one since this was looked for last."""
        newest, looked_at = handle.version(), self._looked_at.get(table, -1)
        version = delta_history.find_rollback(self._log.commits(run_id, table), newest, looked_at)
        if version is not None:
            raise RolledBackError(
                f"version {version} of {self._delta.where(table)} is a RESTORE, which took rows from it that it still"
                " says it has",
                hint=f"restore version {version - 1}, or move the table away and start again: it is made anew",
            )
        self._looked_at[table] = newest

    def _ours(self, table: str, handle: DeltaTable) -> tuple[Table, str]:
        """The table as it is declared, and the run. Raises StateError where what is there is not this run's."""
        declared, run_id, found = self._opened(table), self._own_run_id(), self._delta.described(table, handle)
        if found.run_id is None:
            raise self._replaced(table)
        self._check_found(run_id, declared, found)
        return declared, run_id

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
