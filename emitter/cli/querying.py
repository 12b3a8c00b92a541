"""`emitter query`: the right answer of a query over tables that are made, not read. Light: every start loads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emitter.cli.options import From, OptionalTo, Sets, from_slot, load, slot
from emitter.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from emitter.truth.questions import Reading

_STOP_SECONDS_MAX = 20.0
_TEXT_BYTES_MAX = 1_000_000


def query(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration, a YAML file.")
    ] = None,
    statement: Annotated[
        str | None, typer.Argument(metavar="SQL", help="One query, in DuckDB's SQL. Default: standard input.")
    ] = None,
    set_: Sets = None,
    from_: From = None,
    to: OptionalTo = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="The query is in this file.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="NAME", help="One of the queries that come along.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the queries that come along.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only tell what would be made: tables, columns, times, rows.")
    ] = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table, csv, json, ndjson, parquet or arrow. Default: as FILE ends, else table.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the answer there, whole or not at all.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Rows that a table shows at most.")] = 40,
    memory: Annotated[
        str,
        typer.Option(metavar="SIZE", help="What DuckDB may take; a hundred times as much goes to a temporary folder."),
    ] = "512MiB",
) -> None:
    """Give the right answer of a query, from configuration and journal alone: no table is read.

    Only the tables, columns and times that it needs are made. Times are UTC. No output is needed where --to is given.
    """
    from emitter.cli import resultfiles
    from emitter.cli.sizes import read_size

    if list_:
        from emitter.truth.reference import reference_queries

        width = max(map(len, reference_queries()))
        for known in reference_queries().values():
            typer.echo(f"{known.name:<{width}}  {known.summary}")
        return
    if config is None:
        raise UsageError("there is no configuration", hint="give it by -c FILE")
    settings = load(config, set_)
    form, memory_bytes = resultfiles.chosen_format(format_, output), read_size("--memory", memory)
    first, end = from_slot(from_), None if to is None else slot("--to", to)
    text = _text(statement, file, reference)
    try:
        from emitter.truth.questions import Interrupted, Truth
    except ModuleNotFoundError as error:
        raise MissingExtraError("sql", needed_for="`emitter query`") from error
    from emitter.cli import results
    from emitter.cli.signals import Signals
    from emitter.clock import SystemClock, text_of
    from emitter.truth.oracle import seal_text
    from emitter.truth.sources import configured_source
    from emitter.watch.progressbar import progress_bar

    asked = configured_source(settings, first, end)
    if end is None:
        typer.echo(f"Up to {text_of(asked.source.window.end)}, where all tables are.", err=True)
    with (
        progress_bar("query", None, SystemClock()) as on_progress,
        Truth(asked.source, memory_bytes=memory_bytes, on_progress=on_progress) as truth,
        Signals(on_stop=truth.interrupt, stop_seconds_max=_STOP_SECONDS_MAX) as signals,
    ):
        try:
            if explain:
                _print_readings(truth.explain(text), form)
                return
            answer = truth.ask(text)
            if output is None:
                results.print_result(answer.schema, answer.batches, form, rows)
            else:
                resultfiles.write(answer.schema, answer.batches, form, output, rows)
        except Interrupted:
            raise typer.Exit(signals.exit_code) from None
    if asked.sealed_until is not None:
        typer.echo(seal_text(asked.sealed_until), err=True)


def _text(statement: str | None, file: Path | None, reference: str | None) -> str:
    """The query, wherever it stands. Raises UsageError."""
    given = [each for each in (statement, file, reference) if each is not None]
    if len(given) > 1:
        raise UsageError("there are several queries", hint="give SQL, or --file, or --reference: one of them")
    if reference is not None:
        from emitter.truth.reference import reference_query

        return reference_query(reference).text
    if file is not None:
        try:
            if file.stat().st_size > _TEXT_BYTES_MAX:
                raise UsageError(f"{file} is too long for a query", hint="give a file of SQL")
            return file.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise UsageError(f"cannot read {file}: {error}", hint="give a file of SQL, as UTF-8") from None
    if statement is not None:
        return statement
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("there is no query", hint="give SQL, such as `SELECT count(*) FROM orders`, or --reference")
    from emitter.cli.asking import read_stdin

    return read_stdin()


def _print_readings(readings: list[Reading], form: str) -> None:
    import json

    import pyarrow as pa

    from emitter.cli import results

    documents = [reading.document() for reading in readings]
    if form == "json":
        typer.echo(json.dumps(documents, indent=2))
        return
    shown = [{**each, "columns": ", ".join(each["columns"])} for each in documents]
    kinds: dict[str, pa.DataType] = {"hours": pa.float64(), "rows": pa.int64()}
    names = ("table", "rows", "from", "to", "hours", "columns", "filter")
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    batch = pa.RecordBatch.from_pylist(shown, schema=schema)
    results.print_result(schema, [batch] if shown else [], form if form in results.FORMATS else "table", 1000)
