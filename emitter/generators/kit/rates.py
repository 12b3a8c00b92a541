"""How many things start in a second on average: a curve over hours, weekdays, months and years, or a constant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from emitter.clock import time_of
from emitter.generators.kit.curve import YEAR_DAYS, Weights
from emitter.generators.kit.growth import DAY_SECONDS, UNIT, Growth

CELL_SECONDS = 900
CELLS_PER_DAY = DAY_SECONDS // CELL_SECONDS
_CELLS_PER_HOUR = 3600 // CELL_SECONDS
RATE_BITS = 10  # a cell's rate is rounded to so many significant bits: at most 0.1 % off, either way


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """A time zone from the pinned tzdata package, never from the machine's own files. Raises FileNotFoundError."""
    with resources.files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


class LocalWeights:
    """What hour, weekday and month weigh at any moment in each of some time zones, times the zone's own weight."""

    def __init__(self, weights: Weights, time_zones: Iterable[tuple[str, float]]) -> None:
        self.weights = weights
        self._zones = [(zone(name), max(1, round(weight * UNIT))) for name, weight in time_zones]
        self.zone_weights = [weight for _, weight in self._zones]
        # Straight lines between the hours: the mean stays what it is.
        hours = weights.hours
        self.quarters = [
            hours[hour] * (_CELLS_PER_HOUR - quarter) + hours[(hour + 1) % 24] * quarter
            for hour in range(24)
            for quarter in range(_CELLS_PER_HOUR)
        ]

    def of_day(self, day: int) -> list[list[int]]:
        """By cell of a day since 2020 (UTC), and by zone."""
        start, cells = time_of(day * DAY_SECONDS), list[list[int]]()
        zones = [self._hours(start, time_zone, weight) for time_zone, weight in self._zones]
        for hour in range(24):
            rows: list[list[int]] = [[] for _ in range(_CELLS_PER_HOUR)]
            for zone_hours in zones:
                day_weight, cell = zone_hours[hour]
                for quarter, row in enumerate(rows):
                    row.append(day_weight * self.quarters[(cell + quarter) % CELLS_PER_DAY])
            cells += rows
        return cells

    def _hours(self, start: datetime, time_zone: ZoneInfo, zone_weight: int) -> list[tuple[int, int]]:
        """By hour from a moment on: what the local day weighs, and the local cell in it."""
        locals_ = [(start + timedelta(hours=hour)).astimezone(time_zone) for hour in (0, 23)]
        if locals_[0].utcoffset() == locals_[1].utcoffset():  # on most days, and many times as quick
            weights = [self.weights.of_day(local) * zone_weight for local in locals_]
            first = locals_[0].hour * 60 + locals_[0].minute
            moments = [divmod(first + 60 * hour, 1440) for hour in range(24)]
            return [(weights[is_next], minute * 60 // CELL_SECONDS) for is_next, minute in moments]
        moved = [(start + timedelta(hours=hour)).astimezone(time_zone) for hour in range(24)]
        return [
            (self.weights.of_day(local) * zone_weight, (local.hour * 60 + local.minute) * 60 // CELL_SECONDS)
            for local in moved
        ]


class RateCurve:
    """The mean number of things that start in a slot, constant within a quarter of an hour, as integers in millionths.

    mean rate * hour * weekday * month (each in the local time of the zones, weighted) * growth * the day's own factor
    (days of UTC, such as 2026-11-27). The weights are scaled so that their mean over the year from the origin is one.
    """

    def __init__(
        self,
        origin_slot: int,
        per_second: float,
        weights: Weights,
        time_zones: Iterable[tuple[str, float]],
        growth_per_year: float = 0.0,
        day_factors: Iterable[tuple[str, float]] = (),
    ) -> None:
        self._growth = Growth(origin_slot, growth_per_year)
        self._local = LocalWeights(weights, time_zones)
        self._day_factors = {day: round(factor * 1000) for day, factor in day_factors}
        self._rate_micro = round(per_second * UNIT)
        days = [time_of(origin_slot + day * DAY_SECONDS) for day in range(YEAR_DAYS)]
        self._year_weights = sum(map(weights.of_day, days))

    def day_rates_micro(self, day: int) -> list[int]:
        """The rates of the cells of a day since 2020 (UTC), rounded to `RATE_BITS`."""
        factor = self._day_factors.get(time_of(day * DAY_SECONDS).date().isoformat(), 1000)
        unit = UNIT * 1000 * self._year_weights * sum(self._local.zone_weights) * sum(self._local.quarters)
        rates = []
        for cell, weights in enumerate(self._local.of_day(day)):
            slot = day * DAY_SECONDS + cell // _CELLS_PER_HOUR * 3600
            scale = self._rate_micro * self._growth.millionths(slot) * factor * YEAR_DAYS * CELLS_PER_DAY
            rates.append(_rounded((scale * sum(weights) + unit // 2) // unit))
        return rates


class FlatCurve:
    """A constant rate, exactly as asked for, but for a day's own factor. `is_even`: no chance is in its counts."""

    def __init__(
        self, per_second: float, day_factors: Iterable[tuple[str, float]] = (), *, is_even: bool = False
    ) -> None:
        self.is_even = is_even
        self._day_factors = {day: round(factor * 1000) for day, factor in day_factors}
        self._rate_micro = round(per_second * UNIT)

    def day_rates_micro(self, day: int) -> list[int]:
        """As that of `RateCurve`. There are few different rates, so none is rounded."""
        factor = self._day_factors.get(time_of(day * DAY_SECONDS).date().isoformat(), 1000)
        return [(self._rate_micro * factor + 500) // 1000] * CELLS_PER_DAY


Curve = RateCurve | FlatCurve


def _rounded(rate_micro: int) -> int:
    shift = max(0, rate_micro.bit_length() - RATE_BITS)
    return ((rate_micro + (1 << shift >> 1)) >> shift) << shift
