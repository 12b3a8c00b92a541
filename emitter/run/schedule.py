"""When the daemon steps. APScheduler only says "wake"; it holds no state and never runs a step.

The daemon's thread steps back to back while batches are due. In between it sleeps until the next one is due,
and is woken before that at every tick: there it sees a stop, a reload, or a wall clock that has jumped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Literal

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from emitter.clock import Clock

if TYPE_CHECKING:
    from emitter.run.daemon import Daemon

TICK_SECONDS_MAX = 1.0
TICK_SECONDS_MIN = 0.05

StopReason = Literal["batches", "until", "signal"]


def run_daemon(
    daemon: Daemon,
    *,
    clock: Clock,
    stop: threading.Event,
    batches: int | None = None,
    between_steps: Callable[[], None] = lambda: None,
) -> StopReason:
    """Step until `stop` is set, so many batches are done, or the daemon is finished; which of these it was.

    `between_steps` is called in this thread before each step: the one moment when a reload is safe.
    """
    with _Ticks() as ticks:
        batches_left = batches
        while not stop.is_set():
            between_steps()
            report = daemon.step()
            if report is not None and report.ends_batch and batches_left is not None:
                batches_left -= 1
            if batches_left == 0:
                return "batches"
            if daemon.finished:
                return "until"
            if report is None:
                status = daemon.status()
                ticks.every(status.batch_seconds / status.speed if status.speed else 0.0)
                # Never longer than a tick: the scheduler goes by the wall clock, which may be set back.
                clock.wait(ticks.wake, min(daemon.seconds_until_due(), TICK_SECONDS_MAX))
                ticks.wake.clear()
        return "signal"


class _Ticks:
    """Sets `wake` again and again."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self._seconds = TICK_SECONDS_MAX
        self._scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(1)})

    def __enter__(self) -> _Ticks:
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
