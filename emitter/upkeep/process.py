"""The process beside the daemon, as the daemon sees it: it is begun, watched, ended, and begun anew."""

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

from emitter.clock import Clock
from emitter.model import ChoreReport, RoundOutcome, RoundReport
from emitter.run.children import deaf_to
from emitter.upkeep.child import Order, serve
from emitter.upkeep.opened import MakeWriter

ROUNDS_MAX = 1_000  # then it is ended, and another begun: which costs as much as a second of work
_FULL = 0.5  # of the memory that it may have: it is ended after a round, so that the next is not cut off
LOOK_SECONDS = 0.25  # how often its time and its memory are looked at
_END_SECONDS_MAX = 5.0  # after a kill: a process in a call to a disk that hangs stays until that answers


class UpkeepProcess:
    """One at a time, from the first round on. `run` belongs to one thread, `end` may be called from any.

    `make_writer`, `clock` and `begin`, which the process calls first, go there, so they must be picklable.
    """

    def __init__(self, make_writer: MakeWriter, clock: Clock, begin: Callable[[], None] | None) -> None:
        self._make_writer, self._clock, self._begin = make_writer, clock, begin
        self._guard = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._rounds = self._chores = 0
        self._is_over = False

    def run(self, order: Order, tell: Callable[[ChoreReport], None], look: Callable[[], None]) -> RoundReport:
        """Have a round done. `tell` gets the reports of its chores as they end, and `look` is called now and then."""
        begin_seconds, self._chores = self._clock.monotonic_seconds(), 0

        def ended(outcome: RoundOutcome, problem: str) -> RoundReport:
            self._drop()
            seconds = self._clock.monotonic_seconds() - begin_seconds
            return RoundReport(outcome, seconds, self._chores, problem=problem)

        try:
            self._running().send(order)
            while True:
                try:
                    if report := self._next(tell):
                        if self._is_spent(order):
                            self._drop()
                        return report
                except (EOFError, OSError):
                    if self._chores or not self._rounds:
                        return ended("killed", f"the process of upkeep ended by itself, {self._how_it_ended()}")
                    self._drop()  # it was killed since its last round, which is seen only now: nothing is lost
                    self._running().send(order)
                look()
                if limit := self._exceeded(order, begin_seconds):
                    return ended("killed", f"a round of upkeep took more than {limit}, and was ended")
        except OSError as error:
            return ended("failed", f"the process of upkeep could not be started: {error.strerror or error}")

    def _next(self, tell: Callable[[ChoreReport], None]) -> RoundReport | None:
        """Wait a little for what it says; the report of the round, if that is it."""
        assert self._pipe is not None
        if not self._pipe.poll(LOOK_SECONDS):
            return None
        message = self._pipe.recv()
        if isinstance(message, RoundReport):
            self._rounds += 1
            return message
        self._chores += 1
        tell(message)
        return None

    def _exceeded(self, order: Order, begin_seconds: float) -> str:
        """The limit that a round has passed; empty for none."""
        kept = order.config.maintenance
        if self._clock.monotonic_seconds() - begin_seconds > kept.round_seconds_max:
            return f"{kept.round_seconds_max} s (maintenance.round_seconds_max)"
        if self._resident_mib() > kept.memory_mib_max:
            return f"{kept.memory_mib_max} MiB of memory (maintenance.memory_mib_max)"
        return ""

    def _is_spent(self, order: Order) -> bool:
        return self._rounds >= ROUNDS_MAX or self._resident_mib() > _FULL * order.config.maintenance.memory_mib_max

    def end(self) -> None:
        """End it at once, whatever it does, for good."""
        with self._guard:
            self._is_over = True
            if self._process is not None:
                self._process.kill()

    def renew(self) -> None:
        """Have another process for the next round."""
        self._drop()

    def close(self) -> None:
        """To be called when nobody runs a round any more."""
        self.end()
        self._drop()

    def _running(self) -> Connection:
        """The pipe to a process that takes orders."""
        if self._process is not None and not self._process.is_alive():  # killed between two rounds: nothing is lost
            self._drop()
        if self._pipe is None:
            # Spawned, not forked: a fork would carry over the threads' locks in whatever state they are.
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            with self._guard, deaf_to(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if self._is_over:
                    raise OSError("a stop was asked for")
                arguments = (theirs, self._make_writer, self._clock, self._begin)
                process = context.Process(target=serve, args=arguments, name="emitter-upkeep", daemon=True)
                process.start()
                self._process, self._rounds = process, 0
            theirs.close()  # so that its end is an end of the pipe
            self._pipe = ours
        return self._pipe

    def _drop(self) -> None:
        """Be rid of the process, whatever it does."""
        with self._guard:
            process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(_END_SECONDS_MAX)

    def _how_it_ended(self) -> str:
        process = self._process
        if process is None:
            return "before it began"
        process.join(_END_SECONDS_MAX)  # its pipe ends a moment before it
        if process.exitcode == -signal.SIGKILL:
            return "killed by another: see whether memory ran out"
        return f"with exit code {process.exitcode}"

    def _resident_mib(self) -> float:
        """What it has in memory; 0 where the system does not tell."""
        process = self._process
        if process is None or process.pid is None:
            return 0.0
        with suppress(OSError, IndexError, ValueError):
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        return 0.0
