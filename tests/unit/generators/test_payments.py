from __future__ import annotations

import unittest
from functools import partial
from unittest import mock

import numpy as np

from emitter import create_generator
from emitter.generators.ecommerce import payments as module
from emitter.generators.ecommerce.generator import EcommerceGenerator
from emitter.generators.ecommerce.payments import AmountBook
from emitter.model import Slice, Window
from emitter.randomness import Integers


def shop(rate: float) -> EcommerceGenerator:
    made = create_generator(
        "ecommerce", start="2026-03-02T12:00:00Z", orders_per_second=rate, customers=50, products=20
    )
    assert isinstance(made, EcommerceGenerator)
    return made


def in_order(steps: tuple[Integers, Integers, Integers]) -> list[tuple[int, int, int]]:
    return sorted(zip(*(column.tolist() for column in steps), strict=True))


class DueStepsTest(unittest.TestCase):
    def test_following_orders_finds_the_steps_that_looking_back_finds(self):
        for rate in (0.05, 3.0):
            for slice in (Slice(), Slice(1, 4), Slice(2, 3), Slice(4, 5)):
                payments = shop(rate)._payments
                origin = shop(rate).origin_slot
                # From before the origin, across it, and away from it; windows shorter and longer than any delay.
                for window in (
                    Window(origin - 50, origin + 40),
                    Window(origin, origin + 700),
                    Window(origin + 5000, origin + 5007),
                ):
                    with self.subTest(rate=rate, slice=slice, window=window):
                        reach = Window(window.first - payments.longest_seconds, window.end)
                        forwards = payments._due_forwards(window, reach, slice)
                        backwards = payments._due_backwards(window, slice)
                        self.assertEqual(in_order(forwards), in_order(backwards))
                        for _, _, slots in (forwards, backwards):
                            self.assertTrue((np.diff(slots) >= 0).all())

    def test_both_ways_are_taken(self):
        for rate, wanted in ((0.5, "_due_forwards"), (200.0, "_due_backwards")):
            generator, taken = shop(rate), set[str]()
            payments, origin = generator._payments, generator.origin_slot
            for name in ("_due_forwards", "_due_backwards"):
                way = getattr(payments, name)
                note = partial(taken.add, name)
                setattr(payments, name, lambda *given, way=way, note=note: note() or way(*given))
            list(generator.rows(Window(origin, origin + 600), Slice(), ("payments",)))
            self.assertEqual(taken, {wanted})


class AmountBookTest(unittest.TestCase):
    def test_amounts_are_the_same_with_and_without_the_memo(self):
        generator = shop(20.0)
        orders, origin = generator._orders, generator.origin_slot
        for slice in (Slice(), Slice(1, 3)):
            book = AmountBook(orders)
            # One after the other, after a gap, back again; never more kept than 100 seconds.
            for first, end in ((0, 60), (60, 61), (61, 300), (400, 410), (410, 500), (10, 20), (20, 40)):
                dealt = orders.dealt(origin + first, origin + end, slice)
                book.add(dealt, orders.items(dealt.ids).order_cents, 100)
                ids = orders.dealt(origin + max(0, first - 150), origin + end, slice).ids[::-3]
                np.testing.assert_array_equal(book.of(ids, slice), orders.items(ids).order_cents)
            self.assertEqual((book._first, book._end), (origin + 10, origin + 40))

    def test_the_memo_is_bounded(self):
        generator = shop(20.0)
        orders, origin = generator._orders, generator.origin_slot
        book = AmountBook(orders)
        with mock.patch.object(module, "_BOOK_ORDERS_MAX", 2000):
            for first in range(0, 3000, 50):
                dealt = orders.dealt(origin + first, origin + first + 50, Slice())
                book.add(dealt, orders.items(dealt.ids).order_cents, 1000)
                self.assertLess(book._starts[-1], 2000 + 2 * len(dealt.ids))
                np.testing.assert_array_equal(book.of(dealt.ids, Slice()), orders.items(dealt.ids).order_cents)

    def test_an_order_of_another_slice_is_not_looked_up(self):
        generator = shop(20.0)
        orders, origin = generator._orders, generator.origin_slot
        book, mine, other = AmountBook(orders), Slice(0, 2), Slice(1, 2)
        dealt = orders.dealt(origin, origin + 50, mine)
        book.add(dealt, orders.items(dealt.ids).order_cents, 100)
        ids = orders.dealt(origin, origin + 50, other).ids
        np.testing.assert_array_equal(book.of(ids, other), orders.items(ids).order_cents)


if __name__ == "__main__":
    unittest.main()
