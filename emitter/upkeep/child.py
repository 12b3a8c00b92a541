"""What the process beside the daemon does: a round for every order that comes, until the daemon is gone.

It has nothing that it was not given through the pipe or the environment, and leaves nothing: wherever it is killed, the
tables are as they were, or as they are to be.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from emitter.clock import Clock
from emitter.config import EmitterConfig
from emitter.errors import EmitterError
from emitter.model import TASKS, ChoreReport, RoundReport, Task
from emitter.run.children import end_with_parent
from emitter.upkeep.opened import MakeWriter, opened
from emitter.upkeep.rounds import Round

NICENESS = 10  # a tenth of the share of the daemon, where both want the same core

_log = logging.getLogger("emitter.upkeep")


@dataclass(frozen=True, slots=True)
class Order:
    """A round that is to be done."""

    config: EmitterConfig
    tasks: tuple[Task, ...] = TASKS


def serve(orders: Connection, make_writer: MakeWriter, clock: Clock, begin: Callable[[], None] | None) -> None:
    """Do a round for each order, and send a report of every chore, then of the round. `begin` is called first."""
    with suppress(PermissionError):  # where a service forbids even to be modest
        os.nice(NICENESS)
    if begin:
        begin()
    end_with_parent()
    while True:
        try:
            order: Order = orders.recv()
        except EOFError:
            return
        try:
            for report in _round(order, make_writer, clock):
                orders.send(report)
        except BrokenPipeError:
            return
        except Exception:  # noqa: BLE001 (a fault of ours ends this process, and no other)
            _log.exception("a round of upkeep ended in a fault")
            sys.exit(1)


def _round(order: Order, make_writer: MakeWriter, clock: Clock) -> Iterator[ChoreReport | RoundReport]:
    begin, chores, failures = clock.monotonic_seconds(), 0, 0
    try:
        with opened(order.config, clock, make_writer) as found:
            for report in Round(found.upkeep, found.tables, clock, threading.Event()).run(order.tasks):
                chores, failures = chores + 1, failures + bool(report.problem)
                yield report
            sizes = found.sizes()
    except EmitterError as error:
        yield RoundReport("failed", clock.monotonic_seconds() - begin, chores, problem=error.problem)
    else:
        yield RoundReport("failed" if failures else "ok", clock.monotonic_seconds() - begin, chores, sizes)
