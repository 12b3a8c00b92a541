"""What hour, weekday and month make of a rate: light, so that checking a file loads no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import accumulate, islice
from typing import Self

HOUR_WEIGHTS = (
    *(500, 320, 220, 170, 150, 190, 340, 580, 850, 1020, 1140, 1210),
    *(1260, 1210, 1180, 1200, 1270, 1390, 1590, 1820, 1970, 1860, 1530, 1030),
)
"""Orders by hour of the local day, in thousandths of the mean hour: least at 4, most at 20."""

WEEKDAY_WEIGHTS = (1010, 960, 950, 970, 930, 1010, 1170)
"""Orders by day of the week, Monday first, in thousandths of the mean day."""

SEASON_WEIGHTS = (900, 860, 910, 920, 950, 930, 910, 900, 960, 1010, 1400, 1350)
"""Orders by month, January first, in thousandths of the mean month."""

CURVE_PEAK = max(HOUR_WEIGHTS) * max(WEEKDAY_WEIGHTS) * max(SEASON_WEIGHTS) / 1000**3
"""The most that the shop's hours, weekdays and seasons can make of the mean rate together."""

YEAR_DAYS = 365
_WEIGHT_UNIT = 1_000_000  # weights of one's own are counted in millionths of the largest


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights by hour, weekday and month, as whole numbers. Of each kind only the ratios count."""

    hours: tuple[int, ...] = HOUR_WEIGHTS
    weekdays: tuple[int, ...] = WEEKDAY_WEIGHTS
    months: tuple[int, ...] = SEASON_WEIGHTS

    @classmethod
    def of(
        cls, hours: Sequence[float] | None, weekdays: Sequence[float] | None, months: Sequence[float] | None
    ) -> Self:
        """One's own where they are given, else the shop's."""
        return cls(_whole(hours) or HOUR_WEIGHTS, _whole(weekdays) or WEEKDAY_WEIGHTS, _whole(months) or SEASON_WEIGHTS)

    def of_day(self, day: date) -> int:
        """The weight of a day beside others."""
        return self.weekdays[day.weekday()] * self.months[day.month - 1]

    @property
    def peak(self) -> float:
        """The most that they can make of a rate whose mean over the year from any origin is one."""
        return CURVE_PEAK if self == Weights() else _peak(self)


def _whole(weights: Sequence[float] | None) -> tuple[int, ...]:
    return tuple(round(weight / max(weights) * _WEIGHT_UNIT) for weight in weights) if weights else ()


@lru_cache(maxsize=64)
def _peak(weights: Weights) -> float:
    days = [weights.of_day(date.fromordinal(day)) for day in range(_FIRST_DAY, _LAST_DAY + YEAR_DAYS + 1)]
    sums = [0, *accumulate(days)]
    least_year = min(end - first for first, end in zip(sums, islice(sums, YEAR_DAYS, None), strict=False))
    of_days = max(weights.weekdays) * max(weights.months) * YEAR_DAYS / least_year
    return max(weights.hours) * len(weights.hours) / sum(weights.hours) * of_days


_FIRST_DAY, _LAST_DAY = (date(year, month, day).toordinal() for year, month, day in ((2020, 1, 1), (2087, 12, 31)))
