"""Chains of bijections: the steps of a slot, found backwards, are those of a run forward from the start."""

from __future__ import annotations

import unittest
from collections import Counter
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.chains import START, Chains, Delay
from emitter.generators.kit.dealing import Dealer, count_dealt, first_dealt, places_within
from emitter.model import Slice
from emitter.randomness import Stream, below

WEEK_SECONDS = 7 * 86_400
YEAR_2026 = 189_388_800
QUICK = settings(max_examples=60, deadline=None, derandomize=True)

# From plain shifts by a second to blocks of eleven days, with prime, composite and even sizes.
BLOCK_SECONDS = st.one_of(st.integers(1, 12), st.integers(1, 100_000), st.sampled_from([2**20, 999_983, 10**6]))
DELAYS = st.builds(Delay, BLOCK_SECONDS, st.integers(1, 20))
SCRIPTS = st.lists(st.lists(DELAYS, min_size=1, max_size=5), min_size=1, max_size=6)
SLOTS = st.lists(st.integers(-(10**7), 2**31), min_size=1, max_size=20)


def column(chains: Chains, lane: int, step: int) -> int:
    return next(place for place, pair in enumerate(chains.pairs) if (pair.lane, pair.step) == (lane, step))


class DelayTests(unittest.TestCase):
    def test_a_delay_moves_at_least_one_second(self) -> None:
        for block_seconds, blocks in ((0, 1), (1, 0), (-5, 1), (5, -1)):
            with self.assertRaises(ValueError):
                Delay(block_seconds, blocks)

    def test_a_step_may_come_after_any_earlier_one(self) -> None:
        script = [Delay(10), Delay(7), Delay(3600, 5, after=START), Delay(60, 2, after=0), Delay(5)]
        chains = Chains([[], script], Stream(3, "chain"))
        self.assertEqual([pair.way for pair in chains.pairs], [(0,), (0, 1), (2,), (0, 3), (0, 3, 4)])
        slots = np.arange(1_000, 2_000)
        moments = [chains.targets(slots, np.array(place)) for place in range(len(script))]
        befores = [slots, moments[0], slots, moments[0], moments[3]]
        for pair, moment, before in zip(chains.pairs, moments, befores, strict=True):
            self.assertTrue((moment > before).all())
            delays = moment - slots
            self.assertGreaterEqual(int(delays.min()), pair.shortest_seconds)
            self.assertLessEqual(int(delays.max()), pair.longest_seconds)
        for wrong in (1, 2, -2):
            with self.assertRaises(ValueError):
                Chains([[Delay(10), Delay(10, after=wrong)]], Stream(3, "chain"))

    def test_a_block_of_one_second_is_a_plain_shift(self) -> None:
        for seconds in (1, 7, WEEK_SECONDS):
            chains = Chains([[Delay(1, seconds)]], Stream(1, "chain"))
            slots = np.arange(-5, 100)
            np.testing.assert_array_equal(chains.targets(slots[:, np.newaxis], np.array([0]))[:, 0], slots + seconds)
            np.testing.assert_array_equal(chains.sources(slots, np.array([0]))[:, 0], slots - seconds)
            self.assertEqual(chains.longest_seconds, seconds)


class BijectionTests(unittest.TestCase):
    @QUICK
    @given(st.integers(0, 2**63 - 1), SCRIPTS, SLOTS)
    def test_backwards_undoes_forwards_and_the_other_way_round(
        self, seed: int, scripts: list[list[Delay]], some: list[int]
    ) -> None:
        chains = Chains(scripts, Stream(seed, "chain"))
        slots = np.array(some, dtype=np.int64)
        for place in range(len(chains.pairs)):
            here = np.array([place])
            ends = chains.targets(slots[:, np.newaxis], here)[:, 0]
            np.testing.assert_array_equal(chains.sources(ends, here)[:, 0], slots)
            begins = chains.sources(slots, here)[:, 0]
            np.testing.assert_array_equal(chains.targets(begins[:, np.newaxis], here)[:, 0], slots)

    @QUICK
    @given(st.integers(0, 2**63 - 1), SCRIPTS, SLOTS)
    def test_each_step_comes_strictly_after_the_one_before_it(
        self, seed: int, scripts: list[list[Delay]], some: list[int]
    ) -> None:
        chains = Chains(scripts, Stream(seed, "chain"))
        slots = np.array(some, dtype=np.int64)
        self.assertEqual(
            [(pair.lane, pair.step) for pair in chains.pairs],
            [(lane, step) for lane, script in enumerate(scripts) for step in range(len(script))],
        )
        for lane, script in enumerate(scripts):
            moments = [slots]
            moments += [
                chains.targets(slots[:, np.newaxis], np.array([column(chains, lane, s)]))[:, 0]
                for s in range(len(script))
            ]
            for step, delay in enumerate(script):
                waited = moments[step + 1] - moments[step]
                self.assertGreaterEqual(int(waited.min()), max(1, (delay.blocks - 1) * delay.block_seconds + 1))
                self.assertLessEqual(int(waited.max()), delay.longest_seconds)
            self.assertLessEqual(int((moments[-1] - slots).max()), chains.longest_seconds)

    @QUICK
    @given(st.integers(0, 2**63 - 1), SCRIPTS, SLOTS)
    def test_pairs_and_slots_can_be_asked_in_any_order(
        self, seed: int, scripts: list[list[Delay]], some: list[int]
    ) -> None:
        chains, slots = Chains(scripts, Stream(seed, "chain")), np.array(some, dtype=np.int64)
        every = np.arange(len(chains.pairs))
        whole = chains.sources(slots, every)
        self.assertEqual(whole.shape, (len(slots), len(every)))
        columns = every[::-2]
        np.testing.assert_array_equal(chains.sources(slots[::-1], columns), whole[::-1, columns])
        again = Chains(scripts, Stream(seed, "chain"))
        np.testing.assert_array_equal(again.sources(slots, every), whole)

    def test_a_block_is_filled_without_gap_or_overlap(self) -> None:
        """All slots of one block go to all slots of another: a bijection, seen whole."""
        for seconds in (1, 2, 48, 97, 3600, 86_400):
            chains = Chains([[Delay(seconds, 3)]], Stream(9, "chain"))
            block = YEAR_2026 // seconds
            ends = chains.targets(np.arange(block * seconds, (block + 1) * seconds)[:, np.newaxis], np.array([0]))[:, 0]
            first = (block + 3) * seconds
            np.testing.assert_array_equal(np.sort(ends), np.arange(first, first + seconds))

    def test_delays_spread_over_their_whole_range(self) -> None:
        """Between (blocks - 1) and (blocks + 1) blocks, most often about as many as it says."""
        chains = Chains([[Delay(1000, 2)]], Stream(9, "chain"))
        slots = np.arange(YEAR_2026, YEAR_2026 + 400_000)
        waited = chains.targets(slots[:, np.newaxis], np.array([0]))[:, 0] - slots
        self.assertLess(int(waited.min()), 1020)
        self.assertGreater(int(waited.max()), 2980)
        self.assertAlmostEqual(float(waited.mean()), 2000, delta=20)
        shares = np.histogram(waited, [1000, 1500, 2000, 2500, 3000])[0] / len(waited)
        for share, triangle in zip(shares, (1 / 8, 3 / 8, 3 / 8, 1 / 8), strict=True):
            self.assertAlmostEqual(float(share), triangle, delta=0.02)

    def test_lanes_of_one_script_are_moved_differently(self) -> None:
        chains = Chains([[Delay(3600)]] * 8, Stream(9, "chain"))
        ends = chains.targets(np.arange(YEAR_2026, YEAR_2026 + 3600)[:, np.newaxis], np.arange(8))
        for one in range(8):
            for other in range(one):
                self.assertLess(np.count_nonzero(ends[:, one] == ends[:, other]), 360)


class Letters:
    """A domain of its own: letters start in a slot, and after seconds to weeks they are sent, read and answered."""

    LANES = 8
    SCRIPTS: tuple[list[Delay], ...] = (
        [Delay(10), Delay(7)],
        [Delay(3600, 5)],
        [Delay(86_400, 3), Delay(1, 90), Delay(WEEK_SECONDS)],
        [Delay(1, 1)],
        [Delay(50_000), Delay(6), Delay(90_001, 2), Delay(7)],
        [],  # nothing ever follows
        [Delay(WEEK_SECONDS, 2)],
        [Delay(2), Delay(3)],
    )

    def __init__(self, seed: int, origin: int, mean: int) -> None:
        self.chains = Chains(self.SCRIPTS, Stream(seed, "chain"))
        self._dealer, self._count = Dealer(Stream(seed, "deal")), Stream(seed, "count")
        self._origin, self._mean = origin, mean

    def counts(self, slots: np.ndarray) -> np.ndarray:
        """From 0 to twice the mean, in every third slot."""
        counts = below(self._count.words(slots), 2 * self._mean + 1)
        return np.where((slots >= self._origin) & (slots % 3 == 0), counts, 0)

    def forward(self, first: int, end: int) -> Counter[tuple[int, int, int, int, int]]:
        """(slot, source, seq, lane, step) of all events in a window, from every source since the origin."""
        sources = np.arange(self._origin, end)
        sources = sources[self.counts(sources) > 0]
        counts, offsets = self.counts(sources), self._dealer.offsets(sources)
        groups, seqs = places_within(counts)
        lanes = (seqs + offsets[groups]) % self.LANES
        found: Counter[tuple[int, int, int, int, int]] = Counter()
        for place, pair in enumerate(self.chains.pairs):
            ends = self.chains.targets(sources[:, np.newaxis], np.array([place]))[:, 0]
            mine = np.flatnonzero((lanes == pair.lane) & (ends[groups] >= first) & (ends[groups] < end))
            for thing in mine.tolist():
                group = groups[thing]
                found[int(ends[group]), int(sources[group]), int(seqs[thing]), pair.lane, pair.step] += 1
        return found

    def backward(self, first: int, end: int, slice: Slice) -> Iterator[tuple[int, int, int, int, int]]:
        """The same for one slice, from nothing but the window: by whole lanes where the count divides them."""
        whole_lanes = self.LANES % slice.count == 0
        columns = np.arange(len(self.chains.pairs))
        if whole_lanes:
            columns = columns[self.chains.lanes % slice.count == slice.index]
        slots = np.arange(first, end)
        sources = self.chains.sources(slots, columns)
        offsets = self._dealer.offsets(sources)
        firsts = first_dealt(offsets, self.chains.lanes[columns], self.LANES)
        dealt = count_dealt(self.counts(sources), firsts, self.LANES)
        for row, place in np.argwhere(dealt).tolist():
            pair, source = self.chains.pairs[columns[place]], int(sources[row, place])
            for nth in range(dealt[row, place]):
                seq = int(firsts[row, place]) + self.LANES * nth
                if whole_lanes or (seq + int(offsets[row, place])) % slice.count == slice.index:
                    yield first + row, source, seq, pair.lane, pair.step


def cut(first: int, end: int, seconds: int) -> Iterator[tuple[int, int]]:
    for begin in range(first, end, seconds):
        yield begin, min(begin + seconds, end)


class MechanismTests(unittest.TestCase):
    SHARD_COUNTS = (1, 2, 3, 4, 5, 8)

    def test_every_event_since_the_origin_is_found_backwards_once(self) -> None:
        """From the origin on, where scripts begin one after the other."""
        letters = Letters(seed=1, origin=YEAR_2026, mean=3)
        first, end = YEAR_2026, YEAR_2026 + 20_000
        forward = letters.forward(first, end)
        self.assertGreater(len(forward), 10_000)
        for count in self.SHARD_COUNTS:
            backward = Counter(
                event
                for index in range(count)
                for begin, until in cut(first, end, 7_000)
                for event in letters.backward(begin, until, Slice(index, count))
            )
            self.assertEqual(backward, forward, f"{count} shards")

    def test_events_weeks_after_their_cause_are_found_backwards_once(self) -> None:
        letters = Letters(seed=2, origin=YEAR_2026, mean=1)
        first = YEAR_2026 + 4 * WEEK_SECONDS
        end = first + 2000
        forward = letters.forward(first, end)
        self.assertEqual({(lane, step) for *_, lane, step in forward}, {(p.lane, p.step) for p in letters.chains.pairs})
        self.assertTrue(any(slot - source > 2 * WEEK_SECONDS for slot, source, *_ in forward))
        for count in self.SHARD_COUNTS:
            backward = Counter(
                event for index in range(count) for event in letters.backward(first, end, Slice(index, count))
            )
            self.assertEqual(backward, forward, f"{count} shards")

    def test_one_second_windows_give_what_sharded_windows_of_seven_give(self) -> None:
        letters = Letters(seed=3, origin=YEAR_2026, mean=2)
        first = YEAR_2026 + 3 * WEEK_SECONDS
        end = first + 300
        seconds = Counter(
            event for begin, until in cut(first, end, 1) for event in letters.backward(begin, until, Slice())
        )
        self.assertEqual(seconds, letters.forward(first, end))
        for count in (3, 4):
            sharded = Counter(
                event
                for index in reversed(range(count))
                for begin, until in reversed(list(cut(first, end, 7)))
                for event in letters.backward(begin, until, Slice(index, count))
            )
            self.assertEqual(sharded, seconds, f"{count} shards")

    def test_nothing_follows_from_before_the_origin(self) -> None:
        letters = Letters(seed=4, origin=YEAR_2026, mean=3)
        self.assertEqual(list(letters.backward(YEAR_2026 - 500, YEAR_2026 + 1, Slice())), [])
        self.assertTrue(
            all(source >= YEAR_2026 for _, source, *_ in letters.backward(YEAR_2026, YEAR_2026 + 50, Slice()))
        )


if __name__ == "__main__":
    unittest.main()
