"""DuckLake: files that a catalogue in SQLite or Postgres registers, all tables of a batch in one snapshot.

    ducklake.sqlite                             the catalogue, unless output.catalog.uri names another
    _emitter.progress_0_of_1                    in it: what each table says of slice 0 of 1
    orders/year=2026/month=01/day=02/...        the files, as in every format

A commit moves all tables of a batch, each from slot a to its slot b, in one transaction:

1.  The progress table is read, unless our own last commit has left it at a. Each row must say a, or this writer was
    overtaken.
2.  Every table must be there, and ours: its comment carries the run's identity, since the act that created it. A table
    that was dropped, and perhaps made anew, lacks it while its progress remains.
3.  The files are registered by `ducklake_add_data_files`, which reads their footers: statistics of every column, and
    the partition from the path. It would register a file twice, and double its rows, without a word.
4.  `UPDATE ... WHERE slot = a` must change one row per table: with DuckLake's rule that of two concurrent updates of a
    table one fails, this is the compare-and-set.
5.  COMMIT makes the one snapshot. DuckLake itself repeats it where another commit took the snapshot's number, once it
    has seen that the other touched none of the same progress rows.

A row of the progress table is made before, in a transaction of its own, so that the first commit too is an update. So a
row that is not there is a conflict with whoever moves the rows about just now, and is looked for again.
A crash anywhere leaves the snapshot before or the one after, and files that no snapshot names.

A file's path is registered in full, as DuckLake knows relative ones only below a folder per schema (`main/`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import duckdb

from emitter.duck import TYPES, Connection, identifier, quoted
from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    ConfigurationError,
    Fault,
    RolledBackError,
)
from emitter.model import Column, Slice, StagedFile, Table, TableCommit, TableProgress, TableSize
from emitter.storage.local import LocalStorage
from emitter.storage.objects import ObjectStorage
from emitter.writers.base import advanced
from emitter.writers.ducklake import catalog
from emitter.writers.ducklake import files as lake_files
from emitter.writers.ducklake.connection import DEFAULT_NAME, LAKE, Lake, catalog_place, full_path
from emitter.writers.ducklake.output import Output
from emitter.writers.ducklake.reading import LakeReader
from emitter.writers.ducklake.turns import Turns
from emitter.writers.ducklake.upkeep import DuckLakeUpkeep
from emitter.writers.parts import Part
from emitter.writers.registering import ATTEMPTS_MAX, FoundTable, RegisteringWriter, check_expected
from emitter.writers.upkeep import Upkeep, UpkeepPolicy

_DEFAULT_NAMESPACE = "main"
_WAIT_SECONDS = 0.05
_LOOKS_MAX = 5
_COMMITS_PER_PRUNING = 200
_CATALOG_TYPES = {  # ours, as DuckLake's catalogue has them
    "int32": "int32",
    "int64": "int64",
    "float64": "float64",
    "bool": "boolean",
    "string": "varchar",
    "timestamp": "timestamptz",
    "money": "decimal(12,2)",
}


class DuckLakeWriter(RegisteringWriter):
    """See the module."""

    format_name = "ducklake"
    progress_place = "table of that slice in the schema _emitter"
    commits_together = True
    crash_points = (
        "ducklake.staged",
        "ducklake.created",
        "ducklake.checked",
        "ducklake.registered",
        "ducklake.committed",
    )

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        storage, configured = self.storage, self._catalog_config
        self._schema = configured.namespace or _DEFAULT_NAMESPACE
        # The lake remembers where its files are, so that must mean the same from any working directory.
        self._root = full_path(storage.root) if isinstance(storage, LocalStorage) else storage.uri
        self._check_names()
        default = f"{self._root}/{DEFAULT_NAME}" if isinstance(storage, LocalStorage) else None
        access = storage.access if isinstance(storage, ObjectStorage) else None
        self._lake = Lake(catalog_place(configured.uri, default), f"{self._root}/", access)
        is_shared = self._lake.place.sqlite_path and storage.has_locks
        self._turns = Turns(storage if is_shared else None, self._clock)
        self._reader = LakeReader(self._lake, self._root, self._schema, self.options.spec)
        self._commits = 0
        self._known: dict[tuple[Slice, str], TableProgress] = {}  # what our own last commits have left
        self._begun: set[tuple[Slice, str]] = set()  # (slice, table) that have a row: this writer has seen to it
        self._seen: set[tuple[Slice, str]] = set()  # those that it has found one of

    def _check_names(self) -> None:
        if self._schema.lower() == catalog.PROGRESS_SCHEMA:
            raise ConfigurationError(
                [Fault("output.catalog.namespace", self._schema, f"another name: {self._schema} holds the progress")]
            )
        named = tuple(f"{column}=" for column in self.options.spec.columns)
        if any(folder.startswith(named) for folder in self._root.split("/")):
            raise ConfigurationError(
                [Fault("output.uri", self._root, "no folder like year=2026: DuckLake takes it for the partition")]
            )
        # DuckLake fills such brackets in its own SQL ({METADATA_CATALOG}), and takes \ for the end of a folder's name.
        if re.search(r"\{[A-Z_]+\}|\\", self._root):
            raise ConfigurationError([Fault("output.uri", repr(self._root), "a name without \\ and {NAMES} like this")])

    def check(self) -> None:
        super().check()
        with self._lake.session("reach"):
            pass

    def close(self) -> None:
        self._lake.close()

    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        return self._found_progress(table)

    def recover(self, slice: Slice, table: str) -> TableProgress | None:
        self._ready.discard(table)
        return self._found_progress(table, slice).get(slice)

    def _found_progress(self, table: str, to_begin: Slice | None = None) -> Mapping[Slice, TableProgress]:
        """The progress of all slices. `to_begin`: one that is to be brought, so that to miss its row would do harm."""
        key, known = self._key(table), self._begun | self._seen
        for look in range(_LOOKS_MAX):
            if look:
                self._clock.wait(self._never, _WAIT_SECONDS)
            rows = self._progress_rows(table)
            absent = [slice for slice, each in rows.items() if key not in each]
            # A progress table is made with rows in it: none at all, or one less, are on their way just now.
            if not any(slice == to_begin or not rows[slice] or (slice, table) in known for slice in absent):
                break  # else it has not begun there
        missing = [slice for slice in absent if (slice, table) in known]
        if missing:
            raise self._moved_about(missing[0], table)
        self._seen.update((slice, table) for slice in rows.keys() - absent)
        stands = {slice: each.get(key) for slice, each in rows.items()}
        return {slice: progress for slice, progress in stands.items() if progress}

    def _progress_rows(self, table: str) -> dict[Slice, dict[str, TableProgress | None]]:
        """What all slices have recorded, of which this table must be there if it is in it."""
        with self._lake.session("read the progress in") as cursor:
            if cursor is None:
                return {}
            cursor.execute("BEGIN")
            rows = {slice: catalog.read_progress(cursor, slice) for slice in catalog.slices(cursor)}
            if any(each.get(self._key(table)) for each in rows.values()):
                self._check_there(cursor, [table])
            return rows

    def _find(self, table: str) -> FoundTable | None:
        with self._lake.session("look into") as cursor:
            known = catalog.table(cursor, self._schema, table) if cursor else None
        return FoundTable(known.run_id, known.columns, known.partition) if known else None

    def _declared(self, table: Table) -> FoundTable:
        columns = [(column.name, _CATALOG_TYPES[column.type], column.nullable) for column in table.columns]
        columns += [(name, _CATALOG_TYPES["int32"], False) for name in self.options.spec.columns]
        return FoundTable(self._run_id, tuple(columns), ", ".join(self.options.spec.columns))

    def _create(self, table: Table) -> None:
        self._insist(lambda: self._create_once(table))

    def _create_once(self, table: Table) -> None:
        assert self._run_id is not None
        keys = self.options.spec.columns
        columns = [*map(_definition, table.columns), *(f"{name} INTEGER NOT NULL" for name in keys)]
        name = self._name(table.name)
        with self._lake.session("create a table in", create=True) as cursor:
            assert cursor is not None
            if catalog.tables(cursor, self._schema, [table.name]):
                return  # somebody else came first
            cursor.execute("BEGIN")
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.{identifier(self._schema)}")
            cursor.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            cursor.execute(f"ALTER TABLE {name} SET PARTITIONED BY ({', '.join(keys)})")
            comment = catalog.marked(table.description, self._run_id)
            cursor.execute(f"COMMENT ON TABLE {name} IS {quoted(comment)}")
            self._lake.commit(cursor, "create a table in")
            # For the files that compaction makes of ours.
            cursor.execute(
                f"CALL {LAKE}.set_option('parquet_compression', {quoted(_compression(self.options.compression))},"
                f" schema => {quoted(self._schema)}, table_name => {quoted(table.name)})"
            )
            if isinstance(self.storage, ObjectStorage):  # where DuckLake's own compaction could but fail
                catalog.keep_to_own_upkeep(cursor, self._schema, table.name)

    def _adopt(self, table: Table) -> None:
        self.progress(table.name)  # raises where rows of ours should be in it
        self._insist(lambda: self._adopt_once(table))

    def _adopt_once(self, table: Table) -> None:
        assert self._run_id is not None
        with self._lake.session("adopt a table in") as cursor:
            known = catalog.tables(cursor, self._schema, [table.name]).get(table.name) if cursor else None
            if cursor and known:
                comment = quoted(catalog.marked(known.comment, self._run_id))
                cursor.execute("BEGIN")
                cursor.execute(f"COMMENT ON TABLE {self._name(table.name)} IS {comment}")
                self._lake.commit(cursor, "adopt a table in")

    def _insist(self, act: Callable[[], None]) -> None:
        """Do what may be done again, until it is done. Who comes second to a SQLite file sees what the first has done
        when he looks again, so all get on.
        """
        for attempt in range(ATTEMPTS_MAX):
            try:
                act()
            except (CommitConflictError, CommitUnknownError):
                if attempt == ATTEMPTS_MAX - 1:
                    raise
            else:
                return
            self._clock.wait(self._never, _WAIT_SECONDS)

    def _attempt(self, slice: Slice, commits: Sequence[TableCommit]) -> Mapping[str, TableProgress]:
        self._begin_progress(slice, [commit.table for commit in commits])
        self._tidy(slice)
        with self._lake.session("commit to") as cursor:
            if cursor is None:
                raise self._gone([commit.table for commit in commits])
            with self._turns.take():
                moves = self._move(cursor, slice, commits)
        self._crash("ducklake.committed")
        self._known.update({(slice, name): after for name, (_, after) in moves.items()})
        return {name: after for name, (_, after) in moves.items()}

    def _move(
        self, cursor: duckdb.DuckDBPyConnection, slice: Slice, commits: Sequence[TableCommit]
    ) -> dict[str, tuple[TableProgress | None, TableProgress]]:
        """The transaction of a commit; the progress of each table before and after."""
        cursor.execute("BEGIN")
        moves = self._checked(cursor, slice, commits)
        self._crash("ducklake.checked")
        for commit in commits:
            self._register(cursor, commit.table, commit.files)
        catalog.move_progress(cursor, slice, {self._key(name): move for name, move in moves.items()})
        self._crash("ducklake.registered")
        self._lake.commit(cursor, "commit to")
        return moves

    def _begin_progress(self, slice: Slice, names: Sequence[str]) -> None:
        if all((slice, name) in self._begun for name in names):
            return
        for look in range(1, _LOOKS_MAX + 1):
            with self._lake.session("begin the progress in") as cursor:
                if cursor is None:
                    raise self._gone(names)
                cursor.execute("BEGIN")
                if catalog.begin_progress(cursor, slice, list(map(self._key, names)), surely=look == _LOOKS_MAX):
                    self._lake.commit(cursor, "begin the progress in")
                    catalog.keep_from_upkeep(cursor)
                    break
            self._clock.wait(self._never, _WAIT_SECONDS)
        self._begun.update((slice, name) for name in names)

    def _tidy(self, slice: Slice) -> None:
        """Once in a while, so that the millionth commit takes no longer than the first."""
        self._commits += 1
        if self._commits % _COMMITS_PER_PRUNING == 0:
            with self._lake.session("prune the progress in") as cursor:
                inlined = catalog.inlined_progress(cursor, slice) if cursor else []
                with self._turns.take():
                    if cursor:
                        catalog.prune(cursor, inlined)

    def _checked(
        self, cursor: duckdb.DuckDBPyConnection, slice: Slice, commits: Sequence[TableCommit]
    ) -> dict[str, tuple[TableProgress | None, TableProgress]]:
        """The progress of each table before and after, if it may be moved."""
        known = {commit.table: self._known.pop((slice, commit.table), None) for commit in commits}
        if any(
            before is None or before.slot != commit.expected_slot
            for commit, before in zip(commits, known.values(), strict=True)
        ):
            stands = catalog.read_progress(cursor, slice)
            for commit in commits:
                if self._key(commit.table) not in stands:
                    raise self._moved_about(slice, commit.table)
            known = {commit.table: stands[self._key(commit.table)] for commit in commits}
        moves = {}
        for commit in commits:
            before = known[commit.table]
            check_expected(slice, commit, before)
            moves[commit.table] = (before, advanced(before, commit))
        self._check_there(cursor, [commit.table for commit in commits])
        return moves

    def _check_there(self, cursor: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
        """A table that has progress must be there, and ours."""
        found = catalog.tables(cursor, self._schema, names)
        missing = [name for name in names if name not in found or found[name].run_id is None]
        if missing:
            raise self._gone(missing)

    def _moved_about(self, slice: Slice, table: str) -> CommitConflictError:
        return CommitConflictError(
            f"the progress of slice {slice} of {table} is not to be seen in {self._lake}, though it was recorded",
            hint="somebody moves its rows, or has removed them: look again; if it stays so, restore the catalogue",
        )

    def _gone(self, names: Sequence[str]) -> RolledBackError:
        listed = ", ".join(names)
        return RolledBackError(
            f"{self._lake} records progress of {listed}, but what was there is gone, or was made anew",
            hint="restore the catalogue from a backup; to begin again from the origin, drop the tables of this run"
            f" and those in the schema {catalog.PROGRESS_SCHEMA}",
        )

    def _register(self, cursor: duckdb.DuckDBPyConnection, table: str, files: Sequence[StagedFile]) -> None:
        if not files:
            return
        paths = [f"{self._root}/{file.final_path}" for file in files]
        # An adopted table may have columns that we don't fill.
        cursor.execute(
            f"CALL ducklake_add_data_files('{LAKE}', ?, ?, schema => ?, hive_partitioning => true,"
            " allow_missing => true)",
            [table, paths, self._schema],
        )

    def paths_from(self, table: str, slot: int) -> Iterator[str]:
        first = f"{self._root}/{table}/{self.options.spec.path(slot)}"
        with self._lake.session("look into") as cursor:
            known = catalog.tables(cursor, self._schema, [table]).get(table) if cursor else None
            return iter(lake_files.paths_from(cursor, known.table_id, first) if cursor and known else ())

    def contents(self, table: Table) -> AbstractContextManager[Sequence[Part]]:
        return self._reader.contents(table)

    def relation(self, connection: Connection, table: Table) -> str | None:
        with self._lake.session("look into") as cursor:
            known = catalog.tables(cursor, self._schema, [table.name]).get(table.name) if cursor else None
        if known is None or not self._lake.attach_to(connection):
            return None
        return f"{LAKE}.{identifier(self._schema)}.{identifier(table.name)}"

    def size(self, table: str) -> TableSize:
        with self._lake.session("look into") as cursor:
            known = catalog.tables(cursor, self._schema, [table]).get(table) if cursor else None
            return lake_files.size(cursor, known.table_id) if cursor and known else TableSize(0, 0)

    def upkeep(self, policy: UpkeepPolicy) -> Upkeep:
        return DuckLakeUpkeep(
            policy,
            Output(
                self._lake,
                self._turns,
                self.storage,
                self._root,
                self._schema,
                self.options,
                self._tables,
                self.progress,
                self.is_held,
                self._clock,
                self._crash,
            ),
        )

    def _key(self, table: str) -> str:
        """What the progress is kept under: a lake may hold several namespaces."""
        return f"{self._schema}.{table}"

    def _name(self, table: str) -> str:
        return catalog.full_name(self._schema, table)


WRITER = DuckLakeWriter


def _definition(column: Column) -> str:
    return f"{identifier(column.name)} {TYPES[column.type]}{'' if column.nullable else ' NOT NULL'}"


def _compression(name: str) -> str:
    return "uncompressed" if name == "none" else name
