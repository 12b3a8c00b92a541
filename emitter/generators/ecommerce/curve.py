"""The shop's hours, weekdays and seasons: light, so that checking a file loads no numpy."""

from __future__ import annotations

from collections.abc import Sequence

from emitter.generators.kit.curve import Weights, whole_weights

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

_SHOP = Weights(HOUR_WEIGHTS, WEEKDAY_WEIGHTS, SEASON_WEIGHTS)


def weights_of(
    hours: Sequence[float] | None, weekdays: Sequence[float] | None, months: Sequence[float] | None
) -> Weights:
    """One's own where they are given, else the shop's."""
    given = (hours, weekdays, months)
    shops = (HOUR_WEIGHTS, WEEKDAY_WEIGHTS, SEASON_WEIGHTS)
    return Weights(*(whole_weights(own) if own else shop for own, shop in zip(given, shops, strict=True)))


def peak_of(weights: Weights) -> float:
    """The most that they can make of the mean rate."""
    return CURVE_PEAK if weights == _SHOP else weights.peak
