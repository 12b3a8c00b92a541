"""What the process beside the daemon does: a round for every order that comes, until the daemon is gone.

It has nothing that it was not given through the pipe or the environment, and leaves nothing: wherever it is killed, the
tables are as they were, or as they are to be.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

from emitter.clock import Clock
from emitter.config import EmitterConfig
from emitter.errors import EmitterError
from emitter.model import TASKS, ChoreReport, RoundOutcome, RoundReport, Task
from emitter.run.beside import begin_beside
from emitter.upkeep.opened import MakeWriter, Opened, opened
from emitter.upkeep.rounds import Round

OPEN_SECONDS_MAX = 600  # then the journal is read again: another shard may have begun a table

_log = logging.getLogger("emitter.upkeep")


@dataclass(frozen=True, slots=True)
class Order:
    """A round that is to be done."""

    config: EmitterConfig
    tasks: tuple[Task, ...] = TASKS


def serve(orders: Connection, make_writer: MakeWriter, clock: Clock, begin: Callable[[], None] | None) -> None:
    """Do a round for each order, and send a report of every chore, then of the round. `begin` is called first."""
    begin_beside(begin)
    with Rounds(make_writer, clock) as rounds:
        while True:
            try:
                order: Order = orders.recv()
            except EOFError:
                return
            try:
                for report in rounds.run(order):
                    orders.send(report)
            except BrokenPipeError:
                return
            except Exception:  # noqa: BLE001 (a fault of ours ends this process, and no other)
                _log.exception("a round of upkeep ended in a fault")
                sys.exit(1)


class Rounds(ExitStack):
    """Round after round. The tables stay open as long as all goes well: what was read of them, they remember."""

    def __init__(self, make_writer: MakeWriter, clock: Clock) -> None:
        super().__init__()
        self._make_writer, self._clock = make_writer, clock
        self._open: tuple[EmitterConfig, Opened] | None = None
        self._opened_seconds = 0.0

    def run(self, order: Order) -> Iterator[ChoreReport | RoundReport]:
        """A report of every chore, then of the round."""
        begin, chores, failures = self._clock.monotonic_seconds(), 0, 0
        try:
            found = self._tables(order.config)
            work = Round(found.upkeep, found.tables, self._clock, threading.Event())
            for report in work.run(order.tasks):
                chores, failures = chores + 1, failures + bool(report.problem)
                yield report
            sizes = found.sizes()
        except EmitterError as error:
            self._shut()
            yield RoundReport("failed", self._clock.monotonic_seconds() - begin, chores, problem=error.problem)
        else:
            if failures:
                self._shut()
            outcome: RoundOutcome = "failed" if failures else "ok"
            seconds = self._clock.monotonic_seconds() - begin
            yield RoundReport(outcome, seconds, chores, sizes, task_seconds=work.task_seconds)

    def _tables(self, config: EmitterConfig) -> Opened:
        now = self._clock.monotonic_seconds()
        if self._open is None or self._open[0] != config or now - self._opened_seconds > OPEN_SECONDS_MAX:
            self._shut()
            self._open = config, self.enter_context(opened(config, self._clock, self._make_writer))
            self._opened_seconds = now
        return self._open[1]

    def _shut(self) -> None:
        self._open = None
        self.close()
