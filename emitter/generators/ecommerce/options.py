"""What can be set of the shop, and how fast it can get: light, so that checking a file loads no numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from pydantic import Field

from emitter.generators.ecommerce.curve import peak_of, weights_of
from emitter.generators.kit.limits import GROWTH_YEARS, POPULATION_MAX, SLOT_THINGS_MAX
from emitter.settings.declaring import Check
from emitter.settings.rules import checked, number, optional, pairs, weights, whole

_DAY_SECONDS = 86_400
CUSTOMER_DAILY_ORDERS_MAX, BUSIEST_DAILY_ORDERS_MAX = 1, 100
"""More orders than that of a customer, in the mean or of the busiest one, are warned of."""

_POISSON_PEAK_MAX = SLOT_THINGS_MAX - 10 * math.isqrt(SLOT_THINGS_MAX)  # ten deviations of a Poisson count below

_Own = tuple[float, ...] | None


def _peak_factor(
    curve: str, promotions: Iterable[tuple[str, float]], growth: float, hours: _Own, weekdays: _Own, months: _Own
) -> float:
    """The most that curve, promotions and growth can make of the mean rate together."""
    promotion = max(1.0, max((factor for _, factor in promotions), default=1.0))
    if curve == "flat":
        return promotion
    return peak_of(weights_of(hours, weekdays, months)) * promotion * (1.0 + growth) ** GROWTH_YEARS


def _rate_faults(
    rate: float,
    promotions: tuple[tuple[str, float], ...],
    growth: float,
    curve: str,
    arrivals: str,
    *own: _Own,
) -> Iterable[tuple[Any, str, str]]:
    peak = rate * _peak_factor(curve, promotions, growth, *own)
    peak_max = SLOT_THINGS_MAX - 1 if arrivals == "even" else _POISSON_PEAK_MAX
    if peak > peak_max:
        most = math.floor(rate * peak_max / peak * 1000) / 1000
        yield (
            rate,
            f"at most {most} with this curve, these promotions and this growth, as ids end at {peak_max} a second",
            f"at its peak this rate is {peak:.0f} orders a second",
        )


def _curve_faults(curve: str, hours: _Own, weekdays: _Own, months: _Own) -> Iterable[tuple[Any, str, str]]:
    given = {"hour_weights": hours, "weekday_weights": weekdays, "month_weights": months}
    names = [name for name, own in given.items() if own is not None]
    if curve == "flat" and names:
        yield curve, f"shop, as {', '.join(names)} shape a curve", "leave them out for a constant rate"


def _arrivals_faults(arrivals: str, curve: str) -> Iterable[tuple[Any, str, str]]:
    if arrivals == "even" and curve != "flat":
        yield arrivals, f"poisson, as the curve is {curve}", "set curve to flat for arrivals that are even"


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


# What earlier releases did not know stays out of the journal while it is at its default.
_NEW_INPUT = {"input": True, "omit_default": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class EcommerceOptions:
    """The options of the domain `ecommerce`. Those marked `input` may change on the way, the others never.

    The defaults are part of every output whose configuration does not name them: others would change the rates of what
    is there, or have it refused. So they stay, and the files in `config/` say what makes a believable shop.
    """

    CHECKS: ClassVar[tuple[Check, ...]] = (
        Check(
            (
                *("orders_per_second", "promotions", "order_growth_per_year", "curve", "arrivals"),
                *("hour_weights", "weekday_weights", "month_weights"),
            ),
            _rate_faults,
        ),
        Check(("curve", "hour_weights", "weekday_weights", "month_weights"), _curve_faults),
        Check(("arrivals", "curve"), _arrivals_faults),
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
        number(0, SLOT_THINGS_MAX),
        Field(description="Orders per simulated second: the mean over a year's curve at the origin."),
    ] = field(default=10.0, metadata={"input": True})
    promotions: Annotated[
        tuple[tuple[str, float], ...],
        _PROMOTIONS,
        Field(description="Days (UTC) on which the rate is multiplied, and the factor of each."),
    ] = field(default=(), metadata={"input": True})
    curve: Annotated[
        Literal["shop", "flat"],
        Field(
            description="How the rate moves: `shop` by hour, weekday, month and growth; `flat` not at all, but for"
            " promotions."
        ),
    ] = field(default="shop", metadata=_NEW_INPUT)
    arrivals: Annotated[
        Literal["poisson", "even"],
        Field(
            description="How orders come at their rate: `poisson` by chance; `even`, where the curve is flat, as many"
            " each second as the rate says, in whole orders."
        ),
    ] = field(default="poisson", metadata=_NEW_INPUT)
    hour_weights: Annotated[
        tuple[float, ...] | None,
        optional(weights(24, "by hour of the local day from 0 on")),
        Field(description="The curve of the day, straight lines from hour to hour. Not given: the shop's."),
    ] = field(default=None, metadata=_NEW_INPUT)
    weekday_weights: Annotated[
        tuple[float, ...] | None,
        optional(weights(7, "by weekday, Monday first")),
        Field(description="The curve of the week. Not given: the shop's."),
    ] = field(default=None, metadata=_NEW_INPUT)
    month_weights: Annotated[
        tuple[float, ...] | None,
        optional(weights(12, "by month, January first")),
        Field(description="The curve of the year. Not given: the shop's."),
    ] = field(default=None, metadata=_NEW_INPUT)
    order_growth_per_year: Annotated[
        float,
        _SHARE,
        Field(
            description="Growth of the order rate, for the first ten years (0.1: 10 % a year); none where it is flat."
        ),
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
        Field(
            description="Time zones by whose hours orders come, and their weights. They shape the day's curve; the"
            " customers' countries and names stay as they are."
        ),
    ] = (("America/New_York", 0.2), ("Europe/Berlin", 0.5), ("Europe/London", 0.3))
    price_period_days: Annotated[int, whole(1, 365), Field(description="How many days a product keeps its price.")] = 30

    def warnings(self) -> list[str]:
        """What is allowed, and makes no shop that anybody would believe."""
        daily = self.orders_per_second * _DAY_SECONDS
        each, busiest = daily / self.customers, daily * _busiest_share(self.customers, self.customer_skew)
        if each <= CUSTOMER_DAILY_ORDERS_MAX and busiest <= BUSIEST_DAILY_ORDERS_MAX:
            return []
        return [
            f"ecommerce.orders_per_second: {self.orders_per_second:g} over {self.customers:,} customers with a skew of"
            f" {self.customer_skew:g} are {each:,.1f} orders a day of each, and {busiest:,.0f} of the busiest, which"
            " nobody will believe: lower the rate, or begin an output with more customers or less customer_skew"
        ]


def _busiest_share(customers: int, skew: float) -> float:
    """The share of orders that the customer of the first rank has, by the law that they are drawn by."""
    if skew == 1:
        return math.log(2) / math.log(customers + 1)
    rest = 1.0 - skew
    return math.expm1(rest * math.log(2)) / math.expm1(rest * math.log(customers + 1))


class EcommerceArguments(TypedDict, total=False):
    """The same options as `create_generator` takes them: for editors and type checkers."""

    customers: int
    products: int
    orders_per_second: float
    promotions: Mapping[str, float] | Mapping[date, float]
    curve: Literal["shop", "flat"]
    arrivals: Literal["poisson", "even"]
    hour_weights: Sequence[float] | None
    weekday_weights: Sequence[float] | None
    month_weights: Sequence[float] | None
    order_growth_per_year: float
    customer_growth_per_year: float
    product_growth_per_year: float
    customer_skew: float
    product_skew: float
    time_zones: Mapping[str, float]
    price_period_days: int


def peak_rate_per_second(options: EcommerceOptions) -> float:
    """The highest mean rate of orders that these options can reach at any time, per simulated second."""
    own = (options.hour_weights, options.weekday_weights, options.month_weights)
    return options.orders_per_second * _peak_factor(
        options.curve, options.promotions, options.order_growth_per_year, *own
    )


OPTIONS = EcommerceOptions
