"""Customers and products: priced by the moment, and bought from by a heavy-tailed law."""

from __future__ import annotations

import unittest

import numpy as np
import polars as pl

from emitter.clock import EPOCH_UNIX_SECONDS, parse_time, slot_of
from emitter.errors import ConfigurationError
from emitter.generators.ecommerce.catalogue import Catalogue
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.ecommerce.people import People
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.limits import GROWTH_YEARS, POPULATION_MAX
from emitter.model import Slice, Window
from emitter.randomness import Stream
from emitter.run.factory import create_generator
from emitter.settings.declaring import validate_options

START = "2026-01-01T06:30:00Z"  # days since the origin are not those of the calendar
ORIGIN = slot_of(parse_time(START))


class LimitTests(unittest.TestCase):
    def test_populations_that_would_outgrow_the_draws_are_refused(self) -> None:
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
