"""How far a bounded piece of work is, on stderr: a line at a terminal, else a log line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emitter.cli import secrets, streams
from emitter.clock import Clock
from emitter.config import LogConfig
from emitter.watch import logs
from emitter.watch.progressbar import OnProgress, ProgressLine, progress_bar

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def shown(verb: str, log: LogConfig, clock: Clock) -> Iterator[OnProgress]:
    """Shows inside `with` what the function that it gives is told."""
    logs.configure(log.level, log.format, clock)
    if sys.stderr.isatty() and log.format == "auto":
        with progress_bar(verb, True, clock) as bar:
            yield bar
    else:
        yield _log_lines(verb, clock)


@contextmanager
def working(verb: str, log: LogConfig, clock: Clock) -> Iterator[Callable[[str], None]]:
    """Shows inside `with` what is worked at, where nobody knows how much there is of it."""
    logs.configure(log.level, log.format, clock)
    line = ProgressLine(sys.stderr if sys.stderr.isatty() and log.format == "auto" else None, clock)
    told_seconds = clock.monotonic_seconds()

    def tell(what: str) -> None:
        nonlocal told_seconds
        line.show(lambda now: f"{verb}: {what}, {now - line.begin_seconds:,.0f} s")
        if not sys.stderr.isatty() and clock.monotonic_seconds() - told_seconds >= SECONDS_BETWEEN_LINES:
            told_seconds = clock.monotonic_seconds()
            logs.log("info", "progress", verb=verb, at=what)

    try:
        yield tell
    finally:
        line.wipe()


def begin_worker(log: LogConfig, clock: Clock) -> None:
    """In a process that helps: what its libraries say is a line of the same log, which decides nothing here either."""
    streams.secure()
    secrets.conceal_environment()
    logs.configure(log.level, log.format, clock)


def _log_lines(verb: str, clock: Clock) -> OnProgress:
    told_seconds = clock.monotonic_seconds()

    def tell(done: int, total: int, rows: int) -> None:
        nonlocal told_seconds
        now = clock.monotonic_seconds()
        if now - told_seconds >= SECONDS_BETWEEN_LINES:
            told_seconds = now
            logs.log("info", "progress", verb=verb, percent=round(100 * done / max(total, 1), 1), rows=rows)

    return tell
