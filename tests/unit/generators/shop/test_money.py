"""Orders add up to the cent in each currency."""

from __future__ import annotations

import unittest

import numpy as np

from emitter.clock import parse_time, slot_of
from emitter.generators.kit.places import countries
from emitter.generators.shop.currencies import Currencies
from emitter.generators.shop.money import Amounts, Tills
from emitter.randomness import Integers, Stream

COUNTRIES = countries()
CURRENCY_OF = COUNTRIES.currencies.codes
STEPS = np.zeros(len(COUNTRIES.currencies.names), dtype=np.int64)
STEPS[CURRENCY_OF] = COUNTRIES.rounding_cents
NOVEMBER, MARCH = (slot_of(parse_time(f"2026-{month}-10T12:00:00Z")) for month in ("11", "03"))
ORDERS = 5_000


class TillsTest(unittest.TestCase):
    def setUp(self) -> None:
        rng = np.random.default_rng(3)
        self.currencies = Currencies(7, MARCH)
        self.tills = Tills(self.currencies)
        self.countries = rng.integers(0, len(COUNTRIES.codes), ORDERS)
        self.order = np.repeat(np.arange(ORDERS), rng.integers(1, 6, ORDERS))
        self.quantities = rng.integers(1, 4, len(self.order))
        self.prices = rng.integers(99, 60_000, len(self.order))

    def amounts(self, slot: int) -> tuple[Amounts, Integers]:
        words, slots = Stream(1, "orders").words(np.arange(ORDERS)), np.full(ORDERS, slot)
        return self.tills.amounts(words, slots, self.countries, self.order, self.quantities, self.prices), slots

    def test_what_an_order_comes_to_is_the_sum_of_its_lines(self) -> None:
        found, _ = self.amounts(NOVEMBER)
        lines = found.unit_prices * self.quantities
        for values, totals in (
            (lines, found.order_subtotals),
            (found.discounts, found.order_discounts),
            (found.taxes, found.order_taxes),
        ):
            np.testing.assert_array_equal(np.bincount(self.order, values).astype(np.int64), totals)
        np.testing.assert_array_equal(
            found.order_totals,
            found.order_subtotals - found.order_discounts + found.order_taxes + found.order_shipping,
        )

    def test_each_amount_is_one_that_the_currency_has_coins_for(self) -> None:
        found, _ = self.amounts(NOVEMBER)
        steps = STEPS[CURRENCY_OF[self.countries]]
        for values in (found.unit_prices, found.discounts, found.taxes):
            self.assertFalse((values % steps[self.order]).any())
        self.assertFalse((found.order_totals % steps).any())
        self.assertTrue((found.order_shipping >= 0).all())

    def test_discounts_and_taxes_are_those_of_code_and_country(self) -> None:
        found, _ = self.amounts(NOVEMBER)
        lines, none = found.unit_prices * self.quantities, found.order_codes == -1
        self.assertFalse(found.order_discounts[none].any())
        names = self.tills.code_names.to_pylist()
        black_week = found.order_codes == names.index("BLACKWEEK25")
        self.assertAlmostEqual(float(black_week.mean()), 0.145, delta=0.02)
        steps = STEPS[CURRENCY_OF[self.countries]][self.order]
        off = black_week[self.order]
        self.assertLessEqual(float(np.abs(found.discounts - lines * 0.25)[off].max() / steps[off].max()), 1.0)
        tax = COUNTRIES.tax_bp[self.countries][self.order] / 10_000
        self.assertTrue((np.abs(found.taxes - (lines - found.discounts) * tax) <= steps).all())

    def test_codes_are_given_in_their_months_alone(self) -> None:
        found, _ = self.amounts(MARCH)
        names = self.tills.code_names.to_pylist()
        used = {names[code] for code in set(found.order_codes.tolist()) - {-1}}
        self.assertEqual(used, {"WELCOME10", "NEWSLETTER5", "THANKYOU15", "STUDENT12", "SPRING10"})

    def test_what_is_dear_is_shipped_for_nothing(self) -> None:
        found, slots = self.amounts(MARCH)
        free_from = self.currencies.amounts(np.full(ORDERS, 7_500), CURRENCY_OF[self.countries], slots)
        np.testing.assert_array_equal(
            found.order_shipping == 0, found.order_subtotals - found.order_discounts >= free_from
        )


if __name__ == "__main__":
    unittest.main()
