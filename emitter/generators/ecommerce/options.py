"""What can be set of the shop, and how fast it can get: light, so that checking a file loads no numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Annotated, Any, ClassVar

from pydantic import Field

from emitter.settings.declaring import Check
from emitter.settings.rules import checked, number, pairs, whole

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
"""The most that hour, weekday and season can make of the mean rate together."""

GROWTH_YEARS = 10
"""Growth goes on for so many years after the origin, then the level stays."""

SLOT_ORDERS_MAX = 2**18
"""An order's id has 18 bits for its number within the second."""

POPULATION_MAX = 2**30
"""A customer or product is drawn from 64-bit words in a way that reaches so many."""

_RATE_PEAK_MAX = SLOT_ORDERS_MAX - 10 * math.isqrt(SLOT_ORDERS_MAX)  # ten deviations of a Poisson count below


def _peak_rate(rate: float, promotions: Iterable[tuple[str, float]], growth: float) -> float:
    promotion = max((factor for _, factor in promotions), default=1.0)
    return rate * CURVE_PEAK * max(1.0, promotion) * (1.0 + growth) ** GROWTH_YEARS


def _rate_faults(
    rate: float, promotions: tuple[tuple[str, float], ...], growth: float
) -> Iterable[tuple[Any, str, str]]:
    peak = _peak_rate(rate, promotions, growth)
    if peak > _RATE_PEAK_MAX:
        most = math.floor(rate * _RATE_PEAK_MAX / peak * 1000) / 1000
        yield (
            rate,
            f"at most {most} with these promotions and this growth, as ids end at {_RATE_PEAK_MAX} a second",
            f"at its peak this rate is {peak:.0f} orders a second",
        )


def _population_faults(opening: int, growth: float) -> Iterable[tuple[Any, str, str]]:
    factor = (1.0 + growth) ** GROWTH_YEARS
    if opening * factor > POPULATION_MAX - 1:
        most = math.floor((POPULATION_MAX - 1) / factor)
        yield (
            opening,
            f"at most {most} with this growth, as draws end at {POPULATION_MAX}",
            f"after {GROWTH_YEARS} years there would be {opening * factor:.0f}",
        )


@cache
def _zone_names() -> tuple[str, ...]:
    return tuple(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


def _read_zone(value: Any) -> str:
    if not isinstance(value, str) or value not in _zone_names():
        raise ValueError("not a time zone")
    return value


def _read_day(value: Any) -> str:
    # YAML gives a date, JSON and the command line its text; a datetime is a date to Python, but no day.
    day = date.fromisoformat(value) if isinstance(value, str) else value
    text = str(day)
    if type(day) is not date or not 2020 <= day.year <= 2087 or value not in (day, text):
        raise ValueError("not a day")
    return text


_SHARE = number(0, 1)
_DAY = checked("a day from 2020-01-01 to 2087-12-31, such as 2026-11-27", _read_day)
_ZONE = checked("a time zone that the package tzdata knows, such as Europe/Berlin", _read_zone, _zone_names())
_PROMOTIONS = pairs("a mapping of days to factors, such as {2026-11-27: 1.8}", _DAY, number(0, 100, above=True))
_TIME_ZONES = pairs(
    "a mapping of at least one time zone to its weight, such as {Europe/Berlin: 1}",
    _ZONE,
    number(0, 1_000_000, above=True),
    count_min=1,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EcommerceOptions:
    """The options of the domain `ecommerce`. Those marked `input` may change on the way, the others never."""

    CHECKS: ClassVar[tuple[Check, ...]] = (
        Check(("orders_per_second", "promotions", "order_growth_per_year"), _rate_faults),
        Check(("customers", "customer_growth_per_year"), _population_faults),
        Check(("products", "product_growth_per_year"), _population_faults),
    )

    customers: Annotated[
        int,
        whole(1, 1_000_000_000),
        Field(description="Customers at the origin; more sign up as time passes."),
    ] = 100_000
    products: Annotated[
        int, whole(1, 10_000_000), Field(description="Products at the origin; more are added as time passes.")
    ] = 5_000
    orders_per_second: Annotated[
        float,
        number(0, SLOT_ORDERS_MAX),
        Field(description="Orders per simulated second: the mean over a year's curve at the origin."),
    ] = field(default=10.0, metadata={"input": True})
    promotions: Annotated[
        tuple[tuple[str, float], ...],
        _PROMOTIONS,
        Field(description="Days (UTC) on which the rate is multiplied, and the factor of each."),
    ] = field(default=(), metadata={"input": True})
    order_growth_per_year: Annotated[
        float,
        _SHARE,
        Field(description="Growth of the order rate, for the first ten years (0.1: 10 % a year)."),
    ] = 0.10
    customer_growth_per_year: Annotated[
        float, _SHARE, Field(description="Growth of the number of customers, for the first ten years.")
    ] = 0.20
    product_growth_per_year: Annotated[
        float, _SHARE, Field(description="Growth of the number of products, for the first ten years.")
    ] = 0.05
    customer_skew: Annotated[
        float,
        number(0, 2),
        Field(description="How much few customers buy most: weight (rank + 1) ** -skew; 0 is even."),
    ] = 0.8
    product_skew: Annotated[
        float,
        number(0, 2),
        Field(description="How much few products sell most: weight (rank + 1) ** -skew; 0 is even."),
    ] = 1.0
    time_zones: Annotated[
        tuple[tuple[str, float], ...],
        _TIME_ZONES,
        Field(description="Where the customers live: time zones and their weights; they shape the day's curve."),
    ] = (("America/New_York", 0.2), ("Europe/Berlin", 0.5), ("Europe/London", 0.3))
    price_period_days: Annotated[int, whole(1, 365), Field(description="How many days a product keeps its price.")] = 30


def peak_rate_per_second(options: EcommerceOptions) -> float:
    """The highest mean rate of orders that these options can reach at any time, per simulated second."""
    return _peak_rate(options.orders_per_second, options.promotions, options.order_growth_per_year)


OPTIONS = EcommerceOptions
