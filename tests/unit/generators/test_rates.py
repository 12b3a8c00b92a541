"""The rate curve, and the counts it makes: Poisson in each slot, whoever asks."""

from __future__ import annotations

import math
import unittest
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.clock import parse_time, slot_of
from emitter.generators.ecommerce.curve import HOUR_WEIGHTS, SEASON_WEIGHTS, WEEKDAY_WEIGHTS
from emitter.generators.ecommerce.growth import DAY_SECONDS, YEAR_SECONDS
from emitter.generators.ecommerce.options import EcommerceOptions, peak_rate_per_second
from emitter.generators.ecommerce.rates import Counts, curve_of
from emitter.model import Epoch, Inputs, Slice, Window
from emitter.randomness import Stream
from emitter.run.factory import create_generator, input_options

START = "2026-01-01"
ORIGIN = slot_of(parse_time(START))
UTC_ONLY = (("UTC", 1.0),)
OPTIONS = EcommerceOptions(orders_per_second=100.0, order_growth_per_year=0.0, time_zones=UTC_ONLY)
ROUNDING = 0.0012  # a rate has ten significant bits


def counts_of(*options: EcommerceOptions, edges: tuple[int, ...] = (), origin: int = ORIGIN, seed: int = 1) -> Counts:
    """The counts of some options, each in force from its edge on; the first from the origin."""
    curves = [(edge, curve_of(origin, each)) for edge, each in zip((origin, *edges), options, strict=True)]
    return Counts(origin, curves, Stream(seed, "orders.count"))


def slot(text: str) -> int:
    return slot_of(parse_time(text))


def rate(counts: Counts, text: str) -> float:
    """Orders per second at a moment."""
    return int(counts.rates_micro(np.array([slot(text)]))[0]) / 1e6


def day_rate(counts: Counts, day: str) -> float:
    """The mean of a day."""
    first = slot(day)
    return counts.expected(Window(first, first + DAY_SECONDS)) / DAY_SECONDS


class CurveTests(unittest.TestCase):
    def test_the_mean_over_a_year_is_what_was_asked_for(self) -> None:
        rates = (1e-5, 1e-4, 0.001, 0.02, 1.0, 1234.5, 30_000.0)
        starts = ("2024-02-29T13:07:11Z", "2031-07-15")
        for start, asked in [(START, each) for each in rates] + [(start, 10.0) for start in starts]:
            origin = slot(start)
            options = EcommerceOptions(orders_per_second=asked, order_growth_per_year=0.0)
            counts = counts_of(options, origin=origin)
            mean = counts.expected(Window(origin, origin + YEAR_SECONDS)) / YEAR_SECONDS
            with self.subTest(start=start, orders_per_second=asked):
                self.assertAlmostEqual(mean / asked, 1, delta=0.002)

    def test_hour_weekday_and_season_multiply(self) -> None:
        """Every hour of some days of a year, against the formula in floating point."""
        counts = counts_of(OPTIONS)
        days = [parse_time(START) + timedelta(days=day) for day in range(365)]
        norm = sum(WEEKDAY_WEIGHTS[day.weekday()] * SEASON_WEIGHTS[day.month - 1] for day in days) / 365
        for day in days[::7] + days[::30]:
            for hour, weight in enumerate(HOUR_WEIGHTS):
                moment = day + timedelta(hours=hour)
                of_day = WEEKDAY_WEIGHTS[day.weekday()] * SEASON_WEIGHTS[day.month - 1] / norm
                self.assertAlmostEqual(
                    rate(counts, moment.isoformat()) / (100 * of_day * weight / 1000), 1, delta=ROUNDING
                )

    def test_the_day_has_its_peak_in_the_evening_and_its_low_before_dawn(self) -> None:
        counts = counts_of(OPTIONS)
        hours = [rate(counts, f"2026-03-11T{hour:02d}:00:00") for hour in range(24)]
        self.assertEqual((hours.index(max(hours)), hours.index(min(hours))), (20, 4))
        self.assertGreater(max(hours) / min(hours), 10)

    def test_rates_lie_straight_between_the_hours_and_stand_still_within_quarters(self) -> None:
        counts = counts_of(OPTIONS)
        eight, nine = rate(counts, "2026-03-11T08:00:00"), rate(counts, "2026-03-11T09:00:00")
        for quarter in range(4):
            between = eight + (nine - eight) * quarter / 4
            for second in ("00", "59"):
                found = rate(counts, f"2026-03-11T08:{15 * quarter + (14 if second == '59' else 0):02d}:{second}")
                self.assertAlmostEqual(found / between, 1, delta=ROUNDING)

    def test_weekdays_and_seasons_differ(self) -> None:
        counts = counts_of(OPTIONS)
        self.assertAlmostEqual(
            day_rate(counts, "2026-03-08") / day_rate(counts, "2026-03-13"),
            WEEKDAY_WEIGHTS[6] / WEEKDAY_WEIGHTS[4],
            delta=0.002,
        )
        self.assertAlmostEqual(
            day_rate(counts, "2026-11-10") / day_rate(counts, "2026-02-10"),
            SEASON_WEIGHTS[10] / SEASON_WEIGHTS[1],
            delta=0.003,
        )

    def test_growth_multiplies_from_the_origin_and_ends_after_ten_years(self) -> None:
        level = counts_of(OPTIONS)
        grown = counts_of(replace(OPTIONS, order_growth_per_year=0.2))
        for years, factor in ((0, 1.0), (1, 1.2), (2, 1.44), (0.5, 1.1), (10, 1.2**10), (15, 1.2**10)):
            first = ORIGIN + int(years * YEAR_SECONDS)
            window = Window(first, first + 3600)
            self.assertAlmostEqual(grown.expected(window) / level.expected(window), factor, delta=0.002 * factor)

    def test_a_promotion_multiplies_its_day_and_no_other(self) -> None:
        plain = counts_of(OPTIONS)
        promoted = counts_of(replace(OPTIONS, promotions=(("2026-03-10", 2.5), ("2026-03-12", 0.5))))
        factors = {"2026-03-09": 1.0, "2026-03-10": 2.5, "2026-03-11": 1.0, "2026-03-12": 0.5, "2026-03-13": 1.0}
        for day, factor in factors.items():
            self.assertAlmostEqual(day_rate(promoted, day) / day_rate(plain, day), factor, delta=0.002)
        for edge, factor in (("2026-03-10T00:00:00", 2.5), ("2026-03-09T23:59:59", 1.0), ("2026-03-11T00:00:00", 1.0)):
            self.assertAlmostEqual(rate(promoted, edge) / rate(plain, edge), factor, delta=0.005)

    def test_the_peak_that_is_checked_is_never_passed(self) -> None:
        options = replace(OPTIONS, promotions=(("2026-11-29", 1.7),), order_growth_per_year=0.05)
        counts = counts_of(options)
        for first in (slot("2026-11-29"), slot("2036-12-07"), slot("2036-11-30")):
            rates = counts.rates_micro(np.arange(first, first + DAY_SECONDS, 900)) / 1e6
            self.assertLess(float(rates.max()), peak_rate_per_second(options) * (1 + ROUNDING))


class OwnWeightsTests(unittest.TestCase):
    def test_the_same_weights_in_other_units_give_the_same_curve(self) -> None:
        own = replace(
            OPTIONS,
            hour_weights=tuple(weight / 7 for weight in HOUR_WEIGHTS),
            weekday_weights=tuple(float(weight) for weight in WEEKDAY_WEIGHTS),
            month_weights=tuple(weight * 9.0 for weight in SEASON_WEIGHTS),
        )
        for text in ("2026-01-01T04:10:00", "2026-03-08T20:00:00", "2026-12-13T19:45:00"):
            self.assertAlmostEqual(rate(counts_of(own), text) / rate(counts_of(OPTIONS), text), 1, delta=2 * ROUNDING)

    def test_a_shop_that_closes_has_the_same_mean_and_nothing_while_it_is_closed(self) -> None:
        own = replace(
            OPTIONS,
            hour_weights=tuple(float(9 <= hour < 17) for hour in range(24)),
            weekday_weights=(1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0),
            month_weights=(*[1.0] * 7, 0.0, *[1.0] * 4),
        )
        counts = counts_of(own)
        window = Window(ORIGIN, ORIGIN + YEAR_SECONDS)
        self.assertAlmostEqual(counts.expected(window) / YEAR_SECONDS / 100, 1, delta=0.002)
        for closed in ("2026-03-11T03:00:00", "2026-03-15T12:00:00", "2026-08-12T12:00:00"):
            self.assertEqual(rate(counts, closed), 0.0)
        self.assertAlmostEqual(rate(counts, "2026-03-14T12:00:00") / rate(counts, "2026-03-11T12:00:00"), 0.5, 2)

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


class FlatTests(unittest.TestCase):
    FLAT = replace(OPTIONS, orders_per_second=10.0, order_growth_per_year=0.1, curve="flat")
    EVEN = replace(FLAT, arrivals="even")

    def test_the_rate_is_the_same_at_any_hour_of_any_year(self) -> None:
        counts = counts_of(self.FLAT)
        for text in ("2026-01-01T00:00:00", "2026-08-12T04:00:00", "2026-12-13T20:00:00", "2033-05-05T05:05:05"):
            self.assertEqual(rate(counts, text), 10.0)
        self.assertEqual(counts.expected(Window(ORIGIN + 7, ORIGIN + 7 + DAY_SECONDS)), 10.0 * DAY_SECONDS)

    def test_by_chance_the_counts_are_poisson(self) -> None:
        drawn = counts_of(self.FLAT)(np.arange(ORIGIN, ORIGIN + DAY_SECONDS))
        self.assertLess(abs(float(drawn.mean()) - 10), 5 * math.sqrt(10 / DAY_SECONDS))
        self.assertLess(abs(float(drawn.var()) / 10 - 1), 5 * math.sqrt(2.1 / DAY_SECONDS))

    def test_even_is_exactly_the_rate_in_every_second(self) -> None:
        for start in (0, 12_345, 8 * YEAR_SECONDS):
            made = counts_of(self.EVEN)(np.arange(ORIGIN + start, ORIGIN + start + 5000))
            self.assertEqual(set(made.tolist()), {10})

    def test_even_spreads_rates_that_are_no_whole_number(self) -> None:
        for asked in (0.0001, 0.3, 2.5, 7.777777, 262_143.0 - 0.000001):
            counts = counts_of(replace(self.EVEN, orders_per_second=asked))
            made = counts(np.arange(ORIGIN, ORIGIN + 3 * DAY_SECONDS))
            with self.subTest(orders_per_second=asked):
                for seconds in (1, 100, 9_999, 10_000, 3 * DAY_SECONDS):
                    whole = round(asked * 1e6) * seconds // 10**6
                    self.assertEqual(int(made[:seconds].sum()), whole)
                self.assertLessEqual(int(made.max() - made.min()), 1)

    def test_even_is_the_same_for_any_window_and_in_any_order(self) -> None:
        slots = np.arange(ORIGIN, ORIGIN + 4000)
        made = counts_of(replace(self.EVEN, orders_per_second=0.37))(slots)
        again = counts_of(replace(self.EVEN, orders_per_second=0.37))
        np.testing.assert_array_equal(again(slots[::-1].copy())[::-1], made)
        np.testing.assert_array_equal(np.concatenate([again(slots[2000:]), again(slots[:2000])]), np.roll(made, -2000))

    def test_promotions_multiply_and_changes_count_from_their_slot(self) -> None:
        day = slot("2026-03-10")
        counts = counts_of(
            replace(self.EVEN, promotions=(("2026-03-10", 2.5),)), OPTIONS, self.EVEN, edges=(day + 7200, day + 7300)
        )
        made = counts(np.arange(day - 10, day + 7400))
        self.assertEqual(set(made[:10].tolist()), {10})
        self.assertEqual(set(made[10:7210].tolist()), {25})
        self.assertGreater(len(set(made[7210:7310].tolist())), 3)
        self.assertEqual(set(made[7310:].tolist()), {10})

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


class TimeZoneTests(unittest.TestCase):
    def test_the_local_time_shapes_the_day(self) -> None:
        """A zone's curve is that of UTC, moved: also by half and quarter hours, and to another day of the week."""
        utc = counts_of(OPTIONS)
        for name, hours in (("Asia/Tokyo", 9), ("America/Bogota", -5), ("Asia/Kolkata", 5.5), ("Asia/Kathmandu", 5.75)):
            local = counts_of(replace(OPTIONS, time_zones=((name, 1.0),)))
            for text in ("2026-03-11T03:00:00", "2026-03-11T12:00:00", "2026-03-14T22:00:00", "2026-03-15T04:00:00"):
                moment = parse_time(text)
                shifted = (moment + timedelta(hours=hours)).isoformat()
                with self.subTest(zone=name, moment=text):
                    self.assertAlmostEqual(rate(local, text) / rate(utc, shifted), 1, delta=2 * ROUNDING)

    def test_zones_are_weighted(self) -> None:
        one, other = replace(OPTIONS, time_zones=(("Asia/Tokyo", 1.0),)), OPTIONS
        both = replace(OPTIONS, time_zones=(("Asia/Tokyo", 3.0), ("UTC", 1.0)))
        for hour in range(0, 24, 5):
            text = f"2026-03-11T{hour:02d}:00:00"
            weighted = (3 * rate(counts_of(one), text) + rate(counts_of(other), text)) / 4
            self.assertAlmostEqual(rate(counts_of(both), text) / weighted, 1, delta=2 * ROUNDING)

    def test_only_the_ratio_of_the_weights_counts(self) -> None:
        zones = (("Asia/Tokyo", 3.0), ("UTC", 1.0))
        for scale in (1e-5, 1e-3, 1e4):
            scaled = replace(OPTIONS, time_zones=tuple((name, weight * scale) for name, weight in zones))
            rates = [
                rate(counts_of(options), "2026-03-11T03:00:00")
                for options in (scaled, replace(OPTIONS, time_zones=zones))
            ]
            self.assertAlmostEqual(rates[0] / rates[1], 1, delta=ROUNDING)

    def test_clocks_that_go_forward_or_back_move_the_curve(self) -> None:
        """In Berlin noon is 11:00 UTC in winter and 10:00 in summer, and on the day itself from 01:00 UTC on."""
        berlin, utc = counts_of(replace(OPTIONS, time_zones=(("Europe/Berlin", 1.0),))), counts_of(OPTIONS)
        moved = {
            "2026-03-28T10:00:00": 1,
            "2026-03-29T00:59:59": 1,  # the change is at 01:00 UTC
            "2026-03-29T01:00:00": 2,
            "2026-03-29T10:00:00": 2,
            "2026-03-30T10:00:00": 2,
            "2026-10-25T00:30:00": 2,
            "2026-10-25T01:00:00": 1,
            "2026-10-25T10:00:00": 1,
        }
        for text, hours in moved.items():
            shifted = (parse_time(text) + timedelta(hours=hours)).isoformat()
            with self.subTest(moment=text):
                self.assertAlmostEqual(rate(berlin, text) / rate(utc, shifted), 1, delta=2 * ROUNDING)


class CountTests(unittest.TestCase):
    def test_counts_are_poisson_given_the_rate(self) -> None:
        """Mean, dispersion and independence of neighbours over days of changing rates, from few to many a second."""
        slots = np.arange(ORIGIN, ORIGIN + 3 * DAY_SECONDS)
        for asked in (0.001, 0.05, 0.7, 3.0, 40.0, 1000.0):
            counts = counts_of(replace(OPTIONS, orders_per_second=asked), seed=3)
            means = counts.rates_micro(slots) / 1e6
            away = (counts(slots) - means) / np.sqrt(means)
            size = len(slots)
            with self.subTest(orders_per_second=asked):
                self.assertLess(abs(float(away.sum())) / math.sqrt(size), 5, "mean")
                spread = math.sqrt((2 + float((1 / means).mean())) / size)
                self.assertLess(abs(float((away**2).mean()) - 1) / spread, 5, "dispersion")
                self.assertLess(abs(float((away[1:] * away[:-1]).mean())) * math.sqrt(size), 5, "neighbours")

    def test_counts_of_one_rate_are_distributed_as_poisson(self) -> None:
        slots = np.arange(ORIGIN, ORIGIN + 900)
        for asked in (0.3, 3.0, 60.0):
            options = replace(OPTIONS, orders_per_second=asked)
            mean = rate(counts_of(options), START)
            drawn = np.concatenate([counts_of(options, seed=seed)(slots) for seed in range(100)])
            masses = np.array([math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(200)])
            expected = masses * len(drawn)
            kept = np.flatnonzero(expected >= 10)
            observed = np.bincount(drawn, minlength=200)[kept]
            statistic = float(((observed - expected[kept]) ** 2 / expected[kept]).sum())
            with self.subTest(orders_per_second=asked):
                self.assertLess(statistic, len(kept) + 5 * math.sqrt(2 * len(kept)))

    def test_the_lowest_rates_are_right_on_average(self) -> None:
        slots = np.arange(ORIGIN, ORIGIN + 40 * DAY_SECONDS)
        for asked in (1e-4, 1e-5):
            made, meant = 0, 0.0
            for seed in range(5):
                counts = counts_of(replace(OPTIONS, orders_per_second=asked), seed=seed)
                made += int(counts(slots).sum())
                meant += counts.expected(Window(int(slots[0]), int(slots[-1]) + 1))
            with self.subTest(orders_per_second=asked):
                self.assertLess(abs(made - meant), 4 * math.sqrt(meant))

    def test_a_shop_without_orders_has_none(self) -> None:
        counts = counts_of(replace(OPTIONS, orders_per_second=0.0))
        self.assertEqual(int(counts(np.arange(ORIGIN, ORIGIN + DAY_SECONDS)).sum()), 0)
        self.assertEqual(counts.expected(Window(ORIGIN, ORIGIN + DAY_SECONDS)), 0.0)

    def test_nothing_starts_before_the_origin(self) -> None:
        origin = ORIGIN + 12_345
        counts = counts_of(OPTIONS, origin=origin)
        made = counts(np.arange(origin - 5000, origin + 100))
        self.assertEqual(int(made[:5000].sum()), 0)
        self.assertTrue((made[5000:] > 0).all())
        self.assertEqual(counts.rates_micro(np.array([origin - 1])).tolist(), [0])
        self.assertEqual(counts.expected(Window(origin - 5000, origin)), 0.0)
        self.assertAlmostEqual(
            counts.expected(Window(origin - 5000, origin + 100)), counts.expected(Window(origin, origin + 100))
        )

    def test_expected_is_the_sum_of_the_rates(self) -> None:
        edge = ORIGIN + 10_007
        counts = counts_of(OPTIONS, replace(OPTIONS, orders_per_second=7.0), edges=(edge,))
        for first, end in (
            (ORIGIN, ORIGIN),
            (ORIGIN + 3, ORIGIN + 4),
            (ORIGIN + 899, ORIGIN + 901),
            (edge - 1, edge + 1),
        ):
            rates = counts.rates_micro(np.arange(first, end)) / 1e6
            self.assertAlmostEqual(counts.expected(Window(first, end)), float(rates.sum()))
        whole = counts.expected(Window(ORIGIN, ORIGIN + 20_000))
        self.assertAlmostEqual(whole, float(counts.rates_micro(np.arange(ORIGIN, ORIGIN + 20_000)).sum()) / 1e6)

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.integers(-2, 40), st.integers(1, 5000)), min_size=1, max_size=6))
    def test_whoever_asks_in_whatever_order_gets_the_same(self, asked: list[tuple[int, int]]) -> None:
        """Days asked early or late, before the origin or weeks after, alone or mixed in one array."""
        options = replace(OPTIONS, orders_per_second=2.0, order_growth_per_year=0.1)
        used = counts_of(options, replace(options, orders_per_second=3.0), edges=(ORIGIN + 10 * DAY_SECONDS,))
        parts = [np.arange(size) * 7 + ORIGIN + day * DAY_SECONDS for day, size in asked]
        before = [used(part) for part in parts]
        fresh = counts_of(options, replace(options, orders_per_second=3.0), edges=(ORIGIN + 10 * DAY_SECONDS,))
        together = np.concatenate(parts)
        np.testing.assert_array_equal(fresh(together), np.concatenate(before))
        np.testing.assert_array_equal(fresh(together[::-1].reshape(1, -1)), np.concatenate(before)[::-1].reshape(1, -1))
        np.testing.assert_array_equal(used(parts[0]), before[0])


class EpochTests(unittest.TestCase):
    def test_a_change_counts_from_its_slot_on_exactly(self) -> None:
        first, second = OPTIONS, replace(OPTIONS, orders_per_second=1.0)
        third = replace(OPTIONS, orders_per_second=300.0, promotions=(("2026-01-01", 2.0),))
        edges = (ORIGIN + 1003, ORIGIN + 2000)
        counts = counts_of(first, second, third, edges=edges)
        slots = np.arange(ORIGIN, ORIGIN + 3000)
        alone = [counts_of(options)(slots) for options in (first, second, third)]
        np.testing.assert_array_equal(
            counts(slots), np.concatenate([alone[0][:1003], alone[1][1003:2000], alone[2][2000:]])
        )
        for place in (1002, 1003, 1999, 2000):
            self.assertEqual(int(counts(slots[place : place + 1])[0]), int(counts(slots)[place]))

    def test_growth_goes_on_from_the_origin_over_a_change(self) -> None:
        options = replace(OPTIONS, order_growth_per_year=0.5)
        edge = ORIGIN + YEAR_SECONDS
        counts = counts_of(options, options, edges=(edge,))
        window = Window(edge, edge + 3600)
        self.assertEqual(counts.expected(window), counts_of(options).expected(window))

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
