"""The steps of a window, found backwards or forwards, are those of a run from every thing since the origin."""

from __future__ import annotations

import unittest
from unittest import mock

import numpy as np

from emitter.generators.kit import followers as module
from emitter.generators.kit.chains import START, Delay
from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer
from emitter.generators.kit.followers import Followers, Steps
from emitter.generators.kit.rates import FlatCurve
from emitter.generators.kit.things import Things
from emitter.model import Slice, Window
from emitter.randomness import Stream

ORIGIN = 189_412_200  # 2026-01-01T06:30:00Z
SCRIPTS: tuple[list[Delay], ...] = (
    [Delay(10), Delay(7)],
    [Delay(3600, 5)],
    [Delay(86_400), Delay(1, 90)],
    [Delay(1, 1)],
    [],  # nothing ever follows
    [Delay(500), Delay(6), Delay(901, 2), Delay(7)],
    [Delay(2), Delay(3)],
    [Delay(5), Delay(40, 3, after=START), Delay(9, after=0), Delay(60, 4, after=1)],
)
SLICES = (Slice(), Slice(1, 4), Slice(4, 8), Slice(2, 3), Slice(4, 5))


def things_at(rate: float) -> Things:
    return Things(Counts(ORIGIN, [(ORIGIN, FlatCurve(rate))], Stream(1, "count")), Dealer(Stream(1, "deal")))


def followers_at(rate: float) -> Followers:
    return Followers(things_at(rate), SCRIPTS, Stream(1, "chain"))


def rows(steps: Steps) -> list[tuple[int, int, int]]:
    return sorted(zip(steps.slots.tolist(), steps.ids.tolist(), steps.pairs.tolist(), strict=True))


def followed(rate: float, window: Window) -> list[tuple[int, int, int]]:
    """Every step of every thing since the origin, one by one."""
    things, chains = things_at(rate), followers_at(rate).chains
    found = []
    for slot in range(ORIGIN, window.end):
        count, offset = (int(of(np.array([slot]))[0]) for of in (things.counts, things.offsets))
        for seq in range(count):
            lane = (seq + offset) % len(SCRIPTS)
            for place, pair in enumerate(chains.pairs):
                if pair.lane == lane:
                    at = int(chains.targets(np.array([slot]), np.array([place]))[0])
                    if window.first <= at < window.end:
                        found.append((at, (slot << 22) | (seq << 4), place))
    return sorted(found)


class FollowersTest(unittest.TestCase):
    def test_what_is_due_is_what_follows_from_every_thing(self) -> None:
        for window in (Window(ORIGIN, ORIGIN + 500), Window(ORIGIN + 1500, ORIGIN + 1700)):
            expected = followed(0.7, window)
            self.assertGreater(len(expected), 50)
            self.assertEqual(rows(followers_at(0.7).due(window, Slice())), expected)

    def test_following_things_finds_the_steps_that_looking_back_finds(self) -> None:
        for rate in (0.05, 3.0):
            followers = followers_at(rate)
            # From before the origin, across it, and away from it; windows shorter and longer than most delays.
            for window in (
                Window(ORIGIN - 50, ORIGIN + 40),
                Window(ORIGIN, ORIGIN + 700),
                Window(ORIGIN + 200_000, ORIGIN + 200_007),
            ):
                for slice in SLICES:
                    forwards = followers._due_forwards(window, slice, followers.all)
                    backwards = followers._due_backwards(window, slice, followers.all)
                    with self.subTest(rate=rate, slice=slice, window=window):
                        self.assertEqual(rows(forwards), rows(backwards))
                        for steps in (forwards, backwards):
                            self.assertTrue((np.diff(steps.slots) >= 0).all())

    def test_a_choice_is_a_part_of_all(self) -> None:
        for cost in (0, 10**9):
            with mock.patch.object(module, "_FOLLOWING_COST", cost):
                followers = followers_at(2.0)
                some = np.array([9, 3, 5, 1])
                for window in (Window(ORIGIN + 90_000, ORIGIN + 90_060), Window(ORIGIN + 5, ORIGIN + 9_000)):
                    for slice in SLICES:
                        of_all = followers.due(window, slice)
                        chosen = followers.due(window, slice, followers.choose(some))
                        self.assertEqual(rows(chosen), [row for row in rows(of_all) if row[2] in some])

    def test_what_is_kept_of_the_slots_changes_nothing(self) -> None:
        kept, fresh = followers_at(2.0), followers_at(2.0)
        windows = ((90_000, 110_000), (110_000, 110_700), (110_700, 110_701), (112_000, 113_900), (5, 900))
        for first, end in windows:
            window = Window(ORIGIN + first, ORIGIN + end)
            with mock.patch.object(fresh._things, "expect"):
                expected = rows(fresh.due(window, Slice()))
            self.assertEqual(rows(kept.due(window, Slice())), expected)
        self.assertGreater(len(kept._things._known._counts), 1)
        self.assertEqual(len(fresh._things._known._counts), 0)

    def test_the_shorter_way_is_taken(self) -> None:
        for rate, seconds, wanted in (
            (0.0001, 100_000, "_due_forwards"),
            (0.0001, 600, "_due_backwards"),  # there are more slots in reach than lanes and steps to look up
            (200.0, 600, "_due_backwards"),
        ):
            followers = followers_at(rate)
            with mock.patch.object(followers, wanted, wraps=getattr(followers, wanted)) as way:
                followers.due(Window(ORIGIN, ORIGIN + seconds), Slice())
            way.assert_called_once()

    def test_shards_share_the_steps_and_windows_can_be_cut(self) -> None:
        window = Window(ORIGIN + 90_000, ORIGIN + 90_300)
        for cost in (0, 10**9):
            with mock.patch.object(module, "_FOLLOWING_COST", cost):
                followers = followers_at(0.5)
                whole = rows(followers.due(window, Slice()))
                self.assertEqual({pair for *_, pair in whole}, set(range(len(followers.chains.pairs))))
                for count in (3, 4, 8):
                    parts = [
                        step
                        for begin in reversed(range(window.first, window.end, 70))
                        for index in range(count)
                        for step in rows(followers.due(Window(begin, min(begin + 70, window.end)), Slice(index, count)))
                    ]
                    self.assertEqual(sorted(parts), whole)


if __name__ == "__main__":
    unittest.main()
