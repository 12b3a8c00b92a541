"""A path has its value at each moment whoever asks, moves in small steps, and stays around zero with its deviation."""

from __future__ import annotations

import unittest
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.walks import DEVIATION_MAX, PATHS_MAX, Walk
from emitter.randomness import Stream

QUICK = settings(max_examples=50, deadline=None, derandomize=True)
DEVIATION = 10_000
DAY = 86_400


def walk(memory_bits: int = 16, grain_bits: int = 8, deviation: int = DEVIATION, seed: int = 1) -> Walk:
    return Walk(deviation, memory_bits, grain_bits, Stream(seed, "rates"))


class WalkTest(unittest.TestCase):
    @QUICK
    @given(st.lists(st.integers(-(2**31), 2**31), min_size=1, max_size=40), st.integers(0, PATHS_MAX - 1))
    def test_a_value_depends_on_its_slot_and_path_alone(self, some: list[int], path: int) -> None:
        slots, paths = np.array(some, dtype=np.int64), np.full(len(some), path)
        values = walk().at(slots, path)
        self.assertEqual(values.tolist(), [int(walk().at(np.array([slot]), path)[0]) for slot in some])
        np.testing.assert_array_equal(walk().at(slots[::-1], path)[::-1], values)
        np.testing.assert_array_equal(walk().at(slots, paths), values)
        self.assertEqual(slots.tolist(), some)

    def test_windows_of_any_size_give_the_same(self) -> None:
        for first in (-1000, 189_388_800, 2**31 - 5000):
            slots = np.arange(first, first + 5000)
            whole = walk().at(slots)
            for seconds in (1000, 97):
                parts = [walk().at(slots[begin : begin + seconds]) for begin in range(0, 5000, seconds)]
                np.testing.assert_array_equal(np.concatenate(parts), whole)
            np.testing.assert_array_equal(walk().at(slots, np.zeros(5000, dtype=np.int64)), whole)

    def test_it_never_steps_further_than_it_says(self) -> None:
        for memory_bits, grain_bits in ((12, 0), (16, 4), (16, 10), (20, 12)):
            path = walk(memory_bits, grain_bits)
            for first in (0, 5 * 2**memory_bits - 3000):  # over knots
                steps = np.abs(np.diff(path.at(np.arange(first, first + 200_000))))
                self.assertLessEqual(int(steps.max()), path.step_max, (memory_bits, grain_bits))
                self.assertGreater(int(steps.max()), path.step_max // 20)

    def test_it_stands_around_zero_with_its_deviation_at_any_place_between_knots(self) -> None:
        path = walk(memory_bits=12, grain_bits=4)
        knots = np.arange(20_000) << 12
        for place in (0, 1, 37, 1024, 2048, 3000, 4095):
            values = path.at(knots + place)
            with self.subTest(place=place):
                self.assertAlmostEqual(float(values.mean()) / DEVIATION, 0, delta=0.03)
                self.assertAlmostEqual(float(values.std()) / DEVIATION, 1, delta=0.03)
                self.assertLessEqual(int(np.abs(values).max()), path.reach)
        self.assertLess(path.reach, 6 * DEVIATION)

    def test_it_moves_like_a_brownian_motion_below_its_memory(self) -> None:
        """The variance of what it moves grows with the time that it moves."""
        path = walk(memory_bits=16, grain_bits=4)
        begins = np.arange(30_000) * 7919
        moved = {apart: float((path.at(begins + apart) - path.at(begins)).var()) for apart in (64, 256, 1024, 4096)}
        for apart, variance in moved.items():
            self.assertAlmostEqual(variance / (2 * DEVIATION**2 * apart / 2**16), 1, delta=0.1)

    def test_what_lies_beyond_its_memory_has_nothing_in_common(self) -> None:
        path, begins = walk(memory_bits=12, grain_bits=4), np.arange(30_000) * 9001
        for apart in (2 << 12, 3 << 12, 100 << 12):
            together = np.corrcoef(path.at(begins), path.at(begins + apart))[0, 1]
            self.assertLess(abs(float(together)), 0.04)

    def test_paths_have_nothing_in_common(self) -> None:
        path, slots = walk(memory_bits=12, grain_bits=4), np.arange(20_000) * 3001
        for one, other in ((0, 1), (1, 2), (5, 2**20), (0, PATHS_MAX - 1)):
            self.assertLess(abs(float(np.corrcoef(path.at(slots, one), path.at(slots, other))[0, 1])), 0.05)
        many = np.array([7, 0, 7, PATHS_MAX - 1])
        expected = [int(path.at(np.array([999]), number)[0]) for number in many.tolist()]
        self.assertEqual(path.at(np.full(4, 999), many).tolist(), expected)

    def test_a_moment_far_away_costs_what_one_now_costs(self) -> None:
        """So many words as there are levels, whenever it is."""
        for slot in (0, 189_388_800, 2**31 - 1):
            path = walk(memory_bits=20, grain_bits=10)
            with mock.patch.object(path._stream, "words", wraps=path._stream.words) as words:
                path.at(np.array([slot]))
            self.assertEqual(sum(call.args[0].size for call in words.call_args_list), 2 + 10)

    def test_the_largest_and_the_smallest_deviation_work(self) -> None:
        slots = np.arange(3000) << 8
        for deviation in (1, DEVIATION_MAX):
            path = walk(12, 4, deviation)
            values = path.at(slots)
            self.assertLessEqual(int(np.abs(values).max()), path.reach)
            self.assertAlmostEqual(float(values.std()) / deviation, 1, delta=0.2)

    def test_what_cannot_be_is_refused(self) -> None:
        for memory_bits, grain_bits, deviation in ((8, 8, 1), (32, 4, 1), (8, -1, 1), (8, 4, 0), (8, 4, 2**31)):
            with self.assertRaisesRegex(ValueError, "no walk"):
                walk(memory_bits, grain_bits, deviation)


if __name__ == "__main__":
    unittest.main()
