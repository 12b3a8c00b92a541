"""Exchange rates hold for a day, and amounts are rounded to what each currency has coins for."""

from __future__ import annotations

import unittest
from fractions import Fraction

import numpy as np

from emitter import arrow
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.places import countries
from emitter.generators.shop.currencies import RATE_UNIT, Currencies
from emitter.generators.shop.tables import EXCHANGE_RATES
from emitter.model import Slice, Window

ORIGIN = 189_412_200  # 2026-01-01T06:30:00Z
MIDNIGHT = ORIGIN // DAY_SECONDS * DAY_SECONDS + DAY_SECONDS
COUNTRIES = countries()
CODES = COUNTRIES.currencies.names.to_pylist()
OF_COUNTRY = [CODES[code] for code in COUNTRIES.currencies.codes]
MEANS = dict(zip(OF_COUNTRY, COUNTRIES.units_per_eur_micros.tolist(), strict=True))
STEPS = dict(zip(OF_COUNTRY, COUNTRIES.rounding_cents.tolist(), strict=True))


def currencies() -> Currencies:
    return Currencies(7, ORIGIN)


class CurrenciesTest(unittest.TestCase):
    def test_a_rate_holds_for_a_day_and_moves_from_day_to_day(self) -> None:
        days = ORIGIN // DAY_SECONDS + np.arange(1_000)
        found = currencies()
        for place, code in enumerate(CODES):
            mean = MEANS[code]
            at = np.full(len(days), place)
            rates = found.rates_micro(at, days * DAY_SECONDS)
            np.testing.assert_array_equal(found.rates_micro(at, days * DAY_SECONDS + DAY_SECONDS - 1), rates)
            if code == "EUR":
                self.assertEqual(set(rates.tolist()), {mean})
                continue
            moves = np.abs(np.diff(rates)) / mean
            self.assertGreater(float((moves > 0).mean()), 0.99)
            self.assertLess(float(moves.max()), 0.02)  # in a day
            self.assertLess(float(np.abs(rates / mean - 1).max()), 0.15)
            self.assertGreater(float(rates.std() / mean), 0.005)

    def test_amounts_are_rounded_once_to_the_step_half_up(self) -> None:
        found, rng = currencies(), np.random.default_rng(1)
        cents, places = rng.integers(0, 10**8, 2_000), rng.integers(0, len(CODES), 2_000)
        slots = ORIGIN + rng.integers(0, 400 * DAY_SECONDS, 2_000)
        amounts, rates = found.amounts(cents, places, slots), found.rates_micro(places, slots)
        for amount, cent, place, rate in zip(*(each.tolist() for each in (amounts, cents, places, rates)), strict=True):
            precise = int(Fraction(cent * rate, RATE_UNIT) + Fraction(1, 2))
            step = STEPS[CODES[place]]
            self.assertEqual(amount, int(Fraction(precise, step) + Fraction(1, 2)) * step)

    def test_the_table_has_each_rate_at_the_origin_and_at_each_midnight(self) -> None:
        found, window = currencies(), Window(ORIGIN - 50, MIDNIGHT + 2 * DAY_SECONDS + 1)
        rows = found.rows(window, Slice())
        assert rows is not None
        self.assertEqual(rows.schema.names, arrow.inside_schema(EXCHANGE_RATES).names)
        slots = arrow.slots(rows.column("event_time"))
        self.assertEqual(sorted(set(slots.tolist())), [ORIGIN, *(MIDNIGHT + day * DAY_SECONDS for day in range(3))])
        self.assertEqual(rows.num_rows, found.expected_rows(window))
        places = np.array([CODES.index(code) for code in rows.column("currency").to_pylist()])
        rates = np.rint(rows.column("rate").to_numpy() * RATE_UNIT).astype(np.int64)
        np.testing.assert_array_equal(rates, found.rates_micro(places, slots))
        self.assertIsNone(found.rows(Window(ORIGIN + 1, MIDNIGHT), Slice()))

    def test_shards_share_the_days(self) -> None:
        window = Window(ORIGIN, ORIGIN + 9 * DAY_SECONDS)
        whole = currencies().rows(window, Slice())
        parts = [currencies().rows(window, Slice(index, 3)) for index in range(3)]
        assert whole is not None
        self.assertEqual(
            sorted(map(str, whole.to_pylist())), sorted(str(row) for part in parts if part for row in part.to_pylist())
        )


if __name__ == "__main__":
    unittest.main()
