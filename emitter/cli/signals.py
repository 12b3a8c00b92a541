"""SIGTERM, SIGINT and SIGHUP, handed to callbacks in a thread of their own.

A Python signal handler runs between any two steps of the main thread, also inside a lock that it would need;
and it does not run at all while that thread is busy in C. So the handlers here do nothing: the interpreter
writes each signal's number into a socket at once, and a thread reads it from there.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Self

_STOPS = (signal.SIGTERM, signal.SIGINT)
_SHOW_CURSOR = b"\x1b[?25h"


class Signals:
    """Active inside `with`, which has to be in the main thread."""

    def __init__(self, *, on_stop: Callable[[], None], on_reload: Callable[[], None]) -> None:
        """`on_stop` is called for the first SIGTERM or SIGINT; a second one ends the process at once."""
        self._on_stop = on_stop
        self._on_reload = on_reload
        self._stops = 0
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._thread = threading.Thread(target=self._read, name="emitter-signals", daemon=True)

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        self._before: dict[int, Any] = {number: signal.signal(number, _nothing) for number in (*_STOPS, signal.SIGHUP)}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._writing.close()
        self._thread.join()
        self._reading.close()

    def _read(self) -> None:
        while numbers := self._reading.recv(64):
            for number in numbers:
                self._take(number)

    def _take(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._on_reload()
        elif number in _STOPS:
            self._stops += 1
            if self._stops > 1:
                _exit_at_once(128 + number)
            self._on_stop()


def _nothing(_number: int, _frame: object) -> None:
    """The number is already in the socket."""


def _exit_at_once(code: int) -> None:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR)  # a live view has hidden it
    os._exit(code)
