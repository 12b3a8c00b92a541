"""The shop's rates: never beyond the peak that is checked, and changed only from a slot on."""

from __future__ import annotations

import unittest
from dataclasses import replace
from typing import Any

import numpy as np

from emitter.clock import parse_time, slot_of
from emitter.generators.ecommerce.options import EcommerceOptions, peak_rate_per_second
from emitter.generators.ecommerce.rates import curve_of
from emitter.generators.kit.counts import Counts
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.model import Epoch, Inputs, Slice, Window
from emitter.randomness import Stream
from emitter.run.factory import create_generator, input_options

START = "2026-01-01"
ORIGIN = slot_of(parse_time(START))
OPTIONS = EcommerceOptions(orders_per_second=100.0, order_growth_per_year=0.0, time_zones=(("UTC", 1.0),))
ROUNDING = 0.0012  # a rate has ten significant bits


def counts_of(options: EcommerceOptions, origin: int = ORIGIN) -> Counts:
    return Counts(origin, [(origin, curve_of(origin, options))], Stream(1, "orders.count"))


def slot(text: str) -> int:
    return slot_of(parse_time(text))


class PeakTests(unittest.TestCase):
    def test_the_peak_that_is_checked_is_never_passed(self) -> None:
        options = replace(OPTIONS, promotions=(("2026-11-29", 1.7),), order_growth_per_year=0.05)
        counts = counts_of(options)
        for first in (slot("2026-11-29"), slot("2036-12-07"), slot("2036-11-30")):
            rates = counts.rates_micro(np.arange(first, first + DAY_SECONDS, 900)) / 1e6
            self.assertLess(float(rates.max()), peak_rate_per_second(options) * (1 + ROUNDING))

    def test_the_peak_that_is_checked_is_never_passed_from_any_origin(self) -> None:
        """One hour of one weekday of one month, which is in some years five times and in others four."""
        own = replace(
            OPTIONS,
            hour_weights=(*[0.0] * 12, 1.0, *[0.0] * 11),
            weekday_weights=(0.0, 0.0, 1.0, *[0.0] * 4),
            month_weights=(0.0, 0.0, 1.0, *[0.0] * 9),
        )
        peak = peak_rate_per_second(own)
        highest = 0.0
        for start in ("2026-01-01", "2027-03-05", "2028-03-02", "2032-03-30"):
            origin = slot(start)
            counts = counts_of(own, origin=origin)
            noons = np.arange(origin // DAY_SECONDS, origin // DAY_SECONDS + 365) * DAY_SECONDS + 12 * 3600
            highest = max(highest, float(counts.rates_micro(noons).max()) / 1e6)
        self.assertLessEqual(highest, peak * (1 + ROUNDING))
        self.assertGreater(highest, peak * 0.7)


class ShopTests(unittest.TestCase):
    def test_the_shards_of_an_even_shop_are_even(self) -> None:
        options: dict[str, Any] = {"curve": "flat", "arrivals": "even", "customers": 50, "products": 20}
        shop = create_generator("ecommerce", start=START, orders_per_second=10.0, **options)
        window = Window(ORIGIN, ORIGIN + 60)
        by_shard = []
        for index in range(4):
            frames = shop.rows(window, Slice(index, 4), ("orders",))
            ids = np.concatenate([frame.rows["order_id"].to_numpy() for frame in frames])
            by_shard.append(np.bincount((ids >> 22) - ORIGIN, minlength=60))
        self.assertEqual({int(count) for shard in by_shard for count in shard}, {2, 3})
        self.assertEqual(set(sum(by_shard).tolist()), {10})

    def test_a_changed_rate_leaves_what_started_before_as_it_was(self) -> None:
        """Rows before the change are the old ones; of those after it, the payments of old orders are too."""
        before = create_generator("ecommerce", start=START, customers=500, products=50, orders_per_second=2.0)
        after = create_generator("ecommerce", start=START, customers=500, products=50, orders_per_second=5.0)
        tables, edge, end = ("orders", "order_items", "payments"), ORIGIN + 1003, ORIGIN + 1500
        epochs = [
            Epoch(from_slot, Inputs(input_options(generator.options), 1, tables))
            for from_slot, generator in ((ORIGIN, before), (edge, after))
        ]
        changed = before.rebuilt(ORIGIN, epochs)

        def rows(generator: object, window: Window) -> dict[str, list[dict[str, object]]]:
            found: dict[str, list[dict[str, object]]] = {table: [] for table in tables}
            for frame in generator.rows(window, Slice(), tables):  # type: ignore[attr-defined]
                found[frame.table] += frame.rows.to_pylist()
            return found

        early, late = Window(ORIGIN, edge), Window(edge, end)
        self.assertEqual(rows(changed, early), rows(before, early))
        made, old, new = (rows(generator, late) for generator in (changed, before, after))
        self.assertEqual(made["orders"], new["orders"])
        self.assertEqual(made["order_items"], new["order_items"])
        self.assertGreater(len(new["orders"]), 1.5 * len(old["orders"]))

        def started(payments: list[dict[str, object]], *, early: bool) -> list[dict[str, object]]:
            return [row for row in payments if (int(row["order_id"]) >> 22 < edge) is early]  # type: ignore[call-overload]

        self.assertEqual(started(made["payments"], early=True), started(old["payments"], early=True))
        self.assertEqual(started(made["payments"], early=False), started(new["payments"], early=False))
        self.assertTrue(started(made["payments"], early=True))


if __name__ == "__main__":
    unittest.main()
