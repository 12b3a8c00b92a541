"""Members with a habit act once in their gap, give or take the jitter; nobody acts before coming, and order is free."""

from __future__ import annotations

import unittest
from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.dealing import places_within
from emitter.generators.kit.habits import EvenShares, HabitCycles
from emitter.randomness import Integers, Stream

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
EVEN, ACT = EvenShares(Stream(1, "turn")), Stream(1, "act")


class Habit:
    """A group after some others, which begin with other sizes."""

    def __init__(self, gap: int = 25, jitter: int = 5, opening: int = 3200, others: tuple[int, ...] = ()) -> None:
        self._group = len(others)
        gaps, jitters = [*[7] * self._group, gap], [*[1] * self._group, jitter]
        self._cycles = HabitCycles(gaps, jitters, [*others, opening], Stream(1, "weekly"))

    def pick(self, turns: Integers, shares: Integers, sizes: int | Integers) -> Integers:
        there = np.broadcast_to(np.asarray(sizes, dtype=np.int64), turns.shape)
        return self._cycles.pick(np.full_like(turns, self._group), turns, shares, there)


def shares_of(turns: Integers, ordinals: Integers, counts: Integers, *, dealt: bool = True) -> Integers:
    """Shares dealt evenly to what happens in turns, or drawn by chance."""
    if dealt:
        return EVEN.of(turns, ordinals, counts)
    return (ACT.words(turns << 20 | ordinals) >> np.uint64(32)).view(np.int64)


def lives(
    cycle: Habit, turns: int, size_at: Callable[[Integers], Integers], gap: int, *, dealt: bool = True
) -> dict[int, list[int]]:
    """The turns in which each member acts, if as many act in a gap as there are members."""
    every = np.arange(turns)
    sizes = np.broadcast_to(size_at(every), turns)
    counts = np.diff(np.cumsum(sizes) // gap, prepend=0)
    acting, ordinals = places_within(counts)
    shares = shares_of(acting, ordinals, counts[acting], dealt=dealt)
    found: dict[int, list[int]] = {}
    for member, turn in zip(cycle.pick(acting, shares, sizes[acting]).tolist(), acting.tolist(), strict=True):
        found.setdefault(member, []).append(turn)
    return found


def gaps_of(found: dict[int, list[int]]) -> Integers:
    return np.concatenate([np.diff(turns) for turns in found.values()])


class GapTest(unittest.TestCase):
    def test_everybody_acts_once_in_a_gap_give_or_take_the_jitter(self) -> None:
        found = lives(Habit(others=(10, 100_000)), 500, lambda turns: np.array(3200), 25)
        self.assertEqual(set(found), set(range(3200)))
        self.assertEqual({len(turns) for turns in found.values()}, {20})
        gaps = gaps_of(found)
        self.assertAlmostEqual(float(gaps.mean()), 25, delta=0.05)
        self.assertAlmostEqual(float(gaps.std()), 0.4 * 5, delta=0.2)
        self.assertTrue((np.abs(gaps - 25) < 5).all())
        # At a phase of their own: in each turn begin as many.
        phases = np.array([min(turns) for turns in found.values()])
        self.assertLess(int(np.bincount(phases, minlength=25).max()), 2 * 3200 / 25)

    def test_a_jitter_need_not_divide_the_gap_nor_be_small(self) -> None:
        for jitter, mean_square in ((7, (21 * 49 + 4 * 16) / 25), (16, (16 * 256 + 9 * 81) / 25), (25, 625)):
            found = lives(Habit(jitter=jitter), 1000, lambda turns: np.array(3200), 25)
            self.assertEqual({len(turns) for turns in found.values()}, {40})
            gaps = gaps_of(found)
            self.assertAlmostEqual(float(gaps.mean()), 25, delta=0.1)
            self.assertAlmostEqual(float(gaps.std()) / (mean_square / 6) ** 0.5, 1, delta=0.1)

    def test_without_jitter_everybody_acts_at_fixed_turns(self) -> None:
        gaps = gaps_of(lives(Habit(jitter=1), 200, lambda turns: np.array(3200), 25))
        self.assertEqual(set(gaps.tolist()), {25})

    def test_any_number_of_members_acts_about_as_often(self) -> None:
        for size in (3200, 3333, 4000, 5001):
            found = lives(Habit(), 1000, lambda turns, size=size: np.array(size), 25)
            numbers = np.array([len(found.get(member, ())) for member in range(size)])
            self.assertAlmostEqual(float(numbers.mean()), 40, delta=0.1)
            self.assertLess(float(numbers.std()), 1.2, f"{size} members")  # by chance it would be above 6
            self.assertLessEqual(int(np.abs(numbers - 40).max()), 10, f"{size} members")

    def test_by_chance_they_act_as_often_but_not_as_regularly(self) -> None:
        found = lives(Habit(), 1000, lambda turns: np.array(3200), 25, dealt=False)
        numbers = np.array([len(found.get(member, ())) for member in range(3200)])
        self.assertAlmostEqual(float(numbers.mean()), 40, delta=0.1)
        self.assertAlmostEqual(float(numbers.var()) / 40, 1, delta=0.1)
        self.assertGreater(float(gaps_of(found).std()), 20)

    def test_phases_stay_while_others_arrive(self) -> None:
        """The number doubles in twenty gaps: those of the beginning go on as they did."""
        found = lives(Habit(), 500, lambda turns: 3200 + turns * 6, 25)
        old = {member: turns for member, turns in found.items() if member < 3200}
        gaps = gaps_of(old)
        self.assertAlmostEqual(float(gaps.mean()), 25, delta=0.5)
        self.assertGreater(np.count_nonzero(np.abs(gaps - 25) < 5) / len(gaps), 0.9)
        self.assertGreater(len(found), 5500)
        self.assertTrue(all(min(turns) * 6 + 3200 > member for member, turns in found.items()))

    def test_who_acts_next_has_no_number_nearby(self) -> None:
        for opening in (320, 3200, 320_000):
            cycle, picked = Habit(opening=opening), []
            for turn in range(40):
                ordinals = np.arange(max(8, opening // 400))
                turns, counts = np.full_like(ordinals, turn), np.full_like(ordinals, len(ordinals))
                picked += cycle.pick(turns, shares_of(turns, ordinals, counts), opening).tolist()
            numbers = np.array(picked)
            self.assertLess(abs(float(np.corrcoef(numbers[:-1], numbers[1:])[0, 1])), 4 / len(numbers) ** 0.5)
            self.assertLess(np.count_nonzero(np.abs(np.diff(numbers)) <= opening // 100), 0.06 * len(numbers))


class PickTest(unittest.TestCase):
    @QUICK
    @given(
        st.integers(1, 100_000),
        st.lists(st.tuples(st.integers(-(2**31), 2**31), st.integers(0, 2**32 - 1), st.integers(1, 2**30)), min_size=1),
    )
    def test_nobody_is_picked_before_coming_and_order_is_free(
        self, opening: int, asked: list[tuple[int, int, int]]
    ) -> None:
        cycle = Habit(gap=1000, jitter=77, opening=opening)
        turns, shares, sizes = (np.array(column, dtype=np.int64) for column in zip(*asked, strict=True))
        picked = cycle.pick(turns, shares, sizes)
        self.assertTrue(((picked >= 0) & (picked < sizes)).all())
        np.testing.assert_array_equal(cycle.pick(turns[::-1], shares[::-1], sizes[::-1])[::-1], picked)
        one = [
            int(
                Habit(1000, 77, opening).pick(turns[place : place + 1], shares[place : place + 1], int(sizes[place]))[0]
            )
            for place in range(min(3, len(turns)))
        ]
        self.assertEqual(picked.tolist()[:3], one)
        self.assertEqual(turns.tolist(), [turn for turn, _, _ in asked])

    def test_groups_are_picked_from_together_as_they_would_be_alone(self) -> None:
        gaps, jitters, openings = (7, 28, 365, 1000, 90), (2, 7, 30, 1000, 1), (3000, 10, 100_000, 5000, 0)
        cycles = HabitCycles(gaps, jitters, openings, Stream(1, "habits"))
        size = 20_000
        words = Stream(1, "any").words(np.arange(size))
        groups, turns = np.arange(size) % 5, np.arange(size) // 20 - 300
        shares, sizes = (words >> np.uint64(32)).view(np.int64), np.array(openings)[groups] + 1
        picked = cycles.pick(groups, turns, shares, sizes)
        self.assertTrue(((picked >= 0) & (picked < sizes)).all())
        for group in range(5):
            mine = groups == group
            alone = cycles.pick(groups[mine], turns[mine], shares[mine], sizes[mine])
            np.testing.assert_array_equal(alone, picked[mine])
        same = HabitCycles([90, 90], [30, 30], [9000, 9000], Stream(1, "habits"))
        one, other = (same.pick(np.full(size, group), turns, shares, np.full(size, 9000)) for group in (0, 1))
        self.assertLess(np.count_nonzero(one == other), 100)

    def test_few_members_all_act(self) -> None:
        for size in (1, 2, 5, 33):
            found = lives(Habit(opening=size), 600, lambda turns, size=size: np.array(size), 25)
            self.assertEqual(set(found), set(range(size)))

    def test_the_longest_gap_and_the_largest_number_fit(self) -> None:
        cycle = Habit(gap=2**31, jitter=2**31, opening=2**30)
        turns = Stream(1, "any").words(np.arange(2000)).view(np.int64) >> 33
        picked = cycle.pick(turns, np.full(2000, 2**32 - 1), 2**30)
        self.assertTrue(((picked >= 0) & (picked < 2**30)).all())
        self.assertGreater(len(np.unique(picked)), 1990)

    def test_what_cannot_be_is_refused(self) -> None:
        for gap, jitter in ((5, 0), (5, 6), (2**31 + 1, 1)):
            with self.assertRaisesRegex(ValueError, "jitter"):
                Habit(gap, jitter)
        with self.assertRaisesRegex(ValueError, "nobody"):
            Habit().pick(np.array([1, 2]), np.array([0, 0]), np.array([5, 0]))


class EvenSharesTest(unittest.TestCase):
    def test_the_acts_of_a_turn_are_evenly_spread_in_another_order(self) -> None:
        for turn in range(30):
            for count in (1, 2, 3, 64, 1000, 4095):
                shares = EVEN.of(np.full(count, turn), np.arange(count), np.full(count, count))
                self.assertTrue(((shares >= 0) & (shares < 2**32)).all())
                apart = np.diff(np.sort(shares)) if count > 1 else np.array([2**32])
                self.assertLessEqual(int(np.abs(apart - 2**32 // count).max()), 1)
                if count >= 64:
                    self.assertLess(np.count_nonzero(np.diff(shares) == apart[0]), count // 10, (turn, count))


if __name__ == "__main__":
    unittest.main()
