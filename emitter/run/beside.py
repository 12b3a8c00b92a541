"""A process that works beside this one on what comes through a pipe: begun when it is needed, and ended at will."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from emitter.priority import lower
from emitter.run.children import deaf_to, end_with_parent

NICENESS = 10  # a tenth of the share of the daemon, where both want the same core
LOOK_SECONDS = 0.25  # how often its time and its memory are to be looked at
_END_SECONDS_MAX = 5.0  # after a kill: a process in a call to a disk that hangs stays until that answers


def begin_beside(begin: Callable[[], None] | None) -> None:
    """To be called first by the process itself: it gives way to the daemon, and ends with it. `begin` is called."""
    lower(NICENESS)
    if begin:
        begin()
    end_with_parent()


class Beside:
    """One process at a time. `pipe` and `drop` belong to one thread, `end` may be called from any.

    `serve` is called there with the other end of the pipe and `arguments`: all of them must be picklable.
    """

    def __init__(self, name: str, serve: Callable[..., None], *arguments: Any) -> None:
        self._name, self._serve, self._arguments = name, serve, arguments
        self._guard = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._is_over = False

    @property
    def is_alive(self) -> bool:
        """Whether there is one that takes orders."""
        return self._process is not None and self._process.is_alive()

    def pipe(self) -> Connection:
        """The pipe to one that takes orders, which is begun where there is none. OSError where that cannot be."""
        if not self.is_alive:  # killed between two orders: nothing is lost
            self.drop()
        if self._pipe is None:
            # Spawned, not forked: a fork would carry over the threads' locks in whatever state they are.
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            with self._guard, deaf_to(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if self._is_over:
                    raise OSError("a stop was asked for")
                arguments = (theirs, *self._arguments)
                process = context.Process(target=self._serve, args=arguments, name=self._name, daemon=True)
                process.start()
                self._process = process
            theirs.close()  # so that its end is an end of the pipe
            self._pipe = ours
        return self._pipe

    def exceeded(self, seconds: float, seconds_max: int, memory_mib_max: int, section: str) -> str:
        """The limit that a round of so many seconds has passed, by its key in a section; empty for none."""
        if seconds > seconds_max:
            return f"{seconds_max} s ({section}.round_seconds_max)"
        if self.resident_mib() > memory_mib_max:
            return f"{memory_mib_max} MiB of memory ({section}.memory_mib_max)"
        return ""

    def resident_mib(self) -> float:
        """What it has in memory; 0 where the system does not tell."""
        process = self._process
        if process is None or process.pid is None:
            return 0.0
        with suppress(OSError, IndexError, ValueError):
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        return 0.0

    def how_it_ended(self) -> str:
        """For who finds its pipe ended."""
        process = self._process
        if process is None:
            return "before it began"
        process.join(_END_SECONDS_MAX)  # its pipe ends a moment before it
        if process.exitcode == -signal.SIGKILL:
            return "killed by another: see whether memory ran out"
        return f"with exit code {process.exitcode}"

    def end(self) -> None:
        """End it at once, whatever it does, for good."""
        with self._guard:
            self._is_over = True
            if self._process is not None:
                self._process.kill()

    def drop(self) -> None:
        """Be rid of the process, whatever it does. The next order begins another."""
        with self._guard:
            process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(_END_SECONDS_MAX)
