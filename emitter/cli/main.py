"""The command line. Verbs only: each loads what it needs when it is called, so that `--help` is quick."""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from emitter import __version__
from emitter.cli import ending, secrets
from emitter.cli.options import ConfigFile, From, OptionalTo, Sets, To, begin_log, from_slot, load, slot
from emitter.cli.querying import query
from emitter.errors import EmitterError, MissingExtraError, SliceLockedError, StorageError, UsageError, shortage

if TYPE_CHECKING:
    from emitter.model import Task

_STOP_SECONDS_MAX = 20.0  # less than the grace that whoever stops a process gives it

_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # for which typer has no name of its own


class _Verbs(TyperGroup):
    """Ends every verb in the exit code that belongs to its error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ending.begin(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EmitterError as error:
            ending.tell(error, ctx.invoked_subcommand)
            raise typer.Exit(error.exit_code) from None
        except _USAGE_ERROR as error:
            if not ending.is_json(ctx.invoked_subcommand):
                raise
            hint = f"see `emitter {ctx.invoked_subcommand} --help`"
            ending.tell_error(error.format_message(), hint, UsageError.exit_code, ctx.invoked_subcommand)
            raise typer.Exit(UsageError.exit_code) from None
        except (typer.Exit, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (a fault of ours is told as such, not by a code that means something else)
            if short := shortage(error):
                ending.tell(short, ctx.invoked_subcommand)
                raise typer.Exit(short.exit_code) from None
            ending.tell_fault(error, ctx.invoked_subcommand)
            raise typer.Exit(ending.INTERNAL_EXIT_CODE) from None


app = typer.Typer(
    name="emitter",
    cls=_Verbs,
    help="A shop that never closes, written into your lakehouse, with every row accounted for.",
    epilog="Exit codes: 0 done, 1 `verify` found a difference, 2 configuration or usage,"
    " 3 locked or overtaken by another writer, 4 storage gave up, 5 standard output took no result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the verb that the arguments name, and end the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # memory holds secrets
    secrets.conceal_environment()
    try:
        app()
    except SystemExit as end:
        sys.exit(ending.final_code(end.code if isinstance(end.code, int) else 0, sys.argv[1] if sys.argv[1:] else None))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emitter {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep this text empty of meaning: the help is that of `app`."""


@app.command()
def run(
    *,
    config: ConfigFile,
    set_: Sets = None,
    batches: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after so many batches.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="End with the batch that makes it so many rows.")
    ] = None,
    bytes_: Annotated[
        str | None,
        typer.Option("--bytes", metavar="SIZE", help="End with the batch that makes it so much, such as 10GB or 1GiB."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="End when simulated time gets there; ISO 8601, UTC; or now.")
    ] = None,
    live: Annotated[bool, typer.Option("--live/--no-live", help="Draw a live view at a terminal.")] = True,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="On S3: take the shard at once from another process, which then ends with 3."),
    ] = False,
) -> None:
    """Run the daemon: write batch after batch as time passes.

    SIGTERM and SIGINT (Ctrl-C) finish the batch under way; a second one ends at once.

    SIGHUP reads the configuration again.
    """
    begin_log(logging=True)
    from emitter.cli import service
    from emitter.cli.sizes import read_size
    from emitter.run.schedule import Enough

    gc.freeze()  # what was loaded stays; from now on garbage is to go as soon as it comes (see `entry`)
    gc.set_threshold(700)
    enough = Enough(batches, rows, None if bytes_ is None else read_size("--bytes", bytes_))
    until_slot = None if until is None else slot("--until", until)
    service.run(
        lambda: load(config, set_, logging=True),
        version=__version__,
        enough=enough,
        until_slot=until_slot,
        live=live,
        take_over=take_over,
    )


@app.command()
def generate(
    *,
    config: ConfigFile,
    to: To,
    set_: Sets = None,
    from_: From = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, metavar="N", help="Processes. Default: one for two cores.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only estimate rows, bytes and files.")] = False,
) -> None:
    """Write the rows of a bounded period, in parallel. What is there already is not made again.

    SIGTERM and SIGINT (Ctrl-C) finish the batch under way, if it does not take long; a second one ends at once.
    """
    settings, first, end = load(config, set_, logging=True), from_slot(from_), slot("--to", to)
    from emitter.cli import helpers

    jobs = jobs or helpers.default_jobs()
    if jobs > 1 and not dry_run:
        helpers.begin(settings)
    from emitter.cli import printing, progresslog
    from emitter.cli.signals import Signals
    from emitter.clock import SystemClock, text_of
    from emitter.run import bounded
    from emitter.watch import logs

    if dry_run:
        printing.print_estimate(bounded.estimate(settings, first, end))
        return
    clock, stop = SystemClock(), threading.Event()
    begin = clock.monotonic_seconds()
    with (
        Signals(on_stop=stop.set, stop_seconds_max=_STOP_SECONDS_MAX) as signals,
        progresslog.shown("generate", settings.log, clock) as on_progress,
    ):
        report = bounded.generate(
            settings,
            first,
            end,
            jobs=jobs,
            clock=clock,
            on_progress=on_progress,
            stop=stop,
            begin_worker=partial(progresslog.begin_worker, settings.log, clock),
        )
    printing.print_generated(report, settings.table_names, clock.monotonic_seconds() - begin)
    if report.to_slot < end:
        reached, hint = text_of(report.to_slot), "repeat the command: it goes on from there"
        logs.log("warning", "stop", reason="signal", reached=reached, hint=hint)
        raise typer.Exit(signals.exit_code)
    if report.left_to_others:
        raise SliceLockedError(
            f"not all is there up to {text_of(end)}: another process holds {', '.join(report.left_texts())}",
            hint="see that it finishes, or end it; then repeat the command: it makes what is missing",
        )


@app.command()
def verify(
    *,
    config: ConfigFile,
    set_: Sets = None,
    from_: From = None,
    to: OptionalTo = None,
    table: Annotated[str | None, typer.Option(metavar="NAME", help="Only this table.")] = None,
    examples: Annotated[int, typer.Option(min=0, max=10_000, metavar="N", help="So many examples a table.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compare the tables with the truth. Exit code 1 if a row is lost, duplicated or altered."""
    from emitter.cli import printing, progresslog
    from emitter.clock import SystemClock
    from emitter.truth import oracle

    settings = load(config, set_, logging=True)
    first, end = from_slot(from_), None if to is None else slot("--to", to)
    with progresslog.shown("verify", settings.log, SystemClock()) as on_progress:
        verification = oracle.verify(settings, first, end, table, on_progress=on_progress, examples_max=examples)
    if as_json:
        typer.echo(json.dumps(verification.as_json(), indent=2))
    else:
        printing.print_verification(verification)
    if not verification.ok:
        raise typer.Exit(ending.DIFFERENCE_EXIT_CODE)


@app.command()
def expect(
    config: ConfigFile,
    to: To,
    set_: Sets = None,
    from_: From = None,
    table: Annotated[str | None, typer.Option(metavar="NAME", help="Only this table.")] = None,
    by: Annotated[str, typer.Option(metavar="PART", help="Totals by `hour` or by `partition`.")] = "hour",
) -> None:
    """Print the truth of a period as JSON: by table rows, sums of numeric columns and order-free digests."""
    from emitter.truth import oracle

    truth = oracle.expect(load(config, set_), from_slot(from_), slot("--to", to), table, by)  # type: ignore[arg-type]
    typer.echo(json.dumps(truth, indent=2))
    if any("sealed_until" in each for each in truth["tables"].values()):
        typer.echo(oracle.seal_text(truth["sealed_until"]), err=True)


@app.command()
def status(
    config: ConfigFile,
    set_: Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show how far each table is: time reached, rows, files, lag."""
    from emitter.cli import printing
    from emitter.truth import inspection

    tables = inspection.status(load(config, set_))
    if as_json:
        typer.echo(json.dumps([one.document() for one in tables], indent=2))
    else:
        printing.print_status(tables)


@app.command()
def maintain(
    *,
    config: ConfigFile,
    set_: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this task: compact, checkpoint, expire or vacuum. May be given again."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Do a round of upkeep now, so that tables stay as quick and small as they were. No row is changed.

    SIGTERM and SIGINT (Ctrl-C) finish the piece under way, if it does not take long; a second one ends at once.
    """
    from dataclasses import asdict

    from emitter.cli import progresslog, upkeepprinting
    from emitter.cli.signals import Signals
    from emitter.clock import SystemClock
    from emitter.upkeep import once

    settings, tasks, clock = load(config, set_, logging=True), _tasks(task), SystemClock()
    if dry_run:
        chores = once.plan(settings, tasks, clock=clock)
        if as_json:
            typer.echo(json.dumps([asdict(one) for one in chores], indent=2))
        else:
            upkeepprinting.print_planned(chores)
        return
    begin, stop = clock.monotonic_seconds(), threading.Event()
    with (
        Signals(on_stop=stop.set, stop_seconds_max=_STOP_SECONDS_MAX) as signals,
        progresslog.working("maintain", settings.log, clock) as tell,
    ):
        reports = once.maintain(
            settings,
            tasks,
            clock=clock,
            stop=stop,
            on_work=lambda *work: tell(" ".join(filter(None, work))),
        )
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in reports], indent=2))
    else:
        upkeepprinting.print_maintained(reports, clock.monotonic_seconds() - begin, stopped=stop.is_set())
    if any(report.problem for report in reports):
        raise typer.Exit(StorageError.exit_code)
    if stop.is_set():
        raise typer.Exit(signals.exit_code)


def _tasks(names: list[str] | None) -> tuple[Task, ...]:
    from emitter.model import TASKS
    from emitter.settings.declaring import nearest

    for name in names or ():
        if name not in TASKS:
            near = nearest(name, TASKS)
            hint = f"{near} choose of: {', '.join(TASKS)}" if near else f"choose of: {', '.join(TASKS)}"
            raise UsageError(f"there is no task {name!r} of upkeep", hint=hint)
    return tuple(task for task in TASKS if not names or task in names)


@app.command()
def sql(
    *,
    config: ConfigFile,
    statement: Annotated[
        str | None, typer.Argument(metavar="SQL", help="One or more statements. Default: standard input, or a prompt.")
    ] = None,
    set_: Sets = None,
    format_: Annotated[str, typer.Option("--format", metavar="FORMAT", help="table, csv, json or ndjson.")] = "table",
    rows: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Rows that a table shows at most.")] = 40,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="What DuckDB may take; ten times as much goes to a temporary folder.")
    ] = "1GB",
) -> None:
    """Ask the tables as they are now, by DuckDB: each is a view of its name. Only reads.

    Without SQL it is read from standard input, at a terminal from a prompt, which Ctrl-D ends. Times are UTC.
    """
    from emitter.cli.signals import Signals
    from emitter.cli.sizes import read_size
    from emitter.settings.declaring import nearest

    settings, memory_bytes = load(config, set_), read_size("--memory", memory)
    try:
        from emitter.cli import asking
        from emitter.sql.session import Interrupted, Session
    except ModuleNotFoundError as error:
        raise MissingExtraError("sql", needed_for="`emitter sql`") from error
    from emitter.cli.results import FORMATS

    if format_ not in FORMATS:
        hint = f"{nearest(format_, FORMATS)} choose one of: {', '.join(FORMATS)}".strip()
        raise UsageError(f"there is no format {format_!r} for results", hint=hint)
    with Session(settings, memory_bytes=memory_bytes) as session:
        asked = asking.Asking(session, format_, rows)
        if statement is None and asking.is_terminal():
            asked.prompt()
            return
        with Signals(on_stop=session.interrupt, stop_seconds_max=_STOP_SECONDS_MAX) as signals:
            try:
                asked.answer_all(asking.read_stdin() if statement is None else statement)
            except Interrupted:
                raise typer.Exit(signals.exit_code) from None


app.command()(query)


@app.command()
def preview(
    config: ConfigFile,
    set_: Sets = None,
    rows: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Rows of each table.")] = 5,
) -> None:
    """Show some rows of each table. Writes nothing."""
    from emitter.cli.preview import print_rows
    from emitter.truth import inspection

    print_rows(inspection.preview(load(config, set_), rows))


@app.command()
def check(
    config: ConfigFile,
    set_: Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, faults too.")] = False,
) -> None:
    """Validate the configuration and reach the storage. Shows every fault at once."""
    from emitter.cli import printing
    from emitter.truth import inspection

    checked = inspection.check(load(config, set_))
    if as_json:
        warnings = [line.removeprefix("warning: ") for line in checked if line.startswith("warning: ")]
        well = [line for line in checked if not line.startswith("warning: ")]
        typer.echo(json.dumps({"checked": well, "warnings": warnings}, indent=2))
    else:
        printing.print_checked(checked)


@app.command("list")
def list_() -> None:
    """List domains and formats."""
    from emitter.cli import printing
    from emitter.generators import DOMAINS, domain_tables
    from emitter.writers import SUMMARIES, is_installed

    printing.print_list(
        {name: f"{_summary(package)} {_names(domain_tables(name))}" for name, package in DOMAINS.items()},
        {
            name: summary if is_installed(name) else f"Not installed: {MissingExtraError(name, needed_for=name).hint}"
            for name, summary in SUMMARIES.items()
        },
    )


@app.command()
def info(domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Its name, as `list` shows it.")]) -> None:
    """Show a domain's tables, columns and options."""
    from emitter.cli import printing
    from emitter.generators import domain_class, domain_options
    from emitter.settings.declaring import leaf_keys

    tables = domain_class(domain).table_declarations
    printing.print_info(tables, leaf_keys(domain_options(domain), f"{domain}."))


def _summary(module: str) -> str:
    """The first line of a module's docstring."""
    return (importlib.import_module(module).__doc__ or "").partition("\n")[0]


def _names(tables: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    return f"Tables: {', '.join(name for name, _ in tables)}."
