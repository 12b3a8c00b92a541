"""Whether a running daemon is well, for who runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import override

from emitter.clock import Clock, duration_text
from emitter.errors import EmitterError
from emitter.model import Slice, StepReport
from emitter.watch.observer import READY_BATCHES, READY_SECONDS_MIN, DaemonStatus, Observer, ready_seconds

BEHIND_SECONDS_MIN = 10.0  # real time; less comes and goes, and is no news


class Health(Observer):
    """Whether the process lives and whether batches finish.

    Ages are of monotonic time: a clock that is set does not make a daemon unhealthy.
    """

    def __init__(self, clock: Clock) -> None:
        """Watches the thread that makes it: that one has to be the daemon's."""
        self._clock = clock
        self._thread = threading.current_thread()
        self._status: Callable[[], DaemonStatus] | None = None
        self._finished_seconds: float | None = None
        self._trouble = ""
        self._stopped = ""
        self._standby = ""
        self._why_silent: Callable[[], str] = lambda: ""

    def watch_life(self, why_silent: Callable[[], str]) -> None:
        """From now on ask also whether the daemon's thread gives signs of life."""
        self._why_silent = why_silent

    def watch(self, status: Callable[[], DaemonStatus]) -> None:
        """From now on ask the daemon itself how it stands."""
        self._status = status

    @override
    def standing_by(self, slice: Slice) -> None:
        self._standby = f"standby: another process writes slice {slice}"

    @override
    def started(self, status: DaemonStatus) -> None:
        self._standby = ""
        self._finished_seconds = self._clock.monotonic_seconds()

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        self._finished_seconds = self._clock.monotonic_seconds()
        self._trouble = ""

    @override
    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        self._trouble = f"; retrying: {error.problem}"

    @override
    def stopped(self, reason: str) -> None:
        self._stopped = reason

    def why_not_alive(self) -> str:
        """Empty while the daemon's thread is at work, and gets on with it."""
        if self._stopped:
            return f"stopped: {self._stopped}"
        return self._why_silent() if self._thread.is_alive() else "the daemon's thread has ended"

    def why_not_ready(self) -> str:
        """Empty while steps finish in time, or none is due."""
        if dead := self.why_not_alive():
            return dead
        if self._standby:
            return ""
        if self._status is None or self._finished_seconds is None:
            return "starting"
        status = self._status()
        if status.speed is not None and status.lag_seconds < status.batch_seconds:
            return ""
        batch_seconds = status.batch_seconds / status.speed if status.speed else 0.0
        limit_seconds = max(READY_SECONDS_MIN, READY_BATCHES * batch_seconds)
        age_seconds = self._clock.monotonic_seconds() - self._finished_seconds
        if status.speed:  # before that nothing was due: the slices of a new shard count may begin minutes ahead
            age_seconds = min(age_seconds, (status.lag_seconds - status.batch_seconds) / status.speed)
        if age_seconds <= limit_seconds:
            return ""
        return f"no step has finished for {age_seconds:.0f} s, {limit_seconds:.0f} s are allowed{self._trouble}"

    def catching_up(self) -> str:
        """How far simulated time is ahead of what is done, or one table ahead of another, and what others hold; empty
        while that is no more than usual. Of a standby, that it is one.
        """
        if self._standby:
            return self._standby
        status = self._status() if self._status else None
        if status is None:
            return ""
        notes = []
        usual_seconds = max(READY_BATCHES * status.batch_seconds, BEHIND_SECONDS_MIN * (status.speed or 0.0))
        if status.speed is not None and status.lag_seconds > usual_seconds:
            level = status.level_in_seconds
            done = "" if level is None else f", level in about {duration_text(max(1.0, level))}"
            notes.append(f"catching up: {duration_text(status.lag_seconds)} of simulated time behind{done}")
        limit_seconds = ready_seconds(status.batch_seconds, status.speed)
        for table, lag_seconds in status.table_lag_seconds.items():
            if lag_seconds > limit_seconds:
                notes.append(f"{table} is {duration_text(lag_seconds)} of simulated time behind other tables")
        if status.left_to_others:
            notes.append(f"left to other processes, which hold them: slices {', '.join(status.left_to_others)}")
        return "; ".join(notes)
