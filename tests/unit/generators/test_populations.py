"""Customers and products: numbered as they arrive, priced by the moment, and bought from by a heavy-tailed law."""

from __future__ import annotations

import unittest
from decimal import Decimal
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter import randomness
from emitter.clock import EPOCH_UNIX_SECONDS, parse_time, slot_of
from emitter.errors import ConfigurationError
from emitter.generators.ecommerce.catalogue import Catalogue
from emitter.generators.ecommerce.growth import DAY_SECONDS, YEAR_SECONDS, Growth, Population, Shuffle
from emitter.generators.ecommerce.options import GROWTH_YEARS, POPULATION_MAX, EcommerceOptions
from emitter.generators.ecommerce.people import People
from emitter.model import Slice, Window
from emitter.randomness import Stream
from emitter.run.factory import create_generator
from emitter.settings.declaring import validate_options

START = "2026-01-01T06:30:00Z"  # days since the origin are not those of the calendar
ORIGIN = slot_of(parse_time(START))
QUICK = settings(max_examples=30, deadline=None, derandomize=True)


def population(opening: int = 5000, share: float = 1.0, seed: int = 1) -> Population:
    return Population(ORIGIN, opening, share, Stream(seed, "arrival"))


class GrowthTests(unittest.TestCase):
    def test_it_is_exact_at_the_years_and_straight_between(self) -> None:
        growth = Growth(ORIGIN, 0.2)
        for year in range(GROWTH_YEARS + 1):
            exact = int(Decimal("1.2") ** year * 1_000_000)
            self.assertEqual(growth.millionths(ORIGIN + year * YEAR_SECONDS), exact)
        self.assertEqual(growth.millionths(ORIGIN + YEAR_SECONDS // 2), 1_100_000)
        self.assertEqual(growth.millionths(ORIGIN - 5), 1_000_000)
        self.assertEqual(growth.millionths(ORIGIN + 15 * YEAR_SECONDS), growth.millionths(ORIGIN + 10 * YEAR_SECONDS))


class PopulationTests(unittest.TestCase):
    def test_sizes_count_the_arrivals_before_the_slot(self) -> None:
        """Every arrival of a week, one by one: it counts from the next slot on."""
        people = population()
        first, end = ORIGIN, ORIGIN + 7 * DAY_SECONDS
        numbers, slots = people.arrivals(Window(first, end))
        self.assertGreater(len(numbers), 80)
        np.testing.assert_array_equal(numbers, np.arange(people.opening, people.opening + len(numbers)))
        self.assertTrue((np.diff(slots) >= 0).all())
        asked = np.unique(np.concatenate([slots - 1, slots, slots + 1, np.arange(first, end, 7919)]))
        asked = asked[(asked >= first) & (asked < end)]
        counted = np.array([people.opening + np.count_nonzero(slots < slot) for slot in asked])
        np.testing.assert_array_equal(people.sizes_at(asked), counted)

    def test_windows_of_one_second_hold_the_arrivals_of_that_second(self) -> None:
        people = population(opening=10**6)
        numbers, slots = people.arrivals(Window(ORIGIN, ORIGIN + 2 * DAY_SECONDS))
        for slot in (*slots[:20].tolist(), *slots[-20:].tolist(), ORIGIN + DAY_SECONDS):
            found, seconds = people.arrivals(Window(slot, slot + 1))
            np.testing.assert_array_equal(found, numbers[slots == slot])
            self.assertTrue((seconds == slot).all())

    def test_sizes_are_the_curve_at_the_edges_of_days(self) -> None:
        people, growth = population(), Growth(ORIGIN, 1.0)
        for day in (0, 1, 2, 100, 364, 365, 366, 1000, 3649, 3650, 3651, 5000):
            edge = ORIGIN + day * DAY_SECONDS
            exact = 5000 * growth.millionths(edge) // 1_000_000
            self.assertEqual(int(people.sizes_at(np.array([edge]))[0]), exact)
            before, after = Window(edge - 1, edge), Window(edge, edge + 1)
            arrived = len(people.arrivals(before)[0]) if day else 0
            self.assertEqual(int(people.sizes_at(np.array([max(ORIGIN, before.first)]))[0]), exact - arrived)
            numbers, _ = people.arrivals(after)
            self.assertTrue((numbers == exact + np.arange(len(numbers))).all())

    def test_arrivals_end_after_ten_years(self) -> None:
        people = population()
        last = ORIGIN + GROWTH_YEARS * YEAR_SECONDS
        self.assertGreater(len(people.arrivals(Window(last - DAY_SECONDS, last))[0]), 0)
        self.assertEqual(len(people.arrivals(Window(last, last + 30 * DAY_SECONDS))[0]), 0)
        sizes = people.sizes_at(np.array([last, last + YEAR_SECONDS]))
        self.assertEqual(sizes.tolist(), [5000 * 1024] * 2)
        self.assertEqual(people.expected_arrivals(Window(last, last + YEAR_SECONDS)), 0.0)

    def test_without_growth_nobody_arrives(self) -> None:
        people = population(share=0.0)
        self.assertEqual(len(people.arrivals(Window(ORIGIN, ORIGIN + YEAR_SECONDS))[0]), 0)
        self.assertEqual(people.sizes_at(np.array([ORIGIN, ORIGIN + YEAR_SECONDS])).tolist(), [5000, 5000])

    def test_nobody_arrives_before_the_origin(self) -> None:
        people = population(opening=10**6)
        numbers, slots = people.arrivals(Window(ORIGIN - DAY_SECONDS, ORIGIN + 600))
        self.assertGreaterEqual(int(slots.min()), ORIGIN)
        self.assertEqual(int(numbers[0]), 10**6)
        self.assertEqual(len(people.arrivals(Window(ORIGIN - DAY_SECONDS, ORIGIN))[0]), 0)
        self.assertEqual(people.sizes_at(np.array([ORIGIN - 1, ORIGIN])).tolist(), [10**6] * 2)

    def test_expected_arrivals_are_those_of_whole_days(self) -> None:
        people = population(opening=100_000)
        for first, days in ((0, 1), (3, 30), (400, 365)):
            window = Window(ORIGIN + first * DAY_SECONDS, ORIGIN + (first + days) * DAY_SECONDS)
            self.assertAlmostEqual(len(people.arrivals(window)[0]), people.expected_arrivals(window), delta=1)

    def test_more_arrive_by_day_than_by_night(self) -> None:
        _, slots = population(opening=10**6).arrivals(Window(ORIGIN, ORIGIN + 30 * DAY_SECONDS))
        hours = np.bincount(slots % DAY_SECONDS // 3600, minlength=24)
        self.assertGreater(int(hours[20]), 5 * int(hours[4]))
        self.assertGreater(int(hours.min()), 0)

    @QUICK
    @given(st.lists(st.integers(-1000, 5 * DAY_SECONDS), min_size=2, max_size=8))
    def test_however_a_period_is_cut_the_same_arrive(self, cuts: list[int]) -> None:
        edges = sorted(ORIGIN + cut for cut in cuts)
        used = population(opening=200_000)
        windows = [Window(first, end) for first, end in pairwise(edges)]
        parts = {window: used.arrivals(window) for window in reversed(windows)}
        numbers, slots = population(opening=200_000).arrivals(Window(edges[0], edges[-1]))
        np.testing.assert_array_equal(np.concatenate([parts[window][0] for window in windows]), numbers)
        np.testing.assert_array_equal(np.concatenate([parts[window][1] for window in windows]), slots)
        asked = np.array(cuts) + ORIGIN
        np.testing.assert_array_equal(
            used.sizes_at(asked), [population(opening=200_000).sizes_at(np.array([slot]))[0] for slot in asked]
        )

    @QUICK
    @given(st.lists(st.integers(0, 3 * DAY_SECONDS), min_size=1, max_size=20))
    def test_sizes_of_slots_close_together_are_the_same_sizes(self, offsets: list[int]) -> None:
        people, slots = population(), np.array(offsets) + ORIGIN
        np.testing.assert_array_equal(np.broadcast_to(people.sizes_within(slots), slots.shape), people.sizes_at(slots))


class ShuffleTests(unittest.TestCase):
    def test_it_is_a_bijection_of_the_opening_stock_and_leaves_the_rest(self) -> None:
        for size in (1, 2, 3, 6, 5000, 2**18, 2**18 + 1, 300_007):
            shuffle = Shuffle(size, Stream(1, "shuffle"))
            numbers = shuffle(np.arange(size + 10))
            np.testing.assert_array_equal(np.sort(numbers[:size]), np.arange(size))
            np.testing.assert_array_equal(numbers[size:], np.arange(size, size + 10))
            np.testing.assert_array_equal(shuffle(np.arange(size)), numbers[:size])

    def test_the_largest_stock_stays_within_its_numbers(self) -> None:
        size = 10**9
        numbers = Shuffle(size, Stream(1, "shuffle"))(np.arange(size - 1000, size))
        self.assertTrue(((numbers >= 0) & (numbers < size)).all())
        self.assertEqual(len(np.unique(numbers)), 1000)


class LimitTests(unittest.TestCase):
    def test_populations_that_would_outgrow_the_draws_are_refused(self) -> None:
        self.assertEqual(POPULATION_MAX, randomness.POPULATION_MAX)
        for name, growth in (("customers", 0.2), ("customers", 0.0), ("products", 1.0)):
            singular = name.removesuffix("s")
            most = min(int((POPULATION_MAX - 1) / (1 + growth) ** GROWTH_YEARS), 10**9)
            asked = {"orders_per_second": 1.0, f"{singular}_growth_per_year": growth}
            with self.subTest(name=name, growth=growth):
                right = validate_options(EcommerceOptions, {**asked, name: most}, "shop")
                self.assertEqual(getattr(right, name), most)
                if most < 10**9:
                    with self.assertRaisesRegex(ConfigurationError, f"{name}.*at most {most}"):
                        validate_options(EcommerceOptions, {**asked, name: most + 1}, "shop")


class PeopleTests(unittest.TestCase):
    def test_few_customers_buy_most_and_new_ones_buy_too(self) -> None:
        people = People(1, ORIGIN, EcommerceOptions(customers=10_000, customer_skew=1.0))
        words = Stream(9, "words").words(np.arange(400_000))
        picked = people.pick(words, 12_000)
        self.assertTrue(((picked >= 0) & (picked < 12_000)).all())
        sales = np.sort(np.bincount(picked, minlength=12_000))[::-1]
        # By the law the first of a hundred have log(121) / log(10001) of the sales, but for the newest's sixteenth.
        self.assertAlmostEqual(sales[:120].sum() / len(words), 0.51 * 15 / 16, delta=0.03)
        newest = np.count_nonzero(picked >= 12_000 - 12_000 // 50 - 1)
        self.assertGreater(newest / len(words), 1 / 16 - 0.005)

    def test_even_a_single_customer_can_buy(self) -> None:
        people = People(1, ORIGIN, EcommerceOptions(customers=1))
        words = Stream(9, "words").words(np.arange(1000))
        self.assertEqual(set(people.pick(words, 1).tolist()), {0})
        self.assertEqual(set(people.pick(words, np.full(1000, 2)).tolist()), {0, 1})


class CatalogueTests(unittest.TestCase):
    OPTIONS = EcommerceOptions(products=500, product_growth_per_year=1.0, price_period_days=2)

    def test_a_price_is_that_of_the_last_row_before_it(self) -> None:
        """Asked at and around every row, the price is what the product's rows say, as of the slot's start."""
        catalogue = Catalogue(1, ORIGIN, self.OPTIONS)
        products, slots, micros = map(
            np.concatenate, zip(*catalogue.rows(Window(ORIGIN, ORIGIN + 5 * DAY_SECONDS), Slice()), strict=True)
        )
        rows = pl.DataFrame(catalogue.batch(products, slots, micros))
        self.assertGreater(len(rows), 500 + 2 * 500)
        asked_slots = np.concatenate([slots, slots + 1, slots + 2, slots + 40_000])
        asked_products = np.tile(products, 4)
        inside = asked_slots < ORIGIN + 5 * DAY_SECONDS
        asked = pl.DataFrame(
            {
                "product_id": asked_products[inside],
                "at": pl.Series((asked_slots[inside] + EPOCH_UNIX_SECONDS) * 1_000_000).cast(pl.Datetime("us", "UTC")),
                "made": Catalogue(1, ORIGIN, self.OPTIONS).prices_cents(asked_products[inside], asked_slots[inside]),
            }
        ).sort("at")
        joined = asked.join_asof(
            rows.sort("valid_from"), left_on="at", right_on="valid_from", by="product_id", check_sortedness=False
        )
        listed = joined.drop_nulls("price")  # at the slot in which it is listed, a product has no price yet
        self.assertLess(len(joined) - len(listed), 20)
        self.assertTrue((listed["made"] == listed["price"]).all())

    def test_each_product_changes_its_price_once_a_period_at_its_own_time(self) -> None:
        catalogue = Catalogue(1, ORIGIN, self.OPTIONS)
        opening = catalogue.population.opening
        for period in range(3):
            first = ORIGIN + period * 2 * DAY_SECONDS
            products, slots, micros = map(
                np.concatenate, zip(*catalogue.rows(Window(first, first + 2 * DAY_SECONDS), Slice()), strict=True)
            )
            changes = (micros == 999_999) & (products < opening)
            np.testing.assert_array_equal(np.sort(products[changes]), np.arange(opening))
            self.assertGreater(len(np.unique(slots[changes])), opening * 0.95)
        prices = np.stack(
            [
                catalogue.prices_cents(np.arange(opening), np.full(opening, ORIGIN + period * 2 * DAY_SECONDS))
                for period in range(20)
            ]
        )
        self.assertGreater(np.count_nonzero(np.diff(prices, axis=0)), 0.9 * 19 * opening)
        # A price stays near that of the opening, however often it moves.
        self.assertLess(float((prices.max(axis=0) / prices.min(axis=0)).max()), 1.5)

    def test_prices_look_like_prices(self) -> None:
        catalogue = Catalogue(1, ORIGIN, EcommerceOptions(products=20_000))
        prices = catalogue.prices_cents(np.arange(20_000), np.full(20_000, ORIGIN))
        self.assertTrue((prices % 10 == 9).all())
        self.assertGreaterEqual(int(prices.min()), 19)
        self.assertLess(int(prices.max()), 200_000)
        self.assertGreater(float(np.quantile(prices, 0.9) / np.quantile(prices, 0.1)), 10)

    def test_prices_do_not_depend_on_what_was_asked_before(self) -> None:
        used, slot = Catalogue(1, ORIGIN, self.OPTIONS), ORIGIN + 77_777
        numbers = np.array([3, 499, 700, 2500, 0, 10**6])
        for number in numbers[::-1]:
            used.prices_cents(np.array([number]), np.array([slot]))
        together = used.prices_cents(numbers, np.full(len(numbers), slot))
        fresh = [
            int(Catalogue(1, ORIGIN, self.OPTIONS).prices_cents(np.array([number]), np.array([slot]))[0])
            for number in numbers
        ]
        self.assertEqual(together.tolist(), fresh)

    def test_few_products_make_most_of_the_sales(self) -> None:
        catalogue = Catalogue(1, ORIGIN, EcommerceOptions(products=5000, product_skew=1.0))
        picked = catalogue.pick(Stream(9, "words").words(np.arange(400_000)), 5000)
        sales = np.sort(np.bincount(picked, minlength=5000))[::-1]
        # log(51) / log(5001) for the first of a hundred.
        self.assertAlmostEqual(sales[:50].sum() / 400_000, 0.4616, delta=0.01)
        self.assertGreater(np.count_nonzero(sales), 4900)


class ArrivalTests(unittest.TestCase):
    """Among two customers or products, a third: orders know nothing of it until the second after it came."""

    def test_who_arrives_in_a_second_takes_part_from_the_next_one_on(self) -> None:
        shop = create_generator(
            "ecommerce",
            start=START,
            customers=2,
            products=2,
            customer_growth_per_year=1.0,
            product_growth_per_year=1.0,
            orders_per_second=1000.0,
        )
        for table, key, of in (("customers", "customer_id", "orders"), ("products", "product_id", "order_items")):
            first, end = (ORIGIN + day * DAY_SECONDS for day in (181, 184))
            arrivals = [
                row["event_time"]
                for frame in shop.rows(Window(first, end), Slice(), (table,))
                for row in frame.rows.to_pylist()
                if row[key] == 2
            ]
            arrived = slot_of(arrivals[0])
            for slot, expected in ((arrived, {0, 1}), (arrived + 1, {0, 1, 2})):
                frames = shop.rows(Window(slot, slot + 1), Slice(), (of,))
                taking_part = {number for frame in frames for number in frame.rows.column(key).to_pylist()}
                with self.subTest(table=table, slot=slot - arrived):
                    self.assertEqual(taking_part, expected)


class ShopTests(unittest.TestCase):
    """The same in the rows of a shop that grows fast."""

    @classmethod
    def setUpClass(cls) -> None:
        generator = create_generator(
            "ecommerce",
            start=START,
            end="2026-01-02T18:30:00Z",
            customers=3000,
            products=400,
            orders_per_second=0.2,
            customer_growth_per_year=1.0,
            product_growth_per_year=1.0,
            price_period_days=1,
            batch_seconds=20_000,
        )
        cls.tables = {table: pl.concat(generator.batches_for(table)) for table in generator.tables()}

    def test_an_item_carries_the_price_of_its_moment(self) -> None:
        items, products = self.tables["order_items"], self.tables["products"]
        joined = items.sort("event_time").join_asof(
            products.sort("valid_from"),
            left_on="event_time",
            right_on="valid_from",
            by="product_id",
            check_sortedness=False,
        )
        self.assertGreater(len(items), 20_000)
        self.assertTrue((joined["unit_price"] == joined["price"]).all())
        self.assertEqual(joined["price"].null_count(), 0)
        self.assertGreater(items.filter(pl.col("product_id") >= 400).height, 0, "new products sell")

    def test_customers_buy_after_they_sign_up_and_new_ones_do(self) -> None:
        orders, customers = self.tables["orders"], self.tables["customers"]
        joined = orders.join(customers, on="customer_id", how="left", suffix="_customer")
        self.assertTrue((joined["signed_up_at"].dt.truncate("1s") < joined["event_time"].dt.truncate("1s")).all())
        new = customers.filter(pl.col("customer_id") >= 3000)
        self.assertGreater(len(new), 10)
        bought = new.filter(pl.col("customer_id").is_in(orders["customer_id"].unique().implode()))
        self.assertGreater(len(bought), len(new) // 2)

    def test_the_opening_population_signed_up_before_the_origin(self) -> None:
        customers, origin = self.tables["customers"], parse_time(START)
        opening = customers.filter(pl.col("customer_id") < 3000)
        self.assertEqual(len(opening), 3000)
        self.assertTrue((opening["event_time"] == origin).all())
        self.assertTrue((opening["signed_up_at"] < origin).all())
        self.assertGreater(opening["signed_up_at"].n_unique(), 2990)
        new = customers.filter(pl.col("customer_id") >= 3000)
        self.assertTrue((new["signed_up_at"] == new["event_time"]).all())
        self.assertTrue((new["event_time"] >= origin).all())
        self.assertEqual(new["customer_id"].to_list(), list(range(3000, 3000 + len(new))))


if __name__ == "__main__":
    unittest.main()
