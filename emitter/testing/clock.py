"""A clock that only tests move."""

from __future__ import annotations

import threading

from emitter.clock import EPOCH_UNIX_SECONDS, Clock

_2026 = EPOCH_UNIX_SECONDS + 189_388_800.0


class ManualClock(Clock):
    """Stands still until it is moved. Waiting moves it on at once, so that nothing ever sleeps."""

    def __init__(self, wall_seconds: float = _2026) -> None:
        """`wall_seconds`: the Unix time to begin at; 2026-01-01T00:00:00Z by default."""
        self._guard = threading.Lock()
        self._wall_seconds = wall_seconds
        self._monotonic_seconds = 0.0

    def wall_seconds(self) -> float:
        return self._wall_seconds

    def monotonic_seconds(self) -> float:
        return self._monotonic_seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """As if the time had passed without anything happening; no time passes if the event is set."""
        if not event.is_set():
            self.advance(max(0.0, seconds))
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Time passes."""
        with self._guard:
            self._wall_seconds += seconds
            self._monotonic_seconds += seconds

    def jump_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or backward (seconds below 0)."""
        with self._guard:
            self._wall_seconds += seconds
