"""How far a bounded piece of work is, for whoever waits at a prompt or in a notebook: one line, written anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from emitter.clock import Clock

SECONDS_BEFORE_FIRST = 1.0
SECONDS_BETWEEN = 0.2


class Told(Protocol):
    """Told how many simulated seconds are done, of how many, and how many rows that were if it is known."""

    def __call__(self, done: int, total: int, rows: int | None = None, /) -> None: ...


@contextmanager
def progress_line(verb: str, wanted: bool | None, clock: Clock, stream: TextIO | None = None) -> Iterator[Told]:
    """Shows on stderr, inside `with`, what the function that it gives is told, from the first second on. `wanted` is
    None for: where somebody watches, at a terminal or in a notebook.
    """
    stream = stream or sys.stderr
    line = _Line(verb, stream if wanted or (wanted is None and _is_watched(stream)) else None, clock)
    try:
        yield line
    finally:
        line.wipe()


def _is_watched(stream: TextIO | None) -> bool:
    try:
        return stream is not None and (stream.isatty() or "ipykernel" in sys.modules)
    except ValueError:  # it is closed
        return False


class _Line:
    def __init__(self, verb: str, stream: TextIO | None, clock: Clock) -> None:
        self._verb, self._stream, self._clock = verb, stream, clock
        self._begin_seconds = clock.monotonic_seconds()
        self._next_seconds = self._begin_seconds + SECONDS_BEFORE_FIRST
        self._width = 0

    def __call__(self, done: int, total: int, rows: int | None = None, /) -> None:
        now = self._clock.monotonic_seconds()
        if now < self._next_seconds:
            return
        self._next_seconds = now + SECONDS_BETWEEN
        left_seconds = (now - self._begin_seconds) * (total - done) / done if done else None
        parts = [
            f"{self._verb}: {100 * done // max(total, 1)} %",
            *([] if rows is None else [f"{rows:,} rows"]),
            *([] if left_seconds is None else [f"about {left_seconds:,.0f} s left"]),
        ]
        text = ", ".join(parts)
        self._write(f"\r{text.ljust(self._width)}")
        self._width = len(text)

    def wipe(self) -> None:
        if self._width:
            self._write(f"\r{' ' * self._width}\r")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # full, or closed: nobody sees it, and the work goes on
            self._stream = None
