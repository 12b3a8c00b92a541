"""How far a bounded piece of work is, for whoever waits at a prompt or in a notebook: one line, written anew."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from emitter.clock import Clock

SECONDS_BEFORE_FIRST = 1.0
SECONDS_BETWEEN = 0.2

OnProgress = Callable[[int, int, int], object]
"""Told as it goes on: simulated seconds done, of how many, and rows so far."""


@contextmanager
def progress_bar(verb: str, wanted: bool | None, clock: Clock, stream: TextIO | None = None) -> Iterator[OnProgress]:
    """Shows on stderr, inside `with`, what the function that it gives is told, from the first second on. `wanted` is
    None for: where somebody watches, at a terminal or in a notebook.
    """
    stream = stream or sys.stderr
    bar = _Bar(verb, stream if wanted or (wanted is None and _is_watched(stream)) else None, clock)
    try:
        yield bar
    finally:
        bar.wipe()


def _is_watched(stream: TextIO | None) -> bool:
    try:
        return stream is not None and (stream.isatty() or "ipykernel" in sys.modules)
    except ValueError:  # it is closed
        return False


class ProgressLine:
    """A line that is written anew, but not too often. `stream` is None where nobody sees it."""

    def __init__(self, stream: TextIO | None, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self.begin_seconds = clock.monotonic_seconds()
        self._next_seconds = self.begin_seconds + SECONDS_BEFORE_FIRST
        self._width = 0

    def show(self, text: Callable[[float], str]) -> None:
        """Show what the function says of this moment, if a line is due."""
        now = self._clock.monotonic_seconds()
        if now < self._next_seconds:
            return
        self._next_seconds = now + SECONDS_BETWEEN
        line = text(now)
        self._write(line.ljust(self._width))
        self._width = len(line)

    def wipe(self) -> None:
        if self._width:
            self._write(" " * self._width)

    def _write(self, text: str) -> None:
        """Leaves the cursor where the line begins: a log line that comes between is written over it."""
        if self._stream is None:
            return
        try:
            self._stream.write(f"\r{text}\r")
            self._stream.flush()
        except (OSError, ValueError):  # full, or closed: nobody sees it, and the work goes on
            self._stream = None


class _Bar(ProgressLine):
    def __init__(self, verb: str, stream: TextIO | None, clock: Clock) -> None:
        super().__init__(stream, clock)
        self._verb = verb

    def __call__(self, done: int, total: int, rows: int) -> None:
        def text(now: float) -> str:
            left_seconds = (now - self.begin_seconds) * (total - done) / done if done else None
            left = "" if left_seconds is None else f", about {left_seconds:,.0f} s left"
            return f"{self._verb}: {100 * done // max(total, 1)} %, {rows:,} rows{left}"

        self.show(text)
