"""The right answer of a query: DuckDB's SQL over tables that are made while they are read (see `made`).

No table is read. Each statement is first rehearsed over tables that are empty: that finds what is wrong with it, and
what it reads, before a row is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Self

import duckdb
import pyarrow as pa

from emitter.clock import text_of
from emitter.duck import NOTHING_UNASKED, literal
from emitter.errors import StorageError, UsageError
from emitter.run.plan import table_ends
from emitter.settings.declaring import nearest
from emitter.sql.session import Interrupted, Result
from emitter.sql.statements import Statement, read_statements
from emitter.truth.made import MadeTable, Scan, Scans, Source
from emitter.truth.repeatable import MADE, check_repeatable
from emitter.watch.progressbar import OnProgress

__all__ = ["MEMORY_BYTES", "Interrupted", "Reading", "Truth"]

MEMORY_BYTES = 512 * 1024 * 1024
"""What DuckDB may take by default: with the rows under way and the libraries, a process stays below 1 GiB."""

_BATCH_ROWS = 8_192
_REHEARSED_ROWS_MAX = 100_000
_SPILL_FACTOR = 100
_ERRORS = (duckdb.Error, pa.ArrowException, OSError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a query reads of a table, each time it does: columns, from where to where (None: nothing), and about how
    many rows are made for it.
    """

    table: str
    columns: tuple[str, ...]
    first_slot: int | None
    end_slot: int | None
    hours: float
    rows: int
    filter_text: str

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "table": self.table,
            "columns": list(self.columns),
            "from": None if self.first_slot is None else text_of(self.first_slot),
            "to": None if self.end_slot is None else text_of(self.end_slot),
            "hours": self.hours,
            "rows": self.rows,
            "filter": self.filter_text,
        }


class Truth:
    """A DuckDB in which the tables of a source are views of their names. Use it as a context manager, in one thread;
    `interrupt` may come from another.
    """

    def __init__(
        self, source: Source, *, memory_bytes: int = MEMORY_BYTES, on_progress: OnProgress | None = None
    ) -> None:
        self._source, self._scans = source, Scans(on_progress)
        generator = source.generator
        self._tables = {
            name: MadeTable(source, generator.table(name), self._scans) for name in table_ends(generator.epochs)
        }
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="emitter-query-"))
            self._connection = stack.enter_context(duckdb.connect(config=dict(NOTHING_UNASKED)))
            settings = {
                "TimeZone": "UTC",
                "memory_limit": f"{memory_bytes}B",
                "temp_directory": folder,
                "max_temp_directory_size": f"{memory_bytes * _SPILL_FACTOR}B",
                # What a join finds of its keys says nothing of hours, and Arrow filters longer than DuckDB joins.
                "disabled_optimizers": "join_filter_pushdown",
                "python_enable_replacements": False,  # a name in SQL never means a variable of this program
                "enable_external_access": False,  # nor a file: the answer is that of the tables alone
            }
            try:
                for name, value in settings.items():
                    self._connection.execute(f"SET GLOBAL {name} = {literal(value)}")
                for name, table in self._tables.items():
                    self._connection.register(name, table)
            except duckdb.Error as error:
                raise self._told(error) from None
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def tables(self) -> Mapping[str, MadeTable]:
        """By name, parents first."""
        return self._tables

    def explain(self, text: str) -> list[Reading]:
        """What a query reads, each time that it reads a table. Nothing is made."""
        self._scans.stopped.clear()
        self._rehearse(self._statement(text))
        return [self._reading(scan) for scan in self._scans.begun]

    def ask(self, text: str) -> Result:
        """The answer of a query. Raises UsageError for what is no query, for tables, columns and functions that there
        are not, and for what has no one answer; StorageError where the temporary folder is full; and Interrupted, as
        may the batches.
        """
        self._scans.stopped.clear()
        statement = self._statement(text)
        self._scans.clear(self._rehearse(statement))
        try:
            reader = self._connection.execute(statement.text).to_arrow_reader(_BATCH_ROWS)
        except _ERRORS as error:
            raise self._told(error) from None
        return Result(reader.schema, self._batches(reader))

    def interrupt(self) -> None:
        """End what runs. It, or the next step of its batches, raises Interrupted."""
        self._scans.stopped.set()
        self._connection.interrupt()

    def _statement(self, text: str) -> Statement:
        """The one query of a text, which only reads and has one answer."""
        try:
            statements = read_statements(self._connection, text, "query", MADE)
            if len(statements) != 1 or statements[0].text.lstrip().upper().startswith("EXPLAIN"):
                raise UsageError(
                    f"there are {len(statements)} statements" if len(statements) != 1 else "EXPLAIN is refused",
                    hint="give one query, such as `SELECT count(*) FROM orders`; --explain tells what it would make",
                )
            check_repeatable(self._connection, statements[0])
        except duckdb.Error as error:
            raise self._told(error) from None
        return statements[0]

    def _rehearse(self, statement: Statement) -> int:
        """Run a query over empty tables, to see what it reads. Gives the seconds that its readings span."""
        self._scans.clear()
        self._scans.is_rehearsal = True
        try:
            rows = 0
            for batch in self._connection.execute(statement.text).to_arrow_reader(_BATCH_ROWS):
                rows += batch.num_rows
                if self._scans.stopped.is_set():
                    raise Interrupted
                if rows >= _REHEARSED_ROWS_MAX:  # of what needs no table, such as a range
                    break
        except _ERRORS as error:
            raise self._told(error) from None
        finally:
            self._scans.is_rehearsal = False
        return sum(scan.seconds for scan in self._scans.begun)

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            if self._scans.stopped.is_set():
                raise Interrupted
            try:
                batch = next(reader, None)
            except _ERRORS as error:
                raise self._told(error) from None
            if batch is None:
                return
            yield batch

    def _reading(self, scan: Scan) -> Reading:
        rows = sum(self._source.generator.expected_rows(piece).get(scan.table, 0.0) for piece in scan.pieces)
        return Reading(
            scan.table,
            scan.columns,
            scan.pieces[0].first if scan.pieces else None,
            scan.pieces[-1].end if scan.pieces else None,
            round(scan.seconds / 3600, 2),
            round(rows),
            scan.filter_text,
        )

    def _told(self, error: BaseException) -> Exception:
        """An error of DuckDB's, which may have come through Arrow, as one of ours."""
        text = str(error).strip()
        if self._scans.stopped.is_set() or "Query interrupted" in text:
            return Interrupted()
        if self._scans.failure is not None:  # of the making, not of the question
            return self._scans.failure
        if "max_temp_directory_size" in text or "No space left" in text:
            return StorageError("spill to", "the temporary folder", text, hint="set TMPDIR to a larger disk")
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in text:
            return UsageError(text, hint="ask for less at a time, or give it more by --memory")
        if isinstance(error, duckdb.PermissionException):
            return UsageError(text, hint=f"name tables alone: {', '.join(self._tables)}; no file is read for the truth")
        return UsageError(text, hint=self._hint(text))

    def _hint(self, text: str) -> str:
        names: Sequence[str] = tuple(self._tables)
        wanted = text.partition("Table with name ")[2].partition(" ")[0].strip('"')
        near = nearest(wanted, names) if wanted else ""
        return f"{near} tables are {', '.join(names)}; `DESCRIBE {names[0]}` shows columns".strip()
