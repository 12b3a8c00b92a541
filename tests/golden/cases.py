"""What the golden digests are taken of. Needs no package but those that content is made with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from emitter.clock import parse_time, slot_of
from emitter.generators.base import GeneratorBase
from emitter.model import Epoch, Inputs, Slice, Window
from emitter.run.factory import create_generator, input_options
from emitter.truth.digest import row_words, total

HOUR, DAY = 3600, 86_400

Digests = dict[str, dict[str, str]]
"""Case -> table -> "rows digest"."""

SMALL: dict[str, Any] = {
    "customers": 900,
    "products": 120,
    "customer_growth_per_year": 1.0,
    "product_growth_per_year": 1.0,
    "price_period_days": 3,
}


def digests_of(generator: GeneratorBase, window: Window, slice: Slice = Slice()) -> dict[str, str]:
    """By table: how many rows there are, and the sum of their words."""
    rows: dict[str, int] = defaultdict(int)
    sums: dict[str, int] = defaultdict(int)
    for frame in generator.rows(window, slice, generator.tables()):
        rows[frame.table] += frame.rows.num_rows
        sums[frame.table] = (sums[frame.table] + total(row_words(generator.table(frame.table), frame.rows))) % 2**64
    return {table: f"{rows[table]} {sums[table]:016x}" for table in generator.tables()}


def ecommerce() -> Iterator[tuple[str, dict[str, str]]]:
    """The cases of the shop."""

    def shop(start: str = "2026-01-01", **options: Any) -> tuple[GeneratorBase, int]:
        generator = create_generator("ecommerce", start=start, **options)
        return generator, generator.origin_slot

    generator, origin = shop()
    yield "an hour from the origin, by default", digests_of(generator, Window(origin, origin + HOUR))
    late = origin + 1400 * DAY
    yield "a quarter of an hour some years later", digests_of(generator, Window(late, late + HOUR // 4))

    generator, origin = shop(seed=2**63 - 1, orders_per_second=0.01, **SMALL)
    yield "a month of few orders", digests_of(generator, Window(origin, origin + 30 * DAY))

    generator, origin = shop("2020-01-01T05:06:07Z", orders_per_second=2000.0, order_growth_per_year=0.0)
    yield "some seconds of many orders", digests_of(generator, Window(origin, origin + 20))

    generator, origin = shop(orders_per_second=5.0, **SMALL)
    for slice in (Slice(1, 3), Slice(1, 4), Slice(99, 100)):
        yield f"shard {slice}", digests_of(generator, Window(origin + HOUR, origin + 2 * HOUR), slice)

    zones = {"America/Los_Angeles": 2, "Asia/Kolkata": 0.5, "Australia/Lord_Howe": 0.125, "Europe/Berlin": 3.0}
    promotions = {"2026-03-08": 2.5, "2026-03-29": 0.4, "2087-12-31": 1.25}
    for text in ("2026-03-08T09:30:00Z", "2026-03-28T23:30:00Z", "2026-10-25T00:30:00Z", "2087-12-31T12:00:00Z"):
        first = slot_of(parse_time(text))
        generator, _ = shop(text[:8] + "01", time_zones=zones, promotions=promotions, **SMALL)
        yield f"promotions and zones at {text}", digests_of(generator, Window(first, first + HOUR // 2))

    for name, skews in (("even", (0.0, 0.0)), ("steep", (2.0, 1.5))):
        generator, origin = shop(customers=7, products=3, customer_skew=skews[0], product_skew=skews[1])
        yield f"few to choose from, {name}", digests_of(generator, Window(origin + DAY, origin + DAY + HOUR // 4))

    generator, origin = shop(orders_per_second=1.0, **SMALL)
    changed, _ = shop(orders_per_second=4.0, promotions={"2026-01-01": 1.5}, order_growth_per_year=0.5, **SMALL)
    epochs = [
        Epoch(origin + seconds, Inputs(input_options(options), 1, generator.tables()))
        for seconds, options in ((0, generator.options), (1003, changed.options), (2000, generator.options))
    ]
    generator = generator.rebuilt(origin, epochs)
    yield "rates that change on the way", digests_of(generator, Window(origin, origin + HOUR))

    for arrivals in ("poisson", "even"):
        generator, origin = shop(curve="flat", arrivals=arrivals, orders_per_second=2.7, **SMALL)
        late = Window(origin + 90 * DAY, origin + 90 * DAY + HOUR // 4)
        yield f"a constant rate, {arrivals}", digests_of(generator, late, Slice(1, 3))

    generator, origin = shop(
        orders_per_second=3.0,
        hour_weights=[1.5] * 6 + [0] * 6 + [2.25] * 12,
        weekday_weights=[1, 1, 1, 1, 1, 0.1, 0],
        month_weights=[3, 2, 1] * 4,
        **SMALL,
    )
    yield "weights of one's own", digests_of(generator, Window(origin + 5 * HOUR, origin + 6 * HOUR))


CASES = {"ecommerce": ecommerce}
"""By domain."""
