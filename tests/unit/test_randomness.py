"""Words, draws and tables: the same everywhere, evenly spread, and of the law they are named after."""

from __future__ import annotations

import hashlib
import unittest
from decimal import Decimal, localcontext
from functools import cache
from itertools import combinations, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.randomness import (
    EXACT,
    FRACTION_BITS,
    POPULATION_MAX,
    QUANTILE_BITS,
    Stream,
    below,
    below_low,
    choice_table,
    choose,
    modulo,
    poisson_thresholds,
    power_law_quantiles,
    skewed_rank,
)

WORD_MAX = 2**64 - 1
WORDS = st.integers(0, WORD_MAX)
QUICK = settings(max_examples=50, deadline=None, derandomize=True)


def mixed(word: int) -> int:
    """The finalizer of splitmix64, in Python's integers."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD_MAX
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD_MAX
    return word ^ (word >> 31)


def reference_word(seed: int, name: str, key: int) -> int:
    """A word of a stream, as the module tells it."""
    digest = hashlib.blake2b(name.encode(), digest_size=16, key=seed.to_bytes(8, "little")).digest()
    factor = int.from_bytes(digest[:8], "little") | 1
    return mixed((key * factor + int.from_bytes(digest[8:], "little")) & WORD_MAX)


def even_words(count: int) -> np.ndarray:
    """Words at even steps over all there are: a sample without chance."""
    step = 2**64 // count
    return np.arange(count, dtype=np.uint64) * np.uint64(step) + np.uint64(step // 2)


def chi_square(observed: np.ndarray, expected: np.ndarray | float) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


class StreamTests(unittest.TestCase):
    def test_words_are_known_answers(self) -> None:
        keys = np.array([0, 1, 2**40, -1, 2**63 - 1], dtype=np.int64)
        known = {
            (0, ""): "e476a7351e4d6226 efc586ad072ed547 c735d742988adae5 28460cfb7a0c7f1a f8a2a11e365f0413",
            (42, "orders"): "9276c84d560ce77b c1e93ff512cbd36d a1ce945488df04db d443f8aee6b4c5f9 a1b367aaa2c34630",
            (2**63 - 1, "payments.chain"): (
                "d7ff36e554acc538 3e17af527735ce0c 4982e853669383a5 124de43e230b60c9 076b4e9763230f5b"
            ),
        }
        for (seed, name), answers in known.items():
            with self.subTest(seed=seed, name=name):
                words = Stream(seed, name).words(keys)
                self.assertEqual([f"{int(word):016x}" for word in words], answers.split())

    def test_the_mixer_is_that_of_splitmix64(self) -> None:
        # The first output of the reference implementation from state 0.
        self.assertEqual(mixed(0x9E3779B97F4A7C15), 0xE220A8397B1DCDAF)

    @QUICK
    @given(st.integers(0, 2**63 - 1), st.text(max_size=20), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
    def test_words_equal_those_of_plain_integers(self, seed: int, name: str, keys: list[int]) -> None:
        stream = Stream(seed, name)
        words = stream.words(np.array(keys, dtype=np.int64))
        self.assertEqual(words.tolist(), [reference_word(seed, name, key) for key in keys])
        self.assertEqual([stream.word(key) for key in keys], words.tolist())

    def test_a_word_depends_on_its_key_alone(self) -> None:
        """Not on the shape, order, cut or memory layout it is asked in, nor on blocks inside."""
        stream = Stream(7, "any")
        keys = np.arange(-20_000, 30_000, dtype=np.int64)  # several blocks
        words = stream.words(keys)
        shuffled = np.argsort(words)
        np.testing.assert_array_equal(stream.words(keys[shuffled]), words[shuffled])
        np.testing.assert_array_equal(stream.words(keys[::-3]), words[::-3])
        np.testing.assert_array_equal(stream.words(keys.reshape(100, 500)), words.reshape(100, 500))
        np.testing.assert_array_equal(stream.words(keys.reshape(100, 500).T), words.reshape(100, 500).T)
        np.testing.assert_array_equal(stream.words(keys.view(np.uint64)), words)
        np.testing.assert_array_equal(np.concatenate([stream.words(part) for part in np.array_split(keys, 7)]), words)
        self.assertEqual(stream.words(np.empty((0, 3), dtype=np.int64)).shape, (0, 3))

    def test_words_leave_their_keys_as_they_were(self) -> None:
        keys = np.arange(1000, dtype=np.int64)
        Stream(7, "any").words(keys)
        np.testing.assert_array_equal(keys, np.arange(1000))

    def test_no_two_streams_share_words(self) -> None:
        keys = np.arange(20_000, dtype=np.int64)
        streams = [(0, "a"), (0, "b"), (1, "a"), (2**63 - 1, "a"), (0, "a.b")]
        words = [Stream(seed, name).words(keys) for seed, name in streams]
        for one, other in combinations(words, 2):
            self.assertEqual(np.intersect1d(one, other).size, 0)
        self.assertEqual(np.unique(words[0]).size, keys.size)

    def test_every_bit_of_a_key_moves_half_the_bits_of_its_word(self) -> None:
        stream = Stream(3, "avalanche")
        keys = np.arange(2000, dtype=np.uint64) << np.uint64(22)
        words = stream.words(keys)
        for bit in range(64):
            moved = np.bitwise_count(words ^ stream.words(keys ^ np.uint64(1 << bit)))
            self.assertAlmostEqual(float(moved.mean()), 32, delta=0.8, msg=f"bit {bit}")

    def test_every_bit_of_the_words_is_set_half_the_time(self) -> None:
        count = 1 << 16
        words = Stream(11, "bits").words(np.arange(count, dtype=np.int64))
        for bit in range(64):
            ones = int(((words >> np.uint64(bit)) & np.uint64(1)).sum())
            self.assertAlmostEqual(ones, count / 2, delta=5 * (count / 4) ** 0.5, msg=f"bit {bit}")


class DrawTests(unittest.TestCase):
    @QUICK
    @given(st.lists(WORDS, min_size=1, max_size=20), st.integers(1, 2**32))
    def test_draws_stay_below_their_bound(self, words: list[int], bound: int) -> None:
        array = np.array([*words, 0, WORD_MAX], dtype=np.uint64)
        for draw in (below, below_low):
            drawn = draw(array, bound)
            self.assertEqual(drawn.dtype, np.int64)
            self.assertGreaterEqual(int(drawn.min()), 0)
            self.assertLess(int(drawn.max()), bound)
            np.testing.assert_array_equal(draw(array, np.full(array.shape, bound)), drawn)
        self.assertEqual(below(array, bound).tolist(), [(int(word) >> 32) * bound >> 32 for word in array])
        self.assertEqual(below_low(array, bound).tolist(), [(int(word) % 2**32) * bound >> 32 for word in array])

    def test_draws_reach_both_ends(self) -> None:
        ends = np.array([0, WORD_MAX], dtype=np.uint64)
        for bound in (1, 2, 7, 86_400, 2**32):
            self.assertEqual(below(ends, bound).tolist(), [0, bound - 1])
            self.assertEqual(below_low(ends, bound).tolist(), [0, bound - 1])

    def test_the_two_draws_of_a_word_are_uniform_and_independent(self) -> None:
        count, sides = 200_000, 10
        words = Stream(5, "dice").words(np.arange(count, dtype=np.int64))
        pairs = np.bincount(below(words, sides) * sides + below_low(words, sides), minlength=sides * sides)
        # 99 degrees of freedom: the mean is 99, its deviation 14.
        self.assertLess(chi_square(pairs, count / sides**2), 99 + 5 * 14)

    def test_neighbouring_keys_draw_independently(self) -> None:
        count, sides = 200_000, 10
        for stride in (1, 16, 1 << 22):
            drawn = below(Stream(5, "dice").words(np.arange(count, dtype=np.int64) * stride), sides)
            pairs = np.bincount(drawn[:-1] * sides + drawn[1:], minlength=sides * sides)
            self.assertLess(chi_square(pairs, count / sides**2), 99 + 5 * 14)


class ChoiceTableTests(unittest.TestCase):
    def test_shares_that_divide_are_exact(self) -> None:
        self.assertEqual(np.bincount(choice_table((1, 2, 5), bits=3)).tolist(), [1, 2, 5])
        self.assertEqual(np.bincount(choice_table((3, 1))).tolist(), [3072, 1024])

    @QUICK
    @given(
        st.lists(st.integers(0, 100_000), min_size=1, max_size=100).filter(any),
        st.sampled_from([4, 12, 16]),
    )
    def test_every_share_is_right_to_one_entry(self, weights: list[int], bits: int) -> None:
        table = choice_table(tuple(weights), bits)
        self.assertEqual(len(table), 1 << bits)
        shares = np.bincount(table, minlength=len(weights))
        self.assertEqual(len(shares), len(weights))
        for share, weight in zip(shares.tolist(), weights, strict=True):
            self.assertLess(abs(share - weight * 2**bits / sum(weights)), 1 + 1e-9)

    def test_a_choice_is_by_the_bits_from_the_shift_on(self) -> None:
        table = np.arange(16, dtype=np.int8) * 3
        words = np.array([0, 5, 0xF0, 0x123456789ABCDEF0, WORD_MAX], dtype=np.uint64)
        for shift in (0, 4, 60):
            chosen = choose(table, words, shift)
            self.assertEqual(chosen.dtype, np.int8)
            self.assertEqual(chosen.tolist(), [3 * (int(word) >> shift & 15) for word in words])


class ModuloTests(unittest.TestCase):
    @QUICK
    @given(st.lists(st.integers(0, 2**63 - 1), max_size=20), st.integers(1, 2**63 - 1))
    def test_it_is_the_remainder_and_leaves_its_values_alone(self, numbers: list[int], modulus: int) -> None:
        values = np.array(numbers, dtype=np.int64)
        self.assertEqual(modulo(values, modulus).tolist(), [number % modulus for number in numbers])
        self.assertEqual(values.tolist(), numbers)


class PoissonTests(unittest.TestCase):
    RATES_MICRO = (1, 10, 1000, 500_000, 999_999, 3_000_000, 1_000_000_000, 30_000_000_000, 262_000_000_000)

    def test_thresholds_are_the_exact_probabilities(self) -> None:
        """A word is below threshold i with the probability of a count of at most first + i."""
        for rate_micro in self.RATES_MICRO[:-1]:
            first, thresholds = poisson_thresholds(rate_micro)
            with localcontext() as context:
                context.prec = 40
                rate = Decimal(rate_micro) / 1_000_000
                mass = (-rate).exp()
                exact, passed = [], Decimal(0)
                for count in range(first + len(thresholds) + 1):
                    passed += mass
                    if count >= first:
                        exact.append(passed)
                    mass = mass * rate / (count + 1)
                self.assertLess(float(1 - exact.pop()), 1e-14, "what is left out")
                worst = max(abs(Decimal(int(t)) / 2**64 - p) for t, p in zip(thresholds, exact, strict=True))
            with self.subTest(rate_micro=rate_micro):
                self.assertLess(float(worst), 2e-13)

    def test_mean_and_variance_are_the_rate(self) -> None:
        for rate_micro in self.RATES_MICRO:
            first, thresholds = poisson_thresholds(rate_micro)
            edges = [0, *(int(threshold) for threshold in thresholds), 2**64]
            masses = [Decimal(high - low) / 2**64 for low, high in pairwise(edges)]
            mean = sum(mass * (first + place) for place, mass in enumerate(masses))
            variance = sum(mass * (first + place - mean) ** 2 for place, mass in enumerate(masses))
            with self.subTest(rate_micro=rate_micro):
                self.assertAlmostEqual(float(mean) / (rate_micro / 1e6), 1, delta=1e-9)
                self.assertAlmostEqual(float(variance) / (rate_micro / 1e6), 1, delta=1e-9)

    def test_thresholds_rise(self) -> None:
        for rate_micro in self.RATES_MICRO:
            _, thresholds = poisson_thresholds(rate_micro)
            self.assertTrue((thresholds[1:] >= thresholds[:-1]).all())

    def test_a_rate_of_nothing_has_no_thresholds(self) -> None:
        first, thresholds = poisson_thresholds(0)
        self.assertEqual((first, len(thresholds)), (0, 0))


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
