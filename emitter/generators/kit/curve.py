"""What hour, weekday and month make of a rate: light, so that checking a file loads no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import accumulate, islice

YEAR_DAYS = 365
_WEIGHT_UNIT = 1_000_000  # weights from outside are counted in millionths of the largest


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights by hour, weekday (Monday first) and month, as whole numbers. Of each kind only the ratios count."""

    hours: tuple[int, ...]
    weekdays: tuple[int, ...]
    months: tuple[int, ...]

    def of_day(self, day: date) -> int:
        """The weight of a day beside others."""
        return self.weekdays[day.weekday()] * self.months[day.month - 1]

    @property
    def peak(self) -> float:
        """The most that they can make of a rate whose mean over the year from any origin is one."""
        return _peak(self)


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """Weights in whole numbers, in millionths of the largest."""
    return tuple(round(weight / max(weights) * _WEIGHT_UNIT) for weight in weights)


@lru_cache(maxsize=64)
def _peak(weights: Weights) -> float:
    days = [weights.of_day(date.fromordinal(day)) for day in range(_FIRST_DAY, _LAST_DAY + YEAR_DAYS + 1)]
    sums = [0, *accumulate(days)]
    least_year = min(end - first for first, end in zip(sums, islice(sums, YEAR_DAYS, None), strict=False))
    of_days = max(weights.weekdays) * max(weights.months) * YEAR_DAYS / least_year
    return max(weights.hours) * len(weights.hours) / sum(weights.hours) * of_days


_FIRST_DAY, _LAST_DAY = (date(year, month, day).toordinal() for year, month, day in ((2020, 1, 1), (2087, 12, 31)))
