"""What upkeep must know of the writer whose output it is, and how it writes to the catalogue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emitter.clock import Clock
from emitter.errors import CommitConflictError
from emitter.model import Slice, Table, TableProgress
from emitter.priority import urgently
from emitter.storage.base import Storage
from emitter.writers.base import CrashHook, WriterOptions
from emitter.writers.ducklake.connection import Lake
from emitter.writers.ducklake.turns import Turns

if TYPE_CHECKING:
    import duckdb

_ATTEMPTS_MAX = 8
_WAIT_SECONDS = 0.02
_NEVER = threading.Event()


@dataclass(frozen=True, slots=True)
class Output:
    """See the module. `root` is where it is, as its files are registered; `tables` are those that are open; `progress`
    and `is_held` as the writer's.
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

    def write(self, operation: str, act: Callable[[duckdb.DuckDBPyConnection], bool]) -> None:
        """Do what is short in a transaction, again where others came in between, and commit it if `act` says that there
        is something. Nothing where there is no lake. Raises CommitConflictError, CommitUnknownError, StorageError.
        """
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                with self.lake.session(operation) as cursor:
                    if cursor is not None:
                        urgently(lambda: self._transact(cursor, operation, act))
                    return
            except CommitConflictError:
                if attempt == _ATTEMPTS_MAX:
                    raise
            self.clock.wait(_NEVER, _WAIT_SECONDS * attempt)

    def _transact(
        self, cursor: duckdb.DuckDBPyConnection, operation: str, act: Callable[[duckdb.DuckDBPyConnection], bool]
    ) -> None:
        with self.turns.take():
            cursor.execute("BEGIN")
            if act(cursor):
                self.lake.commit(cursor, operation)
