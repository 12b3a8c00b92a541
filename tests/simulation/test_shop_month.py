"""A month of the shop from its origin, all rows gathered: everything refers to what is there, and adds up."""

from __future__ import annotations

import unittest
from datetime import timedelta
from typing import Any, ClassVar

import polars as pl

from emitter.clock import parse_time, slot_of
from emitter.run.factory import create_generator

START, END = "2026-02-01", "2026-03-03"
OPTIONS: dict[str, Any] = {
    "customers": 2000,
    "products": 300,
    "orders_per_second": 0.03,
    "customer_growth_per_year": 1.0,
    "product_growth_per_year": 1.0,
    "price_period_days": 3,
    "promotions": {"2026-02-14": 3.0},
}
LONGEST_SECONDS = 300  # payments come within five minutes
SECOND = "1s"


class ShopMonthTests(unittest.TestCase):
    seed: ClassVar[int] = 42

    @classmethod
    def setUpClass(cls) -> None:
        shop = create_generator("ecommerce", seed=cls.seed, start=START, end=END, batch_seconds=6 * 3600, **OPTIONS)
        cls.customers, cls.products, cls.orders, cls.items, cls.payments = (
            pl.concat(shop.batches_for(table)) for table in shop.tables()
        )

    def all_true(self, rows: pl.DataFrame, claim: pl.Expr) -> None:
        """The claim holds for every row, and there are rows."""
        self.assertGreater(len(rows), 0)
        broken = rows.filter(~claim | claim.is_null())
        self.assertEqual(len(broken), 0, f"{claim} fails for {broken.head(3)}")

    def test_the_month_is_worth_looking_at(self) -> None:
        self.assertGreater(len(self.orders), 60_000)
        self.assertGreater(self.customers.filter(pl.col("customer_id") >= 2000).height, 100)
        self.assertGreater(self.products.filter(pl.col("product_id") >= 300).height, 50)
        self.assertGreater(len(self.products), 9 * 300)
        by_day = self.orders.group_by(pl.col("event_time").dt.date().alias("day")).len()
        self.assertEqual(len(by_day), 30)
        self.assertEqual(str(by_day.sort("len")["day"][-1]), "2026-02-14")

    def test_every_order_is_of_a_customer_who_had_signed_up_before_its_second(self) -> None:
        joined = self.orders.join(self.customers, on="customer_id", how="left", suffix="_of_customer")
        self.assertEqual(len(joined), len(self.orders))
        self.all_true(joined, pl.col("signed_up_at").dt.truncate(SECOND) < pl.col("event_time").dt.truncate(SECOND))
        self.assertGreater(joined.filter(pl.col("customer_id") >= 2000).height, 100)

    def test_every_order_is_the_sum_of_its_items(self) -> None:
        self.all_true(self.items, pl.col("amount") == pl.col("quantity") * pl.col("unit_price"))
        self.all_true(self.items, pl.col("quantity") >= 1)
        sums = self.items.group_by("order_id").agg(
            pl.len().alias("items"), pl.col("line").max(), pl.col("line").n_unique().alias("lines"),
            pl.col("amount").sum().alias("sum"), pl.col("event_time").n_unique().alias("times"),
            pl.col("event_time").first().alias("time"),
        )  # fmt: skip
        self.assertEqual(len(sums), len(self.orders), "every item has an order, and every order items")
        joined = self.orders.join(sums, on="order_id", how="left")
        self.all_true(joined, pl.col("amount") == pl.col("sum"))
        self.all_true(joined, (pl.col("item_count") == pl.col("items")) & pl.col("item_count").is_between(1, 15))
        self.all_true(joined, (pl.col("line") == pl.col("items")) & (pl.col("lines") == pl.col("items")))
        self.all_true(joined, (pl.col("times") == 1) & (pl.col("time") == pl.col("event_time")))

    def test_every_item_is_of_a_listed_product_at_the_price_of_its_moment(self) -> None:
        priced = self.items.sort("event_time").join_asof(
            self.products.sort("valid_from"),
            left_on="event_time",
            right_on="valid_from",
            by="product_id",
            check_sortedness=False,
        )
        self.assertEqual(len(priced), len(self.items))
        self.all_true(priced, pl.col("unit_price") == pl.col("price"))
        listed = self.products.group_by("product_id").agg(pl.col("valid_from").min())
        new = self.items.filter(pl.col("product_id") >= 300).join(listed, on="product_id", how="left")
        self.all_true(new, pl.col("valid_from").dt.truncate(SECOND) < pl.col("event_time").dt.truncate(SECOND))
        prices = self.items.group_by("product_id").agg(pl.col("unit_price").n_unique())
        self.assertGreater(prices["unit_price"].max(), 5, "prices change")

    def test_every_payment_is_of_an_order_and_of_its_amount(self) -> None:
        joined = self.payments.join(self.orders, on="order_id", how="left", suffix="_of_order")
        self.all_true(joined, pl.col("amount") == pl.col("amount_of_order"))
        waited = pl.col("event_time").dt.truncate(SECOND) - pl.col("event_time_of_order").dt.truncate(SECOND)
        self.all_true(joined, waited.is_between(timedelta(seconds=1), timedelta(seconds=LONGEST_SECONDS)))

    def test_every_order_is_paid_by_a_script_in_its_order(self) -> None:
        """Attempted and captured; or declined, tried again, and captured or not: each strictly after the other."""
        inside = pl.col("order_id") // 2**22 < slot_of(parse_time(END)) - LONGEST_SECONDS
        orders = self.orders.filter(inside)
        steps = (
            self.payments.filter(inside)
            .sort("payment_id")
            .group_by("order_id", maintain_order=True)
            .agg(
                (pl.col("status") + pl.col("attempt").cast(pl.String)).str.join(" ").alias("script"),
                (pl.col("payment_id") - pl.col("order_id")).alias("children"),
                pl.col("event_time").dt.truncate(SECOND).diff().min().alias("shortest"),
                pl.col("method").n_unique(),
            )
        )
        self.assertEqual(set(steps["order_id"]), set(orders["order_id"]))
        self.all_true(steps, pl.col("shortest") >= timedelta(seconds=1))
        self.all_true(steps, pl.col("method") == 1)
        self.all_true(steps, pl.col("children") == pl.int_ranges(1, pl.col("children").list.len() + 1))
        scripts = dict(steps.group_by("script").len().iter_rows())
        shares = {script: count / len(steps) for script, count in scripts.items()}
        expected = {
            "attempted1 captured1": 58 / 64,
            "attempted1 declined1 attempted2 captured2": 4 / 64,
            "attempted1 declined1 attempted2 declined2": 2 / 64,
        }
        self.assertEqual(set(shares), set(expected))
        for script, share in expected.items():
            self.assertAlmostEqual(shares[script], share, delta=0.015)

    def test_ids_are_unique_ordered_by_second_and_safe_in_javascript(self) -> None:
        for rows, key in ((self.orders, "order_id"), (self.items, "order_item_id"), (self.payments, "payment_id")):
            self.assertEqual(rows[key].n_unique(), len(rows))
            self.all_true(rows, pl.col(key).is_between(0, 2**53 - 1, closed="left"))
            seconds = (pl.col("event_time").dt.epoch("s") - parse_time("2020-01-01").timestamp()).cast(pl.Int64)
            self.all_true(rows, (pl.col("order_id") // 2**22 == seconds) | pl.lit(key == "payment_id"))
            self.all_true(rows, (pl.col(key) // 16 == pl.col("order_id") // 16) & (pl.col("order_id") % 16 == 0))
        self.all_true(self.items, pl.col("order_item_id") == pl.col("order_id") + pl.col("line"))
        by_id = self.orders.sort("order_id")["event_time"].dt.truncate(SECOND)
        self.assertTrue(by_id.is_sorted())
        self.assertEqual(self.customers["customer_id"].to_list(), list(range(len(self.customers))))
        self.assertEqual(self.products.select("product_id", "valid_from").n_unique(), len(self.products))
        self.assertEqual(self.products["product_id"].n_unique(), self.products["product_id"].max() + 1)

    def test_what_the_readme_warns_of_is_so(self) -> None:
        """An id is one of its table, a product may come twice, numbers and countries say less than one may think."""
        self.assertTrue(set(self.items["order_item_id"]) & set(self.payments["payment_id"]))
        self.assertTrue(set(self.customers["customer_id"]) & set(self.products["product_id"]))
        self.assertTrue(self.items.select("order_id", "product_id").is_duplicated().any())
        by_number = self.customers.sort("customer_id")
        later, opening = pl.col("customer_id") >= 2000, pl.col("customer_id") < 2000
        self.assertTrue(by_number.filter(later)["signed_up_at"].is_sorted())
        self.assertFalse(by_number.filter(opening)["signed_up_at"].is_sorted())
        elsewhere = {**OPTIONS, "time_zones": {"Asia/Tokyo": 1.0}}
        shop = create_generator("ecommerce", seed=self.seed, start=START, end="2026-02-02", **elsewhere)
        countries = pl.concat(shop.batches_for("customers")).filter(opening).sort("customer_id")["country"]
        self.assertEqual(countries.to_list(), by_number.filter(opening)["country"].to_list())

    def test_customers_have_names_and_addresses_that_look_like_some(self) -> None:
        self.all_true(self.customers, pl.col("name").str.contains(r"^\p{Lu}\p{Ll}+ \p{Lu}\p{Ll}+$"))
        self.all_true(self.customers, pl.col("email").str.contains(r"^[a-z]+\.[a-z]+\.[0-9]+@example\.(com|net|org)$"))
        self.assertEqual(self.customers["email"].n_unique(), len(self.customers))
        self.all_true(self.customers, pl.col("country").str.contains("^[A-Z]{2}$"))
        for column, kinds in (("country", 7), ("segment", 3), ("name", 300)):
            self.assertGreaterEqual(self.customers[column].n_unique(), kinds)
        self.all_true(self.products, pl.col("name").str.contains(r"^\p{Lu}.+ \p{Lu}.+ \p{Lu}.+$"))
        kept = self.products.group_by("product_id").agg(pl.col("name").n_unique(), pl.col("category").n_unique())
        self.all_true(kept, (pl.col("name") == 1) & (pl.col("category") == 1))

    def test_few_make_most_of_the_sales(self) -> None:
        for rows, column, size in ((self.orders, "customer_id", 2000), (self.items, "product_id", 300)):
            sales = rows.group_by(column).len()["len"].sort(descending=True)
            top, bottom = sales.head(size // 20).sum() / len(rows), sales.tail(size // 2).sum() / len(rows)
            self.assertGreater(top, 0.3, f"the first twentieth by {column}")
            self.assertLess(bottom, 0.25, f"the last half by {column}")

    def test_money_fits_its_type(self) -> None:
        for rows, columns in (
            (self.products, ["price"]),
            (self.orders, ["amount"]),
            (self.items, ["unit_price", "amount"]),
            (self.payments, ["amount"]),
        ):
            for column in columns:
                self.assertEqual(rows[column].dtype, pl.Decimal(12, 2))
                self.all_true(rows, pl.col(column) > 0)
        self.assertEqual(self.orders["currency"].unique().to_list(), ["EUR"])
        self.assertEqual(set(self.orders["channel"]), {"web", "app", "marketplace", "store"})

    def test_everything_happens_in_the_month(self) -> None:
        first, end = parse_time(START), parse_time(END)
        for rows in (self.customers, self.products, self.orders, self.items, self.payments):
            self.all_true(rows, pl.col("event_time").is_between(first, end, closed="left"))
        self.all_true(self.products, pl.col("event_time") == pl.col("valid_from"))


if __name__ == "__main__":
    unittest.main()
