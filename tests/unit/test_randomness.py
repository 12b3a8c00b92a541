"""Words, draws and tables: the same everywhere, evenly spread, and of the law they are named after."""

from __future__ import annotations

import hashlib
import unittest
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.randomness import Stream, below, below_low, modulo

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


class ModuloTests(unittest.TestCase):
    @QUICK
    @given(st.lists(st.integers(0, 2**63 - 1), max_size=20), st.integers(1, 2**63 - 1))
    def test_it_is_the_remainder_and_leaves_its_values_alone(self, numbers: list[int], modulus: int) -> None:
        values = np.array(numbers, dtype=np.int64)
        self.assertEqual(modulo(values, modulus).tolist(), [number % modulus for number in numbers])
        self.assertEqual(values.tolist(), numbers)


if __name__ == "__main__":
    unittest.main()
