"""How far a bounded piece of work is: a bar at a terminal, else a log line now and then. Always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from emitter.cli import streams
from emitter.clock import Clock
from emitter.config import LogConfig
from emitter.watch import logs

SECONDS_BETWEEN_LINES = 5.0


class OnProgress(Protocol):
    """Told how many simulated seconds are done, of how many, and how many rows that were if it is known."""

    def __call__(self, done: int, total: int, rows: int | None = None, /) -> None: ...


@contextmanager
def shown(verb: str, log: LogConfig, clock: Clock) -> Iterator[OnProgress]:
    """Shows inside `with` what the function that it gives is told."""
    logs.configure(log.level, log.format, clock)
    if not (sys.stderr.isatty() and log.format == "auto"):
        yield _lines(verb, clock)
        return
    with Progress(
        TextColumn(verb),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        refresh_per_second=4,
        transient=True,
    ) as bar:
        yield _bar(bar, bar.add_task(verb, total=None, rows=""))


def begin_worker(log: LogConfig, clock: Clock) -> None:
    """In a process that helps: what its libraries say is a line of the same log, which decides nothing here either."""
    streams.secure()
    logs.configure(log.level, log.format, clock)


def _bar(bar: Progress, task: TaskID) -> OnProgress:
    def tell(done: int, total: int, rows: int | None = None, /) -> None:
        said = "" if rows is None else f"{rows:,} rows"
        bar.update(task, completed=done, total=max(total, 1), rows=said)

    return tell


def _lines(verb: str, clock: Clock) -> OnProgress:
    told_seconds = clock.monotonic_seconds()

    def tell(done: int, total: int, rows: int | None = None, /) -> None:
        nonlocal told_seconds
        now = clock.monotonic_seconds()
        if now - told_seconds >= SECONDS_BETWEEN_LINES:
            told_seconds = now
            logs.log("info", "progress", verb=verb, percent=round(100 * done / max(total, 1), 1), rows=rows)

    return tell
