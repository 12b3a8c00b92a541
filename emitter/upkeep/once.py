"""A round of upkeep now, by whoever asks for it, whether a daemon runs or not."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from emitter.clock import Clock
from emitter.config import EmitterConfig
from emitter.model import ChoreReport, Task
from emitter.run.assembly import configured_writer
from emitter.run.lease import LOOK_SECONDS
from emitter.upkeep.opened import MakeWriter, opened
from emitter.upkeep.rounds import OnWork, Round
from emitter.upkeep.turn import ROUND, Turn
from emitter.writers.upkeep import Chore


def plan(
    config: EmitterConfig, tasks: Sequence[Task], *, clock: Clock, make_writer: MakeWriter = configured_writer
) -> list[Chore]:
    """What a round would do. Only reads, and needs nobody's leave."""
    with opened(config, clock, make_writer) as found:
        return Round(found.upkeep, found.tables, clock, threading.Event()).plan(tasks)


def maintain(
    config: EmitterConfig,
    tasks: Sequence[Task],
    *,
    clock: Clock,
    stop: threading.Event,
    on_work: OnWork,
    make_writer: MakeWriter = configured_writer,
) -> list[ChoreReport]:
    """Do a round, and tell how each chore ended; `stop` ends it after the chore under way.

    Raises SliceLockedError where another process is at it. Where storage has no locks it may take a minute to see that
    who was is dead.
    """
    with opened(config, clock, make_writer) as found:
        turn = Turn(found.writer.storage, ROUND, clock)
        while not turn.take():
            if clock.wait(stop, LOOK_SECONDS):
                return []
        try:
            reports = []
            for report in Round(found.upkeep, found.tables, clock, stop).run(tasks, on_work):
                reports.append(report)
                turn.keep()
            return reports
        finally:
            turn.let_go()
