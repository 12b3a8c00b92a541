"""When the daemon steps. APScheduler only says "wake"; it holds no state and never runs a step.

The daemon's thread steps back to back while batches are due. In between it sleeps until the next one is due,
and is woken before that at every tick: there it sees a stop, a reload, or a wall clock that has jumped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Literal

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from emitter.clock import Clock
from emitter.errors import StorageError
from emitter.run.lease import LOOK_SECONDS
from emitter.watch.observer import Observer, Tally

if TYPE_CHECKING:
    from emitter.run.daemon import Daemon

TICK_SECONDS_MAX = 1.0
TICK_SECONDS_MIN = 0.05

_ticks_log = logging.getLogger("emitter.ticks")
_ticks_log.setLevel(logging.ERROR)  # on a busy machine ticks are left out: to the library that is a warning

StopReason = Literal["batches", "rows", "bytes", "until", "signal"]


@dataclass(frozen=True, slots=True)
class Enough:
    """How much a process is to do, if it is not to go on: batches, and rows and bytes that it commits, at least. It is
    looked at where a batch ends.
    """

    batches: int | None = None
    rows: int | None = None
    bytes: int | None = None

    def reached(self, batches: int, tally: Tally) -> StopReason | None:
        """Which of these it is that was done, if one is."""
        if self.batches is not None and batches >= self.batches:
            return "batches"
        if self.rows is not None and sum(tally.rows.values()) >= self.rows:
            return "rows"
        if self.bytes is not None and sum(tally.bytes.values()) >= self.bytes:
            return "bytes"
        return None


def run_daemon(
    daemon: Daemon,
    *,
    clock: Clock,
    stop: threading.Event,
    enough: Enough,
    tally: Tally,
    between_steps: Callable[[], None] = lambda: None,
) -> StopReason:
    """Step until `stop` is set, enough is done, or the daemon is finished; which of these it was. `tally` is among the
    daemon's observers.

    `between_steps` is called in this thread before each step: the one moment when a reload is safe.
    """
    with Ticks() as ticks:
        batches = 0
        while not stop.is_set():
            between_steps()
            report = daemon.step()
            if report is not None and report.ends_batch:
                batches += 1
                if reason := enough.reached(batches, tally):
                    return reason
            if daemon.finished:
                return "until"
            if report is None:
                status = daemon.status()
                ticks.every(status.batch_seconds / status.speed if status.speed else 0.0)
                # Never longer than a tick: the scheduler goes by the wall clock, which may be set back.
                clock.wait(ticks.wake, min(daemon.seconds_until_due(), TICK_SECONDS_MAX))
                ticks.wake.clear()
        return "signal"


def stand_by(
    daemon: Daemon, *, clock: Clock, stop: threading.Event, observer: Observer, between_looks: Callable[[], None]
) -> bool:
    """Wait until the daemon's slice may be taken; False if `stop` is set before. Storage that does not answer for a
    while is no reason to end: nothing is due here.
    """
    observer.standing_by(daemon.slice)
    looked_seconds = clock.monotonic_seconds()
    while not clock.wait(stop, TICK_SECONDS_MAX):  # a watchdog may be quicker than the next look
        between_looks()
        if clock.monotonic_seconds() - looked_seconds >= LOOK_SECONDS:
            looked_seconds = clock.monotonic_seconds()
            with suppress(StorageError):
                if daemon.take():
                    return True
    return False


class Ticks:
    """Sets `wake` again and again."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self._seconds = TICK_SECONDS_MAX
        executors = {"default": ThreadPoolExecutor(1)}
        self._scheduler = BackgroundScheduler(timezone=UTC, executors=executors, logger=_ticks_log)

    def __enter__(self) -> Ticks:
        self._scheduler.add_job(
            self.wake.set,
            "interval",
            seconds=self._seconds,
            id="wake",
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,  # late is fine: a tick means "look", not "do"
        )
        self._scheduler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._scheduler.shutdown(wait=False)

    def every(self, seconds: float) -> None:
        """Tick so often from now on, within bounds."""
        bounded = min(max(seconds, TICK_SECONDS_MIN), TICK_SECONDS_MAX)
        if bounded != self._seconds:
            self._scheduler.reschedule_job("wake", trigger="interval", seconds=bounded)
            self._seconds = bounded
