"""Payments of a quarter, judged by their rows alone."""

from __future__ import annotations

import unittest
from functools import lru_cache

import polars as pl

from emitter.generators.shop.coming_back import ComingBack
from emitter.generators.shop.lives_tables import PAYMENTS
from emitter.generators.shop.payments import Payments
from emitter.model import Slice, Window
from tests.unit.generators.shop.lives import (
    DAY,
    ORIGIN,
    QUARTER,
    Book,
    cut,
    frame,
    orders_of,
    share_interval,
    stories_at,
    together,
)

# What may follow what within an order: the machine, written down apart from the scripts.
NEXT: dict[str | None, set[str]] = {
    None: {"authorised", "declined"},
    "declined": {"authorised", "declined"},
    "authorised": {"voided", "captured"},
    "captured": {"partly_refunded", "refunded", "charged_back"},
    **{end: set[str]() for end in ("voided", "partly_refunded", "refunded", "charged_back")},
}


def payments_at(rate: float, seed: int = 1) -> Payments:
    return Payments(seed, stories_at(rate, seed), Book(), ComingBack(seed))


@lru_cache(maxsize=1)
def quarter() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Payments with their orders, of a quarter; and the orders."""
    rows, orders = frame(PAYMENTS, payments_at(0.004).rows(QUARTER, Slice())), orders_of(stories_at(0.004), QUARTER)
    return rows.join(orders, on="order_id", how="left"), orders


class PaymentsTest(unittest.TestCase):
    def test_every_payment_has_its_order_and_comes_after_it(self) -> None:
        rows, _ = quarter()
        self.assertEqual(rows["placed_slot"].null_count(), 0)
        placed = pl.from_epoch((pl.col("placed_slot") + 1_577_836_800) * 1_000_000, "us").dt.replace_time_zone("UTC")
        self.assertEqual(len(rows.filter(pl.col("event_time") < placed)), 0)
        self.assertTrue(rows["payment_id"].is_unique().all())
        self.assertTrue(rows.select(((pl.col("payment_id") - pl.col("order_id")).is_between(1, 15)).all()).item())

    def test_payments_of_an_order_go_through_possible_states_only(self) -> None:
        rows, _ = quarter()
        edges = rows.sort("order_id", "event_time").select(
            pl.col("status").shift(1).over("order_id").alias("before"), pl.col("status"), pl.col("attempt"),
            pl.col("payment_id").diff().over("order_id").alias("step"),
        )  # fmt: skip
        found = edges.group_by("before", "status").len()
        for before, status, count in found.iter_rows():
            self.assertIn(status, NEXT[before], msg=f"{count} times after {before}")
        self.assertEqual(edges.filter(pl.col("step") <= 0).height, 0)  # numbers follow time
        self.assertGreaterEqual(found.height, 9)

    def test_no_order_gets_back_more_than_was_captured(self) -> None:
        rows, _ = quarter()
        back = pl.col("status").is_in(["partly_refunded", "refunded", "charged_back"])
        sums = rows.group_by("order_id").agg(
            pl.col("amount").filter(back).sum().alias("back"),
            pl.col("amount").filter(pl.col("status") == "captured").sum().alias("captured"),
            pl.col("amount").filter(pl.col("status") == "partly_refunded").sum().alias("partly"),
            pl.col("amount").filter(pl.col("status") == "refunded").sum().alias("wholly"),
        )
        self.assertEqual(sums.filter(pl.col("back") > pl.col("captured")).height, 0)
        self.assertEqual(sums.filter((pl.col("partly") > 0) & (pl.col("partly") >= pl.col("captured"))).height, 0)
        self.assertEqual(sums.filter((pl.col("wholly") > 0) & (pl.col("wholly") != pl.col("captured"))).height, 0)
        full = rows.filter(~pl.col("status").is_in(["partly_refunded"]))
        self.assertEqual(full.filter(pl.col("amount") != pl.col("total")).height, 0)

    def test_only_what_was_declined_has_a_reason(self) -> None:
        rows, _ = quarter()
        self.assertEqual(rows.filter((pl.col("status") == "declined") != pl.col("reason").is_not_null()).height, 0)

    def test_shares_are_those_of_real_shops(self) -> None:
        rows, orders = quarter()
        attempts = rows.filter(pl.col("status").is_in(["authorised", "declined"]))
        declined = attempts.filter(pl.col("status") == "declined")
        tries = attempts.group_by("order_id").agg(pl.col("status"), pl.len())
        failed_first = declined.filter(pl.col("attempt") == 1)
        old = orders.filter(pl.col("placed_slot") < QUARTER.end - 45 * DAY)
        charged = rows.join(old, on="order_id", how="semi").filter(pl.col("status") == "charged_back")
        for name, part, whole, share in (
            ("declined", declined.height, attempts.height, 5 / 130),
            ("tried again", tries.filter(pl.col("len") == 2).height, failed_first.height, 0.5),
            ("voided", rows.filter(pl.col("status") == "voided").height, orders.height, 3 / 128),
            ("want of funds", declined.filter(pl.col("reason") == "insufficient_funds").height, declined.height, 0.44),
            ("suspicion", declined.filter(pl.col("reason") == "suspected_fraud").height, declined.height, 0.09),
            ("charged back", charged.height, old.height, 0.003),
        ):
            with self.subTest(name):
                self.assertLess(abs(part / whole - share), share_interval(share, whole))

    def test_only_cards_are_charged_back(self) -> None:
        rows, _ = quarter()
        charged = rows.filter(pl.col("status") == "charged_back")
        self.assertEqual(charged["method"].unique().to_list(), ["card"])

    def test_what_follows_an_attempt_is_paid_in_its_way_and_currency(self) -> None:
        rows, _ = quarter()
        ways = rows.group_by("order_id", "attempt").agg(pl.col("method").n_unique(), pl.col("currency").n_unique())
        self.assertEqual(ways.filter((pl.col("method") > 1) | (pl.col("currency") > 1)).height, 0)

    def test_windows_and_shards_do_not_show(self) -> None:
        window = Window(ORIGIN, ORIGIN + 3 * DAY)
        whole = together(PAYMENTS, payments_at(0.05).rows, [window])
        self.assertGreater(whole.height, 20_000)
        backwards = list(reversed(cut(window, DAY // 2)))
        for windows, shards in ((backwards, 1), ([window], 3), (cut(window, DAY), 4)):
            self.assertTrue(together(PAYMENTS, payments_at(0.05).rows, windows, shards).equals(whole))
        short = Window(ORIGIN + DAY, ORIGIN + DAY + 40)
        seconds = together(PAYMENTS, payments_at(30.0).rows, cut(short, 1), 2)
        self.assertTrue(seconds.equals(together(PAYMENTS, payments_at(30.0).rows, [short])))
        self.assertGreater(seconds.height, 1000)
