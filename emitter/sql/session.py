"""A DuckDB connection in which a run's tables are views of their names.

For each statement the tables that it names are looked up anew, and stay as they were found for as long as it runs: a
version of the log, a metadata file, a list of files, or the snapshot of DuckLake's transaction. Children are looked up
before their parents, which commit first: so no row is found without the one that it refers to, where one shard writes.
What upkeep has removed meanwhile is looked up once more, then told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Self

import duckdb
import pyarrow as pa

from emitter.clock import Clock, SystemClock
from emitter.config import EmitterConfig
from emitter.duck import NOTHING_UNASKED, TYPES, identifier, literal, load
from emitter.errors import EmitterError, StorageError, UsageError
from emitter.run.assembly import configured_writer, written_run_of
from emitter.sql.statements import Statement, read_statements
from emitter.storage.base import Storage
from emitter.storage.objects import ObjectStorage

_BATCH_ROWS = 2_048
_SPILL_FACTOR = 10
_HTTP_SETTINGS = {"http_timeout": 30, "http_retries": 3, "http_retry_wait_ms": 100, "http_retry_backoff": 4}
_EXTENSIONS = {
    "delta": ("delta",),
    "iceberg": ("avro", "iceberg"),
    "read_avro": ("avro",),
    "sqlite": ("sqlite_scanner",),
}
"""By how the name of a function begins, what has to be loaded for it."""
_ERRORS = (duckdb.Error, pa.ArrowException, OSError, RuntimeError)  # the last where a signal came while DuckDB worked
_INTERRUPTED = "Query interrupted"
_STORAGE = (duckdb.IOException, duckdb.HTTPException, duckdb.InternalException, duckdb.FatalException)
_REWRITTEN = "where upkeep has rewritten files meanwhile, ask again; else see what is said of them"


class Interrupted(Exception):  # noqa: N818 (nothing is wrong)
    """Somebody has called `interrupt`."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gives: its columns, and their rows in batches, which are read as they come."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Session:
    """See the module. Use it as a context manager, in one thread; `interrupt` may come from another."""

    def __init__(self, config: EmitterConfig, *, memory_bytes: int, clock: Clock | None = None) -> None:
        """Loads what the format needs, and looks up every table. Raises StateError where there is no run."""
        with ExitStack() as stack:
            self._writer = configured_writer(config)
            stack.callback(self._writer.close)
            generator, journal = written_run_of(config, self._writer, clock or SystemClock())
            self._tables = {name.lower(): generator.table(name) for name in journal.tables()}
            folder = stack.enter_context(TemporaryDirectory(prefix="emitter-sql-"))
            self._connection = stack.enter_context(duckdb.connect(config=dict(NOTHING_UNASKED)))
            settings = {
                "TimeZone": "UTC",
                "memory_limit": f"{memory_bytes}B",
                "temp_directory": folder,
                "max_temp_directory_size": f"{memory_bytes * _SPILL_FACTOR}B",
                "python_enable_replacements": False,  # a name in SQL never means a variable of this program
            }
            for name, value in settings.items():
                self._connection.execute(f"SET GLOBAL {name} = {literal(value)}")
            self._interrupted = threading.Event()
            self._credentials_version = 0
            self._reach(self._writer.storage)
            self._look_up(self._tables)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def tables(self) -> Sequence[str]:
        """The names of the run's tables, parents first."""
        return [table.name for table in self._tables.values()]

    def statements(self, text: str) -> list[Statement]:
        """The statements of a text. Raises UsageError for what is no SQL, or does more than to read."""
        self._interrupted.clear()
        try:
            return read_statements(self._connection, text)
        except duckdb.Error as error:
            raise self._told(error) from None

    def run(self, statement: Statement) -> Result:
        """Run a statement. Raises UsageError for what is wrong with it, StorageError where tables cannot be read, also
        from the batches; and Interrupted.
        """
        self._interrupted.clear()
        for function in statement.functions:
            for begin, names in _EXTENSIONS.items():
                if function.startswith(begin):
                    for name in names:
                        load(self._connection, name, extra="sql", needed_for=f"the function {function}")
        if "://" in statement.text:
            load(self._connection, "httpfs", extra="sql", needed_for="a URL")
        try:
            return self._begin(statement)
        except StorageError:  # most likely what was looked up is gone already
            return self._begin(statement)

    def interrupt(self) -> None:
        """End what runs. It, or the next step of its batches, raises Interrupted."""
        self._interrupted.set()
        self._connection.interrupt()

    def _begin(self, statement: Statement) -> Result:
        named = statement.tables if "query_table" not in statement.functions else self._tables
        self._look_up(name for name in self._tables if name in named)
        try:
            reader = self._connection.execute(statement.text).to_arrow_reader(_BATCH_ROWS)
            first = next(reader, None)
        except _ERRORS as error:
            raise self._told(error) from None
        return Result(reader.schema, self._rest(first, reader))

    def _rest(self, first: pa.RecordBatch | None, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        batch = first
        while batch is not None:
            if self._interrupted.is_set():
                raise Interrupted
            yield batch
            try:
                batch = next(reader, None)
            except _ERRORS as error:
                raise self._told(error) from None

    def _look_up(self, names: Iterable[str]) -> None:
        """Have the views of some tables be the tables as they are now, children first."""
        self._renew_credentials()
        for name in reversed(list(names)):
            table = self._tables[name]
            try:
                source = self._writer.relation(self._connection, table) or self._nothing(name)
                self._connection.execute(f"CREATE OR REPLACE VIEW {identifier(table.name)} AS FROM {source}")
            except duckdb.Error as error:
                raise self._told(error) from None

    def _nothing(self, name: str) -> str:
        """A table that nothing was written to yet."""
        columns = [(column.name, TYPES[column.type]) for column in self._tables[name].columns]
        if self._writer.format_name != "iceberg":  # which hides them
            columns += [(column, TYPES["int32"]) for column in self._writer.options.spec.columns]
        return (
            f"(SELECT {', '.join(f'CAST(NULL AS {kind}) AS {identifier(column)}' for column, kind in columns)} LIMIT 0)"
        )

    def _reach(self, storage: Storage) -> None:
        self._access = storage.access if isinstance(storage, ObjectStorage) else None
        if self._access is None:
            return
        load(self._connection, "httpfs", extra="sql", needed_for="SQL over tables on S3")
        for name, value in {**_HTTP_SETTINGS, **self._access.duckdb_settings()}.items():
            self._connection.execute(f"SET GLOBAL {name} = {literal(value)}")

    def _renew_credentials(self) -> None:
        """Tell DuckDB the keys to S3, for this output alone, and again as they expire."""
        if self._access is None or self._access.credentials_version() == self._credentials_version:
            return
        self._credentials_version = self._access.credentials_version()
        values = {**self._access.duckdb_secret(), "SCOPE": f"{self._writer.storage.uri.rstrip('/')}/"}
        text = ", ".join(f"{name} {literal(value)}" for name, value in values.items())
        try:
            self._connection.execute(f"CREATE OR REPLACE SECRET output (TYPE s3, {text})")
        except duckdb.Error as error:  # whose text may repeat it
            raise StorageError("give credentials to", "DuckDB", type(error).__name__) from None

    def _told(self, error: BaseException) -> EmitterError | Interrupted:
        """An error of DuckDB's, which may have come through Arrow, as one of ours."""
        text = str(error).strip()
        if self._interrupted.is_set() or (isinstance(error, RuntimeError) and text == _INTERRUPTED):
            return Interrupted()
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in text:
            return UsageError(text, hint="ask for less at a time, or give it more by --memory")
        if isinstance(error, _STORAGE) or not isinstance(error, duckdb.Error):
            return StorageError("read", "all that the statement names", text, hint=_REWRITTEN)
        return UsageError(text, hint=f"tables are {', '.join(self.tables)}; `DESCRIBE {self.tables[0]}` shows columns")
