"""Parcels and returns of a quarter, judged by their rows alone."""

from __future__ import annotations

import unittest
from functools import lru_cache

import polars as pl

from emitter.generators.shop.coming_back import ComingBack
from emitter.generators.shop.lives_tables import PAYMENTS, RETURNS, SHIPMENTS
from emitter.generators.shop.payments import Payments
from emitter.generators.shop.returns import Returns
from emitter.generators.shop.shipments import Shipments
from emitter.model import Slice, Table, Window
from tests.unit.generators.shop.lives import (
    DAY,
    ORIGIN,
    QUARTER,
    RATES_BP,
    Book,
    Rows,
    cut,
    frame,
    orders_of,
    share_interval,
    stories_at,
    together,
)

RATE = 0.004
LIFE = 52 * DAY  # longer than any story


def tables_at(rate: float) -> tuple[tuple[Table, Rows], ...]:
    stories, book, back = stories_at(rate), Book(), ComingBack(1)
    return (
        (PAYMENTS, Payments(1, stories, book, back).rows),
        (SHIPMENTS, Shipments(1, stories, book).rows),
        (RETURNS, Returns(1, stories, book, back).rows),
    )


@lru_cache(maxsize=1)
def quarter() -> tuple[pl.DataFrame, ...]:
    """Orders, payments, shipments and returns."""
    return orders_of(stories_at(RATE), QUARTER), *(frame(table, of(QUARTER, Slice())) for table, of in tables_at(RATE))


def wide(shipments: pl.DataFrame) -> pl.DataFrame:
    """A row a parcel, with when it came to each status."""
    return shipments.pivot(
        "status", index=["shipment_id", "order_id", "parcel", "parcels", "item_count"], values="event_time"
    )


class ShipmentsTest(unittest.TestCase):
    def test_parcels_go_through_their_states_in_order(self) -> None:
        _, _, shipments, _ = quarter()
        self.assertTrue(shipments.select(pl.struct("shipment_id", "status").is_unique().all()).item())
        paths = shipments.sort("shipment_id", "event_time").group_by("shipment_id").agg(pl.col("status"))
        way = ["created", "handed_over", "in_transit"]
        allowed = [way[:1], way[:2], way, [*way, "delivered"], [*way, "lost"]]
        for path, count in paths.group_by("status").len().iter_rows():
            self.assertIn(path, allowed, msg=f"{count} times")

    def test_each_line_is_in_one_parcel(self) -> None:
        orders, _, shipments, _ = quarter()
        created = shipments.filter(pl.col("status") == "created")
        sums = created.group_by("order_id").agg(pl.col("item_count").sum(), pl.len(), pl.col("parcels").first())
        done = orders.filter(pl.col("placed_slot") < QUARTER.end - DAY)
        sums = sums.join(done, on="order_id", suffix="_of_order")
        self.assertEqual(sums.filter(pl.col("item_count") != pl.col("item_count_of_order")).height, 0)
        self.assertEqual(sums.filter(pl.col("len") != pl.col("parcels")).height, 0)
        self.assertEqual(shipments.filter(pl.col("item_count") < 1).height, 0)

    def test_only_what_is_authorised_is_sent_and_captured_then(self) -> None:
        orders, payments, shipments, _ = quarter()
        first = shipments.filter((pl.col("status") == "handed_over") & (pl.col("parcel") == 1))
        captured = payments.filter(pl.col("status") == "captured")
        gaps = first.join(captured, on="order_id").select(pl.col("event_time_right") - pl.col("event_time"))
        self.assertGreater(gaps.height, 20_000)
        seconds = gaps.to_series().dt.total_microseconds().to_numpy() / 1e6
        self.assertGreater(seconds.min(), 0)
        self.assertLess(seconds.max(), 60)
        self.assertLessEqual(abs(first.height - captured.height), 2)  # at the end of the quarter
        created = shipments.filter(pl.col("status") == "created").join(orders, on="order_id", how="anti")
        self.assertEqual(created.height, 0)
        authorised = payments.filter(pl.col("status") == "authorised").select("order_id", paid="event_time")
        self.assertEqual(shipments.join(authorised, on="order_id", how="anti").height, 0)
        late = shipments.join(authorised, on="order_id").filter(pl.col("paid") >= pl.col("event_time"))
        self.assertEqual(late.height, 0)
        voided = payments.filter(pl.col("status") == "voided")
        self.assertEqual(shipments.join(voided, on="order_id", how="semi").height, 0)

    def test_nothing_is_delivered_on_a_sunday(self) -> None:
        _, _, shipments, _ = quarter()
        delivered = shipments.filter(pl.col("status") == "delivered")
        days = dict(delivered.group_by(pl.col("event_time").dt.weekday()).len().iter_rows())
        self.assertEqual(sorted(days), [1, 2, 3, 4, 5, 6])
        self.assertGreater(days[1], 1.8 * days[3])  # what would have come on Sunday

    def test_all_that_was_sent_long_ago_was_delivered_or_lost(self) -> None:
        orders, _, shipments, _ = quarter()
        old = orders.filter(pl.col("placed_slot") < QUARTER.end - LIFE)
        parcels = wide(shipments.join(old, on="order_id", how="semi"))
        self.assertEqual(parcels.filter(pl.col("delivered").is_null() == pl.col("lost").is_null()).height, 0)
        lost = parcels.filter(pl.col("lost").is_not_null()).height
        self.assertLess(abs(lost / parcels.height - 0.0075), share_interval(0.0075, parcels.height))
        several = old.filter(pl.col("item_count") > 1).join(parcels, on="order_id").filter(pl.col("parcel") == 1)
        split = several.filter(pl.col("parcels") == 2).height
        self.assertLess(abs(split / several.height - 21 / 128), share_interval(21 / 128, several.height))

    def test_delivery_takes_longer_the_farther_it_goes_and_has_a_tail(self) -> None:
        orders, _, shipments, _ = quarter()
        old = orders.filter(pl.col("placed_slot") < QUARTER.end - LIFE)
        ways = wide(shipments).join(old, on="order_id").filter(pl.col("delivered").is_not_null())
        days = ways.with_columns(days=(pl.col("delivered") - pl.col("handed_over")).dt.total_hours() / 24)
        medians = dict(days.group_by("country").agg(pl.col("days").median()).iter_rows())
        for country, expected in (("DE", 2), ("FR", 3), ("ES", 4), ("US", 6), ("AU", 10)):
            self.assertLess(abs(medians[country] - expected), 1, msg=country)
        germany = days.filter(pl.col("country") == "DE")["days"].to_numpy()
        self.assertTrue(0.01 < (germany > 6).mean() < 0.12)

    def test_a_split_order_has_its_second_parcel_sent_later(self) -> None:
        _, _, shipments, _ = quarter()
        over = shipments.filter(pl.col("status") == "handed_over").pivot(
            "parcel", index="order_id", values="event_time"
        )
        self.assertEqual(over.filter(pl.col("2") <= pl.col("1")).height, 0)


class ReturnsTest(unittest.TestCase):
    def test_what_comes_back_was_delivered_before(self) -> None:
        _, _, shipments, returns = quarter()
        requested = returns.filter(pl.col("status") == "requested").with_columns(
            line=pl.col("order_item_id") - pl.col("order_id")
        )
        delivered = shipments.filter(pl.col("status") == "delivered").select(
            "order_id", "parcel", "parcels", at="event_time"
        )
        both = requested.join(delivered, on="order_id").filter(
            (pl.col("parcels") == 1) | ((pl.col("line") % 2 == 1) == (pl.col("parcel") == 1))
        )
        self.assertGreater(requested.height, 5000)
        self.assertEqual(both.height, requested.height)
        days = both.select((pl.col("event_time") - pl.col("at")).dt.total_hours() / 24).to_series().to_numpy()
        self.assertGreater(days.min(), 0)
        self.assertLess(days.max(), 31)

    def test_nothing_comes_back_twice_and_nothing_is_received_unasked(self) -> None:
        _, _, _, returns = quarter()
        self.assertTrue(returns.select(pl.struct("order_item_id", "status").is_unique().all()).item())
        steps = returns.pivot("status", index=["return_id", "amount", "reason"], values="event_time")
        self.assertEqual(steps.filter(pl.col("requested").is_null()).height, 0)
        self.assertEqual(steps.filter(pl.col("received") <= pl.col("requested")).height, 0)
        self.assertEqual(
            returns.filter((pl.col("status") == "received") != pl.col("condition").is_not_null()).height, 0
        )

    def test_goods_come_back_at_the_rate_of_their_category(self) -> None:
        orders, _, shipments, returns = quarter()
        old = orders.filter(pl.col("placed_slot") < QUARTER.end - LIFE)
        lines = Book().lines(old["order_id"].to_numpy())
        gone = wide(shipments).filter(pl.col("delivered").is_not_null())["order_id"].unique()
        items = pl.DataFrame({"order_id": old["order_id"].to_numpy()[lines.order], "order_item_id": lines.ids})
        items = items.filter(pl.col("order_id").is_in(gone.implode()))
        back = items.join(returns.filter(pl.col("status") == "received"), on="order_item_id", how="semi")
        for kind, rate_bp in enumerate(RATES_BP.tolist()):
            of_kind = pl.col("order_item_id") % len(RATES_BP) == kind
            whole, share = items.filter(of_kind).height, rate_bp / 10_000
            # Lines of an order share its lane, so there are fewer independent ones.
            tolerance = 1.6 * share_interval(share, whole)
            self.assertLess(abs(back.filter(of_kind).height / whole - share), tolerance, msg=str(rate_bp))

    def test_refunds_are_of_what_was_received_or_lost_before(self) -> None:
        orders, payments, shipments, returns = quarter()
        refunds = payments.filter(pl.col("status").is_in(["partly_refunded", "refunded"]))
        self.assertTrue(refunds["order_id"].is_unique().all())
        received = returns.filter(pl.col("status") == "received").group_by("order_id").agg(
            pl.col("amount").sum().alias("goods"), pl.col("event_time").max().alias("since"), pl.len().alias("lines")
        )  # fmt: skip
        lost = shipments.filter(pl.col("status") == "lost").select("order_id", lost_at="event_time")
        told = refunds.join(received, on="order_id", how="left").join(lost, on="order_id", how="left")
        told = told.join(orders, on="order_id")
        self.assertEqual(told.filter(pl.col("since").is_null() == pl.col("lost_at").is_null()).height, 0)
        self.assertEqual(told.filter(pl.col("event_time") <= pl.coalesce("since", "lost_at")).height, 0)
        of_returns = told.filter(pl.col("since").is_not_null())
        partly = of_returns.filter(pl.col("status") == "partly_refunded")
        self.assertEqual(partly.filter(pl.col("amount") != pl.col("goods")).height, 0)
        self.assertEqual(partly.filter(pl.col("lines") >= pl.col("item_count")).height, 0)
        wholly = of_returns.filter(pl.col("status") == "refunded")
        self.assertEqual(wholly.filter(pl.col("lines") != pl.col("item_count")).height, 0)
        self.assertGreater(told.filter(pl.col("lost_at").is_not_null()).height, 50)
        self.assertEqual(returns.join(lost, on="order_id", how="semi").height, 0)
        # All that came back was paid back, but for what is still under way at the end of the quarter.
        unpaid = received.join(refunds, on="order_id", how="anti")
        self.assertEqual(unpaid.filter(pl.col("since").dt.epoch("s") < QUARTER.end + 1_577_836_800 - 7 * DAY).height, 0)

    def test_what_was_lost_is_paid_back_the_parcel_or_the_order(self) -> None:
        orders, payments, shipments, _ = quarter()
        lost = shipments.filter(pl.col("status") == "lost").join(orders, on="order_id")
        lines = Book().lines(lost["order_id"].to_numpy())
        in_second = lines.sums(lines.amounts * (lines.ids % 2 == 0))
        lost = lost.with_columns(
            expected=pl.when(pl.col("parcels") == 2).then(pl.Series(in_second)).otherwise(pl.col("total")),
            kind=pl.when(pl.col("parcels") == 2).then(pl.lit("partly_refunded")).otherwise(pl.lit("refunded")),
        )
        early = lost.filter(pl.col("event_time").dt.epoch("s") < QUARTER.end + 1_577_836_800 - 4 * DAY)
        paid = payments.filter(pl.col("status").is_in(["partly_refunded", "refunded"]))
        told = early.join(paid, on="order_id", suffix="_paid")
        self.assertEqual(told.height, early.height)
        self.assertEqual(told["parcels"].n_unique(), 2)
        wrong = (pl.col("expected") != pl.col("amount")) | (pl.col("kind") != pl.col("status_paid"))
        self.assertEqual(told.filter(wrong).height, 0)


class WindowsTest(unittest.TestCase):
    def test_windows_and_shards_do_not_show(self) -> None:
        window, short = Window(ORIGIN + 8 * DAY, ORIGIN + 10 * DAY), Window(ORIGIN + 9 * DAY, ORIGIN + 9 * DAY + 30)
        for place, table in ((1, SHIPMENTS), (2, RETURNS)):
            with self.subTest(table=table.name):
                whole = together(table, tables_at(0.02)[place][1], [window])
                self.assertGreater(whole.height, 300)
                for windows, shards in ((list(reversed(cut(window, DAY // 2))), 1), ([window], 3)):
                    self.assertTrue(together(table, tables_at(0.02)[place][1], windows, shards).equals(whole))
                seconds = together(table, tables_at(30.0)[place][1], cut(short, 1), 2)
                self.assertTrue(seconds.equals(together(table, tables_at(30.0)[place][1], [short])))
                self.assertGreater(seconds.height, 100)

    def test_rows_have_the_columns_that_the_tables_declare(self) -> None:
        for table, rows in tables_at(5.0):
            found = rows(Window(ORIGIN + 20 * DAY, ORIGIN + 20 * DAY + 60), Slice())
            assert found is not None
            self.assertEqual(found.schema.names, [column.name for column in table.columns])
            for column, values in zip(table.columns, found.columns, strict=True):
                self.assertTrue(column.nullable or not values.null_count, msg=column.name)

    def test_a_window_without_rows_gives_none(self) -> None:
        for _, rows in tables_at(0.01):
            self.assertIsNone(rows(Window(ORIGIN - 10, ORIGIN), Slice()))
