"""Ranks are drawn by the law they are named after."""

from __future__ import annotations

import unittest
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.limits import POPULATION_MAX
from emitter.generators.kit.picks import FRACTION_BITS, QUANTILE_BITS, power_law_quantiles, skewed_rank
from emitter.randomness import EXACT
from tests.unit.generators.kit.even import WORD_MAX, even_words

WORDS = st.integers(0, WORD_MAX)
QUICK = settings(max_examples=50, deadline=None, derandomize=True)


class SkewTests(unittest.TestCase):
    LAWS = tuple((size, s) for size in (1000, 100_000) for s in ("0", "0.5", "0.8", "1", "1.3", "2"))

    @staticmethod
    @cache
    def quantiles(size: int, exponent: str) -> np.ndarray:
        return power_law_quantiles(size, Decimal(exponent))

    @staticmethod
    def law(rank: int, size: int, exponent: Decimal) -> float:
        """The share of draws below a rank: the integral of x**-exponent from 1 to rank + 1 out of that to size + 1."""
        if exponent == 1:
            return float(Decimal(rank + 1).ln() / Decimal(size + 1).ln())
        rest = 1 - exponent
        return float((Decimal(rank + 1) ** rest - 1) / (Decimal(size + 1) ** rest - 1))

    def test_the_share_of_the_top_follows_the_law(self) -> None:
        words = even_words(1 << 20)
        for size, text in self.LAWS:
            exponent = Decimal(text)
            ranks = skewed_rank(words, self.quantiles(size, text), size)
            for top in (1, 3, 10, 100, size // 2, size):
                share = np.count_nonzero(ranks < top) / len(words)
                with self.subTest(size=size, exponent=text, top=top):
                    self.assertAlmostEqual(share, self.law(top, size, exponent), delta=2.0**-QUANTILE_BITS)

    def test_weights_fall_with_the_rank_by_the_exponent(self) -> None:
        """Beyond the first ranks, where a sum is as good as its integral, shares equal those of exact sums."""
        words, size = even_words(1 << 20), 10_000
        for text in ("0", "0.5", "0.8", "1", "1.3"):
            ranks = skewed_rank(words, self.quantiles(size, text), size)
            # A rank's weight is that of its middle; only ratios are compared.
            weights = (np.arange(size) + 1.5) ** -float(text)
            inner = np.count_nonzero((ranks >= 20) & (ranks < 5000))
            for low, high in ((20, 40), (40, 200), (200, 1000), (1000, 5000)):
                share = np.count_nonzero((ranks >= low) & (ranks < high)) / inner
                exact = weights[low:high].sum() / weights[20:5000].sum()
                with self.subTest(exponent=text, low=low):
                    self.assertAlmostEqual(share / exact, 1, delta=0.02)

    def test_no_exponent_means_no_skew(self) -> None:
        size = 64
        ranks = skewed_rank(even_words(64_000), self.quantiles(size, "0"), size)
        self.assertEqual(set(np.bincount(ranks, minlength=size).tolist()), {1000})

    def test_every_knot_is_what_decimals_say(self) -> None:
        for size, text in (*self.LAWS, (2, "0.8"), (POPULATION_MAX - 1, "0.999"), (POPULATION_MAX - 1, "0.8")):
            rest, knots, top = 1 - Decimal(text), 2**QUANTILE_BITS, 2**FRACTION_BITS
            with localcontext(EXACT):
                log_top = Decimal(size + 1).ln()
                span = (rest * log_top).exp() - 1 if rest else log_top
                steps = {knot: span * knot / knots for knot in (*range(0, knots, 61), knots)}
                places = {knot: (1 + step).ln() / rest if rest else step for knot, step in steps.items()}
                exact = {knot: int((place.exp() - 1) / size * top) for knot, place in places.items()}
            begins, widths = self.quantiles(size, text)
            found = [*map(int, begins), int(begins[-1] + widths[-1])]
            self.assertEqual({knot: found[knot] for knot in exact}, exact, (size, text))

    def test_the_law_stretches_over_a_grown_population(self) -> None:
        words, quantiles = even_words(1 << 18), self.quantiles(1000, "0.8")
        small, large = skewed_rank(words, quantiles, 1000), skewed_rank(words, quantiles, 5000)
        np.testing.assert_array_equal(large // 5, small)
        self.assertEqual(int(large.max()), 4999)

    @QUICK
    @given(
        st.sampled_from([(1, "2"), (2, "0.8"), (3, "1"), (999, "0"), (10**6, "1.5"), (POPULATION_MAX - 1, "2")]),
        st.lists(st.tuples(WORDS, st.integers(1, POPULATION_MAX - 1)), min_size=1, max_size=20),
    )
    def test_ranks_stay_within_the_population(self, law: tuple[int, str], draws: list[tuple[int, int]]) -> None:
        quantiles = self.quantiles(*law)
        words = np.array([word for word, _ in draws] + [0, WORD_MAX], dtype=np.uint64)
        populations = np.array([population for _, population in draws] + [1, POPULATION_MAX - 1], dtype=np.int64)
        ranks = skewed_rank(words, quantiles, populations)
        self.assertTrue(((ranks >= 0) & (ranks < populations)).all())
        for word, population, rank in zip(words, populations, ranks, strict=True):
            self.assertEqual(skewed_rank(np.array([word]), quantiles, int(population)).tolist(), [int(rank)])


if __name__ == "__main__":
    unittest.main()
