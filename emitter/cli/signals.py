"""SIGTERM, SIGINT and SIGHUP, handed to callbacks in a thread of their own, from the first moment of the process on.

A Python signal handler runs between any two steps of the main thread, also inside a lock that it would need;
and it does not run at all while that thread is busy in C. So the handlers here do nothing: the interpreter
writes each signal's number into a pipe at once, and a thread reads it from there.

There is always a handler: the first process of a container gets no signal that it has none for. Until a verb says what
a stop means to it, a stop ends the process at once, wherever it stands.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

_STOPS = (signal.SIGTERM, signal.SIGINT)
_SHOW_CURSOR = b"\x1b[?25h"


class Signals:
    """Active inside `with`, which has to be in the main thread; another one inside it takes over until it ends."""

    def __init__(
        self,
        *,
        on_stop: Callable[[], None],
        on_reload: Callable[[], None] | None = None,
        stop_seconds_max: float | None = None,
    ) -> None:
        """`on_stop` is called for the first SIGTERM or SIGINT; a second one ends the process at once, and so does the
        time `stop_seconds_max` after the first. `on_reload`: None leaves SIGHUP as it is.
        """
        self._on_stop = on_stop
        self._on_reload = on_reload
        self._stop_seconds_max = stop_seconds_max
        self.stopped_by = 0
        """The signal that asked for the stop; 0: none yet."""
        self._end: threading.Timer | None = None
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._thread = threading.Thread(target=self._read, name="emitter-signals", daemon=True)

    def __enter__(self) -> Self:
        numbers = _STOPS if self._on_reload is None else (*_STOPS, signal.SIGHUP)
        self._fd_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        # Who was started with SIGINT ignored, as a shell does in the background, goes on ignoring it.
        is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        heard = (number for number in numbers if number != signal.SIGINT or not is_ignored)
        self._before: dict[int, Any] = {number: signal.signal(number, _nothing) for number in heard}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._writing)
        self._thread.join()
        os.close(self._reading)
        if self._end:
            self._end.cancel()

    @property
    def exit_code(self) -> int:
        """What says that a signal ended this process: 143 for SIGTERM, 130 for SIGINT; 0 where none did."""
        return 128 + self.stopped_by if self.stopped_by else 0

    def _read(self) -> None:
        while numbers := os.read(self._reading, 64):
            for number in numbers:
                self._take(number)

    def _take(self, number: int) -> None:
        if number == signal.SIGHUP and self._on_reload:
            self._on_reload()
        elif number in _STOPS:
            if self.stopped_by:
                exit_at_once(128 + number)
            self.stopped_by = number
            if self._stop_seconds_max is not None:
                self._end = threading.Timer(self._stop_seconds_max, exit_at_once, (self.exit_code,))
                self._end.daemon = True
                self._end.start()
            self._on_stop()


def listen(verb: Sequence[str]) -> None:
    """From now on, to the end of the process, let a stop end it at once, but where a verb has another use for it.

    `verb`: the arguments of the command. Of `run` nothing is under way before it listens itself: so early a stop is a
    stop as any other, and a hangup is nothing.
    """
    is_run = verb[:1] == ["run"]

    def end() -> None:
        exit_at_once(0 if is_run else signals.exit_code)

    signals = Signals(on_stop=end, on_reload=(lambda: None) if is_run else None)
    signals.__enter__()


@contextmanager
def at_prompt(interrupt: Callable[[], None]) -> Iterator[None]:
    """For whoever types: SIGINT is a KeyboardInterrupt. What the main thread is busy with in C would hold it up, so
    `interrupt`, which is called in another one, has to end that. SIGTERM ends the process at once.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def listen() -> None:
        while numbers := os.read(reading, 64):
            if signal.SIGTERM in numbers:
                exit_at_once(128 + signal.SIGTERM)
            interrupt()

    thread = threading.Thread(target=listen, name="emitter-prompt", daemon=True)
    fd_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(fd_before)
        os.close(writing)
        thread.join()
        os.close(reading)


def exit_at_once(code: int) -> None:
    """End the process without another step of any thread. Every lock that it has falls with it."""
    if sys.__stderr__ and sys.__stderr__.isatty():
        with suppress(OSError):
            os.write(sys.__stderr__.fileno(), _SHOW_CURSOR)  # a live view has hidden it
    os._exit(code)


def _nothing(_number: int, _frame: object) -> None:
    """The number is already in the pipe."""
