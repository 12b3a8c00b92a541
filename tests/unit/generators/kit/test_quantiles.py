"""Draws have the quantiles of the law they are named after, out to one in millions."""

from __future__ import annotations

import hashlib
import math
import unittest
from collections.abc import Callable
from decimal import Decimal, localcontext
from statistics import NormalDist

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit import quantiles
from emitter.generators.kit.quantiles import Quantiles, exponential, lognormal, normal, power_law
from emitter.randomness import EXACT
from tests.unit.generators.kit.even import WORD_MAX, even_words

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
Z = NormalDist().inv_cdf
LAWS: dict[str, tuple[Quantiles, Callable[[float], float]]] = {
    "normal": (normal(10_000_000, 1_000_000), lambda p: 10_000_000 + 1_000_000 * Z(p)),
    "lognormal": (lognormal(2_420_000, 0.9), lambda p: 2_420_000 * math.exp(0.9 * Z(p))),
    "exponential": (exponential(3_600_000_000), lambda p: -3_600_000_000 * math.log1p(-p)),
    "power law": (
        power_law(1_000_000, 10**11, 2.2),
        lambda p: 1_000_000 * (1 - p * (1 - (10**11 / 1_000_000) ** -1.2)) ** (-1 / 1.2),
    ),
}


def word_at(share: float) -> np.ndarray:
    return np.array([int(share * 2**64)], dtype=np.uint64)


class QuantilesTest(unittest.TestCase):
    def test_quantiles_are_those_of_the_law(self) -> None:
        shares = (*(10.0**-power for power in range(1, 7)), 0.25, 0.5, 0.75)
        for name, (table, law) in LAWS.items():
            for share in (*shares, *(1 - share for share in shares), *np.linspace(0.001, 0.999, 500).tolist()):
                with self.subTest(law=name, share=share):
                    self.assertAlmostEqual(int(table.draw(word_at(share))[0]) / law(share), 1, delta=0.005)

    def test_the_tables_are_what_decimals_say(self) -> None:
        """The edges to the last digit, by a second way that floating point has no part in."""
        table = exponential(1000.0 * 2**20)
        with localcontext(EXACT):
            for step in range(1, 4095, 61):
                exact = -(1 - Decimal(step) / 4096).ln() * 1000 * 2**20
                self.assertLessEqual(abs(int(table.begins[step]) - exact), Decimal("0.5001"))
        halves = lognormal(1.0 * 2**30, 0.5)
        for step in range(1, 4095, 61):
            exact_score = Decimal(Z(step / 4096))
            with localcontext(EXACT):
                exact = (exact_score / 2).exp() * 2**30
            self.assertLessEqual(abs(int(halves.begins[step]) - exact), Decimal("0.51"))

    def test_mean_and_deviation_are_those_asked_for(self) -> None:
        words = even_words(1 << 22)
        gauss = normal(5_000_000, 70_000).draw(words)
        self.assertAlmostEqual(float(gauss.mean()), 5_000_000, delta=10)
        self.assertAlmostEqual(float(gauss.std()) / 70_000, 1, delta=0.001)
        waits = exponential(86_400_000).draw(words)
        self.assertAlmostEqual(float(waits.mean()) / 86_400_000, 1, delta=0.001)
        self.assertAlmostEqual(float(waits.std()) / 86_400_000, 1, delta=0.003)
        sizes = lognormal(24_200, 0.9).draw(words)
        self.assertAlmostEqual(float(sizes.mean()) / (24_200 * math.exp(0.405)), 1, delta=0.002)
        self.assertAlmostEqual(float(np.median(sizes)), 24_200, delta=15)

    def test_few_values_are_rounded_to_the_nearest(self) -> None:
        """A table in coarse units has no bias downwards."""
        self.assertAlmostEqual(float(normal(0, 2000).draw(even_words(1 << 20)).mean()), 0, delta=0.1)
        drawn = normal(3, 1).draw(even_words(1 << 20))
        self.assertAlmostEqual(float(drawn.mean()), 3, delta=0.005)
        for value in (1, 2, 3, 4):
            share = NormalDist(3, 1).cdf(value + 0.5) - NormalDist(3, 1).cdf(value - 0.5)
            self.assertAlmostEqual(np.count_nonzero(drawn == value) / len(drawn), share, delta=0.002)

    def test_draws_rise_with_their_words_and_reach_both_ends(self) -> None:
        words = np.sort(np.concatenate([even_words(1 << 16), even_words(1 << 12) >> np.uint64(11), ~even_words(4096)]))
        words = np.sort(np.concatenate([words, ~(even_words(4096) >> np.uint64(11)), [np.uint64(0)]]))
        for name, (table, _) in LAWS.items():
            drawn = table.draw(words)
            self.assertTrue((np.diff(drawn) >= 0).all(), name)
            self.assertLess(int(drawn[0]), int(table.draw(word_at(1e-5))[0]), name)
            self.assertGreater(int(drawn[-1]), int(table.draw(word_at(1 - 1e-5))[0]), name)

    def test_a_power_law_stays_within_its_bounds(self) -> None:
        table = power_law(500, 90_000, 1.8)
        drawn = table.draw(np.concatenate([even_words(1 << 20), [np.uint64(0), np.uint64(WORD_MAX)]]))
        self.assertGreaterEqual(int(drawn.min()), 500)
        self.assertLessEqual(int(drawn.max()), 90_000)
        self.assertGreater(int(drawn.max()), 80_000)
        for low, high, exponent in ((0, 10, 2.0), (10, 10, 2.0), (1, 10, 1.0)):
            with self.assertRaisesRegex(ValueError, "power law"):
                power_law(low, high, exponent)

    def test_values_beyond_the_table_are_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "larger unit"):
            lognormal(1e12, 3.0)

    @QUICK
    @given(st.lists(st.integers(0, WORD_MAX), min_size=1, max_size=30))
    def test_a_draw_depends_on_its_word_alone_and_leaves_it(self, numbers: list[int]) -> None:
        words = np.array([*numbers, 0, WORD_MAX, 1 << 52, (1 << 52) - 1], dtype=np.uint64)
        before = words.copy()
        for table, _ in LAWS.values():
            drawn = table.draw(words)
            self.assertEqual(drawn.dtype, np.int64)
            self.assertEqual(drawn.tolist(), [int(table.draw(np.array([word]))[0]) for word in words])
            np.testing.assert_array_equal(words, before)

    def test_the_tables_are_the_same_on_every_machine(self) -> None:
        """What this one makes is what the one made that this was written on."""
        digest = hashlib.blake2b(digest_size=8)
        for table, _ in LAWS.values():
            digest.update(table.begins.astype("<i8").tobytes())
        self.assertEqual(digest.hexdigest(), "a58d99ba411e54cf")

    def test_tables_are_made_once_and_cannot_be_changed(self) -> None:
        self.assertIs(normal(1.0, 2.0), normal(1.0, 2.0))
        with self.assertRaises(ValueError):
            normal(1.0, 2.0).begins[0] = 7


class SeriesTest(unittest.TestCase):
    def test_exp_log_and_scores_are_right_to_the_last_digits(self) -> None:
        x = np.linspace(-40, 40, 4001)
        for found, exact in zip(quantiles._exp(x).tolist(), map(math.exp, x.tolist()), strict=True):
            self.assertAlmostEqual(found / exact, 1, delta=1e-15)
        positive = np.exp(np.linspace(-40, 40, 4001))
        for found, exact in zip(quantiles._log(positive).tolist(), map(math.log, positive.tolist()), strict=True):
            self.assertAlmostEqual(found, exact, delta=1e-14)
        for share, found in zip(
            quantiles._BELOW[::97].tolist(), quantiles._normal_scores()[::97].tolist(), strict=True
        ):
            self.assertAlmostEqual(found, Z(share), delta=1e-14)


if __name__ == "__main__":
    unittest.main()
