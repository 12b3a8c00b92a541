"""How rows are placed: by the year, month, day and hour of their `event_time`, in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from emitter.clock import slot_of, time_of
from emitter.errors import UsageError
from emitter.model import Window

_COLUMNS = ("year", "month", "day", "hour")
GRANULARITIES = {"month": 2, "day": 3, "hour": 4}


@dataclass(frozen=True, slots=True)
class PartitionSpec:
    """The partition columns, from the coarsest: year and month, and as wanted day and hour (all int32).

    >>> from emitter import PartitionSpec
    >>> PartitionSpec.of("hour").columns
    ('year', 'month', 'day', 'hour')
    """

    columns: tuple[str, ...] = ("year", "month", "day")

    def __post_init__(self) -> None:
        if self.columns not in [_COLUMNS[:depth] for depth in GRANULARITIES.values()]:
            raise UsageError(
                f"{self.columns!r} cannot be partition columns",
                hint=f"use {_COLUMNS[:2]}, {_COLUMNS[:3]} or {_COLUMNS}, or PartitionSpec.of('day')",
            )

    @classmethod
    def of(cls, granularity: str) -> PartitionSpec:
        """The spec of `month`, `day` or `hour`."""
        if granularity not in tuple(GRANULARITIES):
            raise UsageError(
                f"there are no partitions by {granularity!r}", hint=f"choose one of: {', '.join(GRANULARITIES)}"
            )
        return cls(_COLUMNS[: GRANULARITIES[granularity]])

    @property
    def granularity(self) -> str:
        return self.columns[-1]

    def values(self, slot: int) -> tuple[int, ...]:
        """The partition column values of a slot."""
        moment = time_of(slot)
        return tuple(int(getattr(moment, column)) for column in self.columns)

    def partitions(self, window: Window) -> Iterator[tuple[int, ...]]:
        """The values of every partition that overlaps a window, in order."""
        slot = window.first
        while slot < window.end:
            yield self.values(slot)
            slot = self.end(slot)

    def parse(self, folder: str) -> tuple[int, ...] | None:
        """The values that a path of folders such as `year=2026/month=01/day=02` stands for; None if it is none of
        ours.
        """
        pairs = [part.partition("=") for part in folder.split("/")]
        if tuple(name for name, _, _ in pairs) != self.columns or not all(value.isdecimal() for _, _, value in pairs):
            return None
        return tuple(int(value) for _, _, value in pairs)

    def path(self, slot: int) -> str:
        """The hive folder of a slot, e.g. `year=2026/month=01/day=02`."""
        pairs = zip(self.columns, self.values(slot), strict=True)
        return "/".join(
            f"{column}={value:04d}" if column == "year" else f"{column}={value:02d}" for column, value in pairs
        )

    def start(self, slot: int) -> int:
        """The first slot of the partition that holds a slot."""
        moment = time_of(slot)
        fields = dict(zip(self.columns, self.values(slot), strict=True))
        return slot_of(
            datetime(fields["year"], fields["month"], fields.get("day", 1), fields.get("hour", 0), tzinfo=moment.tzinfo)
        )

    def end(self, slot: int) -> int:
        """The first slot after the partition that holds a slot."""
        first = time_of(self.start(slot))
        if self.granularity == "month":
            return slot_of((first + timedelta(days=31)).replace(day=1))
        return slot_of(first + timedelta(**{f"{self.granularity}s": 1}))
