"""The rate curve, and the counts it makes: Poisson in each slot, whoever asks."""

from __future__ import annotations

import math
import unittest
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.clock import parse_time, slot_of
from emitter.generators.kit.counts import Counts
from emitter.generators.kit.curve import Weights, whole_weights
from emitter.generators.kit.growth import DAY_SECONDS, YEAR_SECONDS
from emitter.generators.kit.rates import Curve, FlatCurve, RateCurve
from emitter.model import Window
from emitter.randomness import Stream

START = "2026-01-01"
ORIGIN = slot_of(parse_time(START))
HOUR_WEIGHTS = (
    *(500, 320, 220, 170, 150, 190, 340, 580, 850, 1020, 1140, 1210),
    *(1260, 1210, 1180, 1200, 1270, 1390, 1590, 1820, 1970, 1860, 1530, 1030),
)
WEEKDAY_WEIGHTS = (1010, 960, 950, 970, 930, 1010, 1170)
MONTH_WEIGHTS = (900, 860, 910, 920, 950, 930, 910, 900, 960, 1010, 1400, 1350)
WEIGHTS = Weights(HOUR_WEIGHTS, WEEKDAY_WEIGHTS, MONTH_WEIGHTS)


@dataclass(frozen=True)
class Rate:
    """What a curve is made of; `flat` and `even` for a constant one."""

    per_second: float = 100.0
    weights: Weights = WEIGHTS
    time_zones: tuple[tuple[str, float], ...] = (("UTC", 1.0),)
    growth_per_year: float = 0.0
    day_factors: tuple[tuple[str, float], ...] = ()
    kind: Literal["curve", "flat", "even"] = "curve"

    def curve(self, origin: int) -> Curve:
        if self.kind == "curve":
            return RateCurve(
                origin, self.per_second, self.weights, self.time_zones, self.growth_per_year, self.day_factors
            )
        return FlatCurve(self.per_second, self.day_factors, is_even=self.kind == "even")


RATE = Rate()
ROUNDING = 0.0012  # a rate has ten significant bits


def counts_of(*options: Rate, edges: tuple[int, ...] = (), origin: int = ORIGIN, seed: int = 1) -> Counts:
    """The counts of some options, each in force from its edge on; the first from the origin."""
    curves = [(edge, each.curve(origin)) for edge, each in zip((origin, *edges), options, strict=True)]
    return Counts(origin, curves, Stream(seed, "count"))


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
            options = Rate(per_second=asked, growth_per_year=0.0)
            counts = counts_of(options, origin=origin)
            mean = counts.expected(Window(origin, origin + YEAR_SECONDS)) / YEAR_SECONDS
            with self.subTest(start=start, per_second=asked):
                self.assertAlmostEqual(mean / asked, 1, delta=0.002)

    def test_hour_weekday_and_season_multiply(self) -> None:
        """Every hour of some days of a year, against the formula in floating point."""
        counts = counts_of(RATE)
        days = [parse_time(START) + timedelta(days=day) for day in range(365)]
        norm = sum(WEEKDAY_WEIGHTS[day.weekday()] * MONTH_WEIGHTS[day.month - 1] for day in days) / 365
        for day in days[::7] + days[::30]:
            for hour, weight in enumerate(HOUR_WEIGHTS):
                moment = day + timedelta(hours=hour)
                of_day = WEEKDAY_WEIGHTS[day.weekday()] * MONTH_WEIGHTS[day.month - 1] / norm
                self.assertAlmostEqual(
                    rate(counts, moment.isoformat()) / (100 * of_day * weight / 1000), 1, delta=ROUNDING
                )

    def test_the_day_has_its_peak_in_the_evening_and_its_low_before_dawn(self) -> None:
        counts = counts_of(RATE)
        hours = [rate(counts, f"2026-03-11T{hour:02d}:00:00") for hour in range(24)]
        self.assertEqual((hours.index(max(hours)), hours.index(min(hours))), (20, 4))
        self.assertGreater(max(hours) / min(hours), 10)

    def test_rates_lie_straight_between_the_hours_and_stand_still_within_quarters(self) -> None:
        counts = counts_of(RATE)
        eight, nine = rate(counts, "2026-03-11T08:00:00"), rate(counts, "2026-03-11T09:00:00")
        for quarter in range(4):
            between = eight + (nine - eight) * quarter / 4
            for second in ("00", "59"):
                found = rate(counts, f"2026-03-11T08:{15 * quarter + (14 if second == '59' else 0):02d}:{second}")
                self.assertAlmostEqual(found / between, 1, delta=ROUNDING)

    def test_weekdays_and_seasons_differ(self) -> None:
        counts = counts_of(RATE)
        self.assertAlmostEqual(
            day_rate(counts, "2026-03-08") / day_rate(counts, "2026-03-13"),
            WEEKDAY_WEIGHTS[6] / WEEKDAY_WEIGHTS[4],
            delta=0.002,
        )
        self.assertAlmostEqual(
            day_rate(counts, "2026-11-10") / day_rate(counts, "2026-02-10"),
            MONTH_WEIGHTS[10] / MONTH_WEIGHTS[1],
            delta=0.003,
        )

    def test_the_peak_is_never_passed_from_any_origin(self) -> None:
        """One hour of one weekday of one month, which is in some years five times and in others four."""
        weights = Weights((*[0] * 12, 1, *[0] * 11), (0, 0, 1, *[0] * 4), (0, 0, 1, *[0] * 9))
        highest = 0.0
        for start in ("2026-01-01", "2027-03-05", "2028-03-02", "2032-03-30"):
            origin = slot(start)
            counts = counts_of(replace(RATE, weights=weights), origin=origin)
            noons = np.arange(origin // DAY_SECONDS, origin // DAY_SECONDS + 365) * DAY_SECONDS + 12 * 3600
            highest = max(highest, float(counts.rates_micro(noons).max()) / 1e6)
        self.assertLessEqual(highest, 100 * weights.peak * (1 + ROUNDING))
        self.assertGreater(highest, 100 * weights.peak * 0.7)

    def test_growth_multiplies_from_the_origin_and_ends_after_ten_years(self) -> None:
        level = counts_of(RATE)
        grown = counts_of(replace(RATE, growth_per_year=0.2))
        for years, factor in ((0, 1.0), (1, 1.2), (2, 1.44), (0.5, 1.1), (10, 1.2**10), (15, 1.2**10)):
            first = ORIGIN + int(years * YEAR_SECONDS)
            window = Window(first, first + 3600)
            self.assertAlmostEqual(grown.expected(window) / level.expected(window), factor, delta=0.002 * factor)

    def test_a_factor_multiplies_its_day_and_no_other(self) -> None:
        plain = counts_of(RATE)
        raised = counts_of(replace(RATE, day_factors=(("2026-03-10", 2.5), ("2026-03-12", 0.5))))
        factors = {"2026-03-09": 1.0, "2026-03-10": 2.5, "2026-03-11": 1.0, "2026-03-12": 0.5, "2026-03-13": 1.0}
        for day, factor in factors.items():
            self.assertAlmostEqual(day_rate(raised, day) / day_rate(plain, day), factor, delta=0.002)
        for edge, factor in (("2026-03-10T00:00:00", 2.5), ("2026-03-09T23:59:59", 1.0), ("2026-03-11T00:00:00", 1.0)):
            self.assertAlmostEqual(rate(raised, edge) / rate(plain, edge), factor, delta=0.005)


class OwnWeightsTests(unittest.TestCase):
    def test_the_same_weights_in_other_units_give_the_same_curve(self) -> None:
        own = replace(
            RATE,
            weights=Weights(
                whole_weights([weight / 7 for weight in HOUR_WEIGHTS]),
                whole_weights([float(weight) for weight in WEEKDAY_WEIGHTS]),
                whole_weights([weight * 9.0 for weight in MONTH_WEIGHTS]),
            ),
        )
        for text in ("2026-01-01T04:10:00", "2026-03-08T20:00:00", "2026-12-13T19:45:00"):
            self.assertAlmostEqual(rate(counts_of(own), text) / rate(counts_of(RATE), text), 1, delta=2 * ROUNDING)

    def test_what_closes_has_the_same_mean_and_nothing_while_it_is_closed(self) -> None:
        own = replace(
            RATE,
            weights=Weights(
                tuple(int(9 <= hour < 17) for hour in range(24)), (2, 2, 2, 2, 2, 1, 0), (*[1] * 7, 0, *[1] * 4)
            ),
        )
        counts = counts_of(own)
        window = Window(ORIGIN, ORIGIN + YEAR_SECONDS)
        self.assertAlmostEqual(counts.expected(window) / YEAR_SECONDS / 100, 1, delta=0.002)
        for closed in ("2026-03-11T03:00:00", "2026-03-15T12:00:00", "2026-08-12T12:00:00"):
            self.assertEqual(rate(counts, closed), 0.0)
        self.assertAlmostEqual(rate(counts, "2026-03-14T12:00:00") / rate(counts, "2026-03-11T12:00:00"), 0.5, 2)


class FlatTests(unittest.TestCase):
    FLAT = Rate(per_second=10.0, kind="flat")
    EVEN = replace(FLAT, kind="even")

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
            counts = counts_of(replace(self.EVEN, per_second=asked))
            made = counts(np.arange(ORIGIN, ORIGIN + 3 * DAY_SECONDS))
            with self.subTest(per_second=asked):
                for seconds in (1, 100, 9_999, 10_000, 3 * DAY_SECONDS):
                    whole = round(asked * 1e6) * seconds // 10**6
                    self.assertEqual(int(made[:seconds].sum()), whole)
                self.assertLessEqual(int(made.max() - made.min()), 1)

    def test_even_is_the_same_for_any_window_and_in_any_order(self) -> None:
        slots = np.arange(ORIGIN, ORIGIN + 4000)
        made = counts_of(replace(self.EVEN, per_second=0.37))(slots)
        again = counts_of(replace(self.EVEN, per_second=0.37))
        np.testing.assert_array_equal(again(slots[::-1].copy())[::-1], made)
        np.testing.assert_array_equal(np.concatenate([again(slots[2000:]), again(slots[:2000])]), np.roll(made, -2000))

    def test_factors_of_days_multiply_and_changes_count_from_their_slot(self) -> None:
        day = slot("2026-03-10")
        counts = counts_of(
            replace(self.EVEN, day_factors=(("2026-03-10", 2.5),)), RATE, self.EVEN, edges=(day + 7200, day + 7300)
        )
        made = counts(np.arange(day - 10, day + 7400))
        self.assertEqual(set(made[:10].tolist()), {10})
        self.assertEqual(set(made[10:7210].tolist()), {25})
        self.assertGreater(len(set(made[7210:7310].tolist())), 3)
        self.assertEqual(set(made[7310:].tolist()), {10})


class TimeZoneTests(unittest.TestCase):
    def test_the_local_time_shapes_the_day(self) -> None:
        """A zone's curve is that of UTC, moved: also by half and quarter hours, and to another day of the week."""
        utc = counts_of(RATE)
        for name, hours in (("Asia/Tokyo", 9), ("America/Bogota", -5), ("Asia/Kolkata", 5.5), ("Asia/Kathmandu", 5.75)):
            local = counts_of(replace(RATE, time_zones=((name, 1.0),)))
            for text in ("2026-03-11T03:00:00", "2026-03-11T12:00:00", "2026-03-14T22:00:00", "2026-03-15T04:00:00"):
                moment = parse_time(text)
                shifted = (moment + timedelta(hours=hours)).isoformat()
                with self.subTest(zone=name, moment=text):
                    self.assertAlmostEqual(rate(local, text) / rate(utc, shifted), 1, delta=2 * ROUNDING)

    def test_zones_are_weighted(self) -> None:
        one, other = replace(RATE, time_zones=(("Asia/Tokyo", 1.0),)), RATE
        both = replace(RATE, time_zones=(("Asia/Tokyo", 3.0), ("UTC", 1.0)))
        for hour in range(0, 24, 5):
            text = f"2026-03-11T{hour:02d}:00:00"
            weighted = (3 * rate(counts_of(one), text) + rate(counts_of(other), text)) / 4
            self.assertAlmostEqual(rate(counts_of(both), text) / weighted, 1, delta=2 * ROUNDING)

    def test_only_the_ratio_of_the_weights_counts(self) -> None:
        zones = (("Asia/Tokyo", 3.0), ("UTC", 1.0))
        for scale in (1e-5, 1e-3, 1e4):
            scaled = replace(RATE, time_zones=tuple((name, weight * scale) for name, weight in zones))
            rates = [
                rate(counts_of(options), "2026-03-11T03:00:00") for options in (scaled, replace(RATE, time_zones=zones))
            ]
            self.assertAlmostEqual(rates[0] / rates[1], 1, delta=ROUNDING)

    def test_clocks_that_go_forward_or_back_move_the_curve(self) -> None:
        """In Berlin noon is 11:00 UTC in winter and 10:00 in summer, and on the day itself from 01:00 UTC on."""
        berlin, utc = counts_of(replace(RATE, time_zones=(("Europe/Berlin", 1.0),))), counts_of(RATE)
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
            counts = counts_of(replace(RATE, per_second=asked), seed=3)
            means = counts.rates_micro(slots) / 1e6
            away = (counts(slots) - means) / np.sqrt(means)
            size = len(slots)
            with self.subTest(per_second=asked):
                self.assertLess(abs(float(away.sum())) / math.sqrt(size), 5, "mean")
                spread = math.sqrt((2 + float((1 / means).mean())) / size)
                self.assertLess(abs(float((away**2).mean()) - 1) / spread, 5, "dispersion")
                self.assertLess(abs(float((away[1:] * away[:-1]).mean())) * math.sqrt(size), 5, "neighbours")

    def test_counts_of_one_rate_are_distributed_as_poisson(self) -> None:
        slots = np.arange(ORIGIN, ORIGIN + 900)
        for asked in (0.3, 3.0, 60.0):
            options = replace(RATE, per_second=asked)
            mean = rate(counts_of(options), START)
            drawn = np.concatenate([counts_of(options, seed=seed)(slots) for seed in range(100)])
            masses = np.array([math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(200)])
            expected = masses * len(drawn)
            kept = np.flatnonzero(expected >= 10)
            observed = np.bincount(drawn, minlength=200)[kept]
            statistic = float(((observed - expected[kept]) ** 2 / expected[kept]).sum())
            with self.subTest(per_second=asked):
                self.assertLess(statistic, len(kept) + 5 * math.sqrt(2 * len(kept)))

    def test_the_lowest_rates_are_right_on_average(self) -> None:
        slots = np.arange(ORIGIN, ORIGIN + 40 * DAY_SECONDS)
        for asked in (1e-4, 1e-5):
            made, meant = 0, 0.0
            for seed in range(5):
                counts = counts_of(replace(RATE, per_second=asked), seed=seed)
                made += int(counts(slots).sum())
                meant += counts.expected(Window(int(slots[0]), int(slots[-1]) + 1))
            with self.subTest(per_second=asked):
                self.assertLess(abs(made - meant), 4 * math.sqrt(meant))

    def test_a_rate_of_nothing_makes_nothing(self) -> None:
        counts = counts_of(replace(RATE, per_second=0.0))
        self.assertEqual(int(counts(np.arange(ORIGIN, ORIGIN + DAY_SECONDS)).sum()), 0)
        self.assertEqual(counts.expected(Window(ORIGIN, ORIGIN + DAY_SECONDS)), 0.0)

    def test_nothing_starts_before_the_origin(self) -> None:
        origin = ORIGIN + 12_345
        counts = counts_of(RATE, origin=origin)
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
        counts = counts_of(RATE, replace(RATE, per_second=7.0), edges=(edge,))
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
        options = replace(RATE, per_second=2.0, growth_per_year=0.1)
        used = counts_of(options, replace(options, per_second=3.0), edges=(ORIGIN + 10 * DAY_SECONDS,))
        parts = [np.arange(size) * 7 + ORIGIN + day * DAY_SECONDS for day, size in asked]
        before = [used(part) for part in parts]
        fresh = counts_of(options, replace(options, per_second=3.0), edges=(ORIGIN + 10 * DAY_SECONDS,))
        together = np.concatenate(parts)
        np.testing.assert_array_equal(fresh(together), np.concatenate(before))
        np.testing.assert_array_equal(fresh(together[::-1].reshape(1, -1)), np.concatenate(before)[::-1].reshape(1, -1))
        np.testing.assert_array_equal(used(parts[0]), before[0])


class EpochTests(unittest.TestCase):
    def test_a_change_counts_from_its_slot_on_exactly(self) -> None:
        first, second = RATE, replace(RATE, per_second=1.0)
        third = replace(RATE, per_second=300.0, day_factors=(("2026-01-01", 2.0),))
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
        options = replace(RATE, growth_per_year=0.5)
        edge = ORIGIN + YEAR_SECONDS
        counts = counts_of(options, options, edges=(edge,))
        window = Window(edge, edge + 3600)
        self.assertEqual(counts.expected(window), counts_of(options).expected(window))


if __name__ == "__main__":
    unittest.main()
