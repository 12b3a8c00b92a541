"""Stories keep cause before effect, and their attributes do not hang together."""

from __future__ import annotations

import unittest
from collections import Counter
from itertools import combinations

import numpy as np

from emitter.generators.kit.chains import START, Delay
from emitter.generators.shop import stories as module
from emitter.generators.shop.stories import (
    ANYWHERE,
    LANE_STORIES,
    LANES,
    NEXT_DAY,
    ORDER,
    ORDERS,
    PAYMENTS,
    RETURNS,
    SCRIPTS,
    SHIPMENTS,
    Step,
)
from emitter.model import Slice, Window
from tests.unit.generators.shop.lives import DAY, ORIGIN, orders_of, stories_at

ATTRIBUTES = ("fate", "parcels", "late_days", "request_days", "receive_days", "refund_days", "checkout", "handed_over")
# Of one parcel (or none): what must have happened before.
BEFORE = (
    ((SHIPMENTS, "created"), (PAYMENTS, "authorised")),
    ((SHIPMENTS, "handed_over"), (SHIPMENTS, "created")),
    ((SHIPMENTS, "in_transit"), (SHIPMENTS, "handed_over")),
    ((SHIPMENTS, "delivered"), (SHIPMENTS, "in_transit")),
    ((SHIPMENTS, "lost"), (SHIPMENTS, "in_transit")),
    ((PAYMENTS, "voided"), (PAYMENTS, "authorised")),
    ((RETURNS, "requested"), (SHIPMENTS, "delivered")),
    ((RETURNS, "received"), (RETURNS, "requested")),
    ((PAYMENTS, "refunded"), (RETURNS, "received")),
    ((PAYMENTS, "refunded"), (SHIPMENTS, "lost")),
    ((PAYMENTS, "refunded"), (PAYMENTS, "captured")),
    ((PAYMENTS, "charged_back"), (SHIPMENTS, "delivered")),
)


def bounds(script: tuple[Step, ...], place: int) -> tuple[int, int]:
    """The earliest and the latest second of a step, after the order."""
    if place == ORDER:
        return 0, 0
    delay = script[place].delay
    assert delay.after is not None and delay.after != START
    earliest, latest = bounds(script, delay.after)
    return earliest + delay.shortest_seconds, latest + delay.longest_seconds


class ScriptsTest(unittest.TestCase):
    def test_what_follows_comes_later_whatever_the_delays(self) -> None:
        edges = 0
        for lane, script in enumerate(SCRIPTS):
            for place, step in enumerate(script):
                causes = [cause for effect, cause in BEFORE if effect == (step.table, step.status)]
                for before, other in enumerate(script):
                    same_parcel = step.table != SHIPMENTS or other.table != SHIPMENTS or step.number == other.number
                    same_zone = ANYWHERE in (step.zone, other.zone) or step.zone == other.zone
                    if (other.table, other.status) in causes and same_parcel and same_zone:
                        edges += 1
                        with self.subTest(lane=lane, cause=other, effect=step):
                            self.assertLess(bounds(script, before)[1], bounds(script, place)[0])
        self.assertGreater(edges, 3000)

    def test_a_capture_follows_the_first_hand_over_within_a_minute(self) -> None:
        for script in SCRIPTS:
            for step in script:
                if step.status == "captured":
                    assert step.delay.after is not None
                    cause = script[step.delay.after]
                    self.assertEqual((cause.status, cause.number), ("handed_over", 1))
                    self.assertLess(step.delay.longest_seconds, 60)

    def test_a_delivery_has_a_candidate_a_day_later(self) -> None:
        for script in SCRIPTS:
            for step in script:
                if step.candidate == NEXT_DAY:
                    self.assertEqual(step.delay.shortest_seconds, step.delay.longest_seconds)
                    self.assertEqual(step.delay.shortest_seconds, DAY)

    def test_numbers_of_payments_are_one_to_fifteen_and_each_one_payment(self) -> None:
        for script in SCRIPTS:
            payments = {(step.number, step.status) for step in script if step.table == PAYMENTS}
            self.assertEqual(sorted(number for number, _ in payments), list(range(1, len(payments) + 1)))
            self.assertLessEqual(len(payments), 15)

    def test_any_two_attributes_are_all_but_independent(self) -> None:
        for one, other in combinations(ATTRIBUTES, 2):
            pairs = Counter((getattr(lane, one), getattr(lane, other)) for lane in LANE_STORIES)
            ones, others = (Counter(getattr(lane, name) for lane in LANE_STORIES) for name in (one, other))
            for a in ones:
                for b in others:
                    expected = ones[a] * others[b] / LANES
                    # The lost one is of two parcels in any case.
                    self.assertLess(abs(pairs[a, b] - expected), 3, msg=f"{one} {a}, {other} {b}")

    def test_shares_of_shards_differ_little(self) -> None:
        for count in (2, 4):
            returning = [sum(lane.returns for lane in LANE_STORIES[index::count]) for index in range(count)]
            self.assertLessEqual(max(returning) - min(returning), 4)

    def test_values_that_are_no_whole_deal_are_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "128 lanes need a value each, not 127"):
            module._dealt((("a", 100), ("b", 27)), 3)

    def test_delays_are_bijections_of_an_earlier_step(self) -> None:
        self.assertTrue(all(isinstance(step.delay, Delay) for script in SCRIPTS for step in script))
        self.assertTrue(all(script[ORDER].table == ORDERS for script in SCRIPTS))


class StoriesTest(unittest.TestCase):
    def test_orders_come_at_their_full_rate_from_the_origin_on_and_none_before(self) -> None:
        stories = stories_at(2.0)
        self.assertEqual(len(orders_of(stories, Window(ORIGIN - 2000, ORIGIN))), 0)
        for first in (ORIGIN, ORIGIN + 600, ORIGIN + 10_000):
            self.assertLess(abs(len(orders_of(stories, Window(first, first + 600))) - 1200), 5 * 1200**0.5)

    def test_nothing_follows_an_order_that_does_not_exist(self) -> None:
        stories = stories_at(1.0)
        window = Window(ORIGIN - 2000, ORIGIN + 3000)
        placed = set(orders_of(stories, window)["order_id"].to_list())
        due = stories.due(window, Slice(), stories.choose(PAYMENTS))
        self.assertGreater(len(due.ids), 1000)
        self.assertLessEqual(set(due.ids.tolist()), placed)
        self.assertTrue((due.slots > ORIGIN).all())

    def test_an_order_is_placed_when_its_row_says(self) -> None:
        stories = stories_at(0.5)
        orders = orders_of(stories, Window(ORIGIN, ORIGIN + 2000))
        np.testing.assert_array_equal(stories.placed(orders["order_id"].to_numpy()), orders["placed_slot"].to_numpy())
