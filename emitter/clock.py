"""The only source of time.

Simulated time counts in slots of one second since `EPOCH`. `Clock` is what the machine's clocks give, and is
injected everywhere; `SimulatedTime` turns it into the slots that are due. `testing.ManualClock` moves by hand.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
EPOCH_UNIX_SECONDS = int(EPOCH.timestamp())
YEAR_LAST = 2087
SLOT_END = 2**31  # ids carry 31 bits of slot: the last one begins in January 2088


def slot_of(moment: datetime) -> int:
    """The slot that holds a moment (a time without zone is UTC)."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(seconds=1)


def time_of(slot: int) -> datetime:
    """When a slot begins, in UTC."""
    return EPOCH + timedelta(seconds=slot)


def text_of(slot: int) -> str:
    """When a slot begins, as `2026-01-01T00:00:00Z`."""
    return time_of(slot).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration_text(seconds: float) -> str:
    """At most two units: 850 ms are 0 s, 75 s are 1 min 15 s."""
    whole = int(seconds)
    for unit, size, smaller, smaller_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def parse_time(value: object) -> datetime:
    """A moment in UTC from ISO 8601 text, a date or a datetime; without zone it is UTC. Raises ValueError."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise ValueError(f"not a time: {value!r}")
    try:
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("beyond the years 1 to 9999") from error
    if moment.microsecond:
        raise ValueError("not a whole second")
    if not EPOCH.year <= moment.year <= YEAR_LAST:
        raise ValueError(f"not in the years {EPOCH.year} to {YEAR_LAST}")
    return moment


class Clock(ABC):
    """What the rest may know of real time."""

    @abstractmethod
    def wall_seconds(self) -> float:
        """Unix time. It may jump."""

    @abstractmethod
    def monotonic_seconds(self) -> float:
        """Seconds from some beginning. It never falls."""

    @abstractmethod
    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, at most so long; whether it is set."""


class SystemClock(Clock):
    """The machine's clocks."""

    def wall_seconds(self) -> float:
        return time.time()

    def monotonic_seconds(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


@dataclass(frozen=True, slots=True)
class Anchor:
    """At `wall_seconds`, simulated time stood at `slot` (with a fraction) and ran at `speed`. Kept beside the journal;
    no content follows from it.
    """

    slot: float
    wall_seconds: float
    speed: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Anchor:
        """Raises KeyError, TypeError or ValueError for anything but what `to_json` made."""
        anchor = cls(float(value["slot"]), float(value["wall_seconds"]), float(value["speed"]))
        if not (0 <= anchor.slot <= SLOT_END and math.isfinite(anchor.wall_seconds) and 0 < anchor.speed < math.inf):
            raise ValueError(f"no time goes on from {value!r:.80}")
        return anchor


class SimulatedTime:
    """Simulated = anchor + speed * time passed.

    Time passed is monotonic time plus the furthest that the wall clock ever ran ahead of it: a forward jump of
    the wall clock (a suspended machine) is downtime, a backward one is ignored, and simulated time never falls.
    With `catch_up` off, downtime counts for nothing: only monotonic time passes.
    """

    def __init__(self, clock: Clock, anchor: Anchor, speed: float, *, catch_up: bool) -> None:
        self._clock = clock
        self._catch_up = catch_up
        self._ahead_seconds = clock.wall_seconds() - clock.monotonic_seconds()
        self._base_seconds = self._passed_seconds()
        down_seconds = max(0.0, clock.wall_seconds() - anchor.wall_seconds) if catch_up else 0.0
        self._slot = anchor.slot + anchor.speed * down_seconds
        self.speed = speed

    def _passed_seconds(self) -> float:
        wall = self._clock.wall_seconds()  # first: a pause between the two must not look like a jump forward
        monotonic = self._clock.monotonic_seconds()
        if self._catch_up:
            self._ahead_seconds = max(self._ahead_seconds, wall - monotonic)
        return monotonic + self._ahead_seconds

    def now(self) -> float:
        """Simulated time as a slot with a fraction. The slots before `int(now())` have ended: they are due."""
        return self._slot + self.speed * (self._passed_seconds() - self._base_seconds)

    def anchor(self) -> Anchor:
        """Where simulated time stands, to go on from there another time."""
        return Anchor(self.now(), self._clock.wall_seconds(), self.speed)

    def change_speed(self, speed: float) -> None:
        """Go on from now at another speed."""
        self._slot, self._base_seconds = self.now(), self._passed_seconds()
        self.speed = speed

    def raise_to(self, slot: float) -> bool:
        """Go on from a later slot, if it is one: simulated time never stands before what is done."""
        behind = slot - self.now()
        self._slot += max(0.0, behind)
        return behind > 0

    def seconds_until(self, slot: float) -> float:
        """Real seconds until simulated time reaches a slot; 0 if it has."""
        return max(0.0, (slot - self.now()) / self.speed)
