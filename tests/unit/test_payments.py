from __future__ import annotations

import unittest
from functools import partial

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
            for first in (0, 30, 40, 400, 10):  # growing, overlapping, jumping ahead, going back
                window = Window(origin + first, origin + first + 60)
                ids = orders.dealt(window.first, window.end, slice).ids[::-3]
                expected = orders.items(ids).order_cents
                np.testing.assert_array_equal(book.of(ids, window, slice), expected)
                limit, module._BOOK_ORDERS_MAX = module._BOOK_ORDERS_MAX, 10
                try:  # too many to hold
                    np.testing.assert_array_equal(AmountBook(orders).of(ids, window, slice), expected)
                finally:
                    module._BOOK_ORDERS_MAX = limit


if __name__ == "__main__":
    unittest.main()
