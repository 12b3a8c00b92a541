"""The curve of a day is that of the rows expected on it."""

from __future__ import annotations

import unittest
from itertools import pairwise
from typing import Any

from emitter.generators import domain_class
from emitter.generators.base import GeneratorBase
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.model import Epoch, Inputs, Window
from emitter.watch.daycurve import DAY_SECONDS, day_curve
from emitter.watch.observer import DayCurve

DAY = 2200 * DAY_SECONDS
TABLES = ("customers", "products", "orders", "order_items", "payments")


def shop(origin_slot: int, *changes: tuple[int, float, int], tables: tuple[str, ...] = TABLES) -> GeneratorBase:
    """A shop whose (orders per second, shards) change at slots."""
    options = EcommerceOptions(customers=1000, products=100, orders_per_second=10.0)
    epochs = [
        Epoch(slot, Inputs({"orders_per_second": rate, "promotions": ()}, shards, tables))
        for slot, rate, shards in ((origin_slot, 10.0, 1), *changes)
    ]
    return domain_class("ecommerce")(seed=1, origin_slot=origin_slot, options=options, epochs=epochs)


def area(curve: DayCurve) -> float:
    """The rows below the curve."""
    return sum((end - begin) * (low + high) / 2 for (begin, low), (end, high) in pairwise(curve.points))


def at(curve: DayCurve, second: int) -> list[float]:
    return [rate for place, rate in curve.points if place == second]


class DayCurveTest(unittest.TestCase):
    def assert_close(self, found: float, wanted: float, share: float = 0.01) -> None:
        self.assertLess(abs(found - wanted), wanted * share, (found, wanted))

    def rows(self, generator: GeneratorBase, window: Window, tables: Any = TABLES) -> float:
        return sum(generator.expected_rows(window)[table] for table in tables)

    def test_below_it_lie_the_rows_of_the_day(self) -> None:
        generator = shop(DAY - 10 * DAY_SECONDS)
        curve = day_curve(generator, DAY + 12_345)
        self.assertEqual((curve.first_slot, curve.points[0][0], curve.points[-1][0]), (DAY, 0, DAY_SECONDS))
        self.assert_close(area(curve), self.rows(generator, Window(DAY, DAY + DAY_SECONDS)))
        slot = DAY + 19 * 3600
        self.assert_close(at(curve, 19 * 3600)[0], self.rows(generator, Window(slot, slot + 60)) / 60)

    def test_it_begins_at_the_origin_without_what_was_there_before(self) -> None:
        origin = DAY + 50_000
        curve = day_curve(shop(origin), origin)
        self.assertEqual(curve.points[0][0], 50_001)
        self.assertLess(max(rate for _, rate in curve.points), 500.0)

    def test_the_day_may_be_almost_over(self) -> None:
        for origin in (DAY + DAY_SECONDS - 2, DAY + DAY_SECONDS - 1):
            curve = day_curve(shop(origin), origin)
            self.assertTrue(all(0 < second <= DAY_SECONDS for second, _ in curve.points), curve)

    def test_other_inputs_are_a_step(self) -> None:
        edge = DAY + 40_000
        curve = day_curve(shop(DAY - DAY_SECONDS, (edge, 20.0, 1)), DAY)
        before, after = at(curve, 40_000)
        self.assert_close(after, 2 * before)
        self.assert_close(area(curve), self.rows(shop(DAY - DAY_SECONDS, (edge, 20.0, 1)), Window(DAY, DAY + 86_400)))

    def test_a_constant_rate_is_a_level_line(self) -> None:
        options = EcommerceOptions(customers=1000, products=100, curve="flat", customer_growth_per_year=0.0)
        epochs = [
            Epoch(0, Inputs({"orders_per_second": 10.0, "promotions": (), "curve": "flat"}, 1, ("customers", "orders")))
        ]
        flat = domain_class("ecommerce")(seed=1, origin_slot=0, options=options, epochs=epochs)
        self.assertEqual({rate for _, rate in day_curve(flat, DAY).points}, {10.0})

    def test_it_is_that_of_one_shard_and_of_the_tables_in_force(self) -> None:
        whole, part = shop(DAY - DAY_SECONDS), shop(DAY - DAY_SECONDS, (DAY - 100, 10.0, 4))
        self.assert_close(area(day_curve(part, DAY)), area(day_curve(whole, DAY)) / 4)
        orders = shop(DAY - DAY_SECONDS, tables=("customers", "orders"))
        window = Window(DAY, DAY + DAY_SECONDS)
        self.assert_close(area(day_curve(orders, DAY)), self.rows(orders, window, ("customers", "orders")))

    def test_many_changes_on_a_day_leave_it_small(self) -> None:
        changes = [(DAY + 60 * number, 10.0 + number, 1) for number in range(1, 1000)]
        self.assertLess(len(day_curve(shop(DAY - DAY_SECONDS, *changes), DAY).points), 100)


if __name__ == "__main__":
    unittest.main()
