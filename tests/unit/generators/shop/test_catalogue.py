"""Products are of their kinds, cost what their kind does, and are ordered only while they can be."""

from __future__ import annotations

import unittest

import numpy as np
import polars as pl

from emitter import arrow
from emitter.generators.kit.choices import choose_by
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.populations import Population
from emitter.generators.shop.catalogue import Catalogue
from emitter.generators.shop.kinds import COMPLEMENTS, MONTHS, kinds
from emitter.generators.shop.tables import PRODUCTS
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, below

ORIGIN = 189_412_200  # 2026-01-01T06:30:00Z
OPENING = 4_000


def catalogue(opening: int = OPENING, growth: float = 0.5) -> Catalogue:
    return Catalogue(3, ORIGIN, Population(ORIGIN, opening, growth, Stream(1, "arrival")), 1.0, 30)


def listed(window: Window) -> pl.DataFrame:
    made = catalogue()
    parts = [made.batch(*part) for part in made.rows(window, Slice()) if len(part[0])]
    return pl.concat([pl.DataFrame(arrow.to_table(PRODUCTS, part)) for part in parts])


class KindsTest(unittest.TestCase):
    def test_seasons_move_sales_between_months_and_not_over_the_year(self) -> None:
        found = kinds()
        self.assertEqual(found.seasons.shape, (MONTHS, len(found)))
        np.testing.assert_allclose(found.seasons.mean(axis=0), 1_000, rtol=0.01)
        tree = found.names.index("Building Blocks")
        self.assertEqual(int(found.seasons[:, tree].argmax()) + 1, 12)

    def test_what_goes_together_is_of_one_department_and_present(self) -> None:
        found = kinds()
        present = np.arange(len(found)) % 3 > 0
        others = found.complements(present)
        self.assertEqual(others.shape, (len(found), COMPLEMENTS))
        self.assertTrue(present[others].all())
        self.assertFalse((others == np.arange(len(found))[:, np.newaxis]).any())
        self.assertTrue((found.departments.codes[others] == found.departments.codes[:, np.newaxis]).all())


class CatalogueTest(unittest.TestCase):
    def picked(self, made: Catalogue, days: int = 400, count: int = 40_000) -> tuple[Integers, Integers, Integers]:
        words = Stream(1, "picks").words(np.arange(count))
        slots = np.sort(ORIGIN + below(Stream(1, "when").words(np.arange(count)), days * DAY_SECONDS))
        of_kinds = choose_by(kinds().rows_by_month(made.present), np.zeros(count, np.int64), words).astype(np.int64)
        return made.pick(words, of_kinds, slots), of_kinds, slots

    def test_a_pick_is_of_its_kind_there_and_in_stock(self) -> None:
        made = catalogue()
        products, of_kinds, slots = self.picked(made)
        np.testing.assert_array_equal(made.kinds_of(products), of_kinds)
        self.assertTrue(made.is_available(products, slots).all())
        self.assertTrue((products < made._population.sizes_at(slots)).all())
        self.assertGreater(int((products >= OPENING).sum()), 100)

    def test_what_is_out_of_stock_comes_back_and_what_has_ended_does_not(self) -> None:
        made, days = catalogue(), ORIGIN + np.arange(900) * DAY_SECONDS
        ended = gaps = 0
        for product in range(200):
            there = made.is_available(np.full(len(days), product), days)
            last = int(np.flatnonzero(there)[-1])
            ended += last < len(days) - 60
            gaps += int((~there[:last]).any())
        self.assertTrue(20 < ended < 120, ended)
        self.assertGreater(gaps, 150)

    def test_a_small_catalogue_sells_what_it_has(self) -> None:
        for opening in (1, 7):
            made = catalogue(opening, growth=0.0)
            products, of_kinds, slots = self.picked(made, count=2_000)
            self.assertLessEqual(set(products.tolist()), set(range(opening)))
            self.assertGreater(len(set(products.tolist())), opening // 2)
            self.assertTrue(made.is_available(products, slots).all())
            self.assertEqual(set(of_kinds.tolist()), set(made.kinds_of(np.arange(opening)).tolist()))

    def test_rows_tell_what_prices_hold(self) -> None:
        rows = listed(Window(ORIGIN, ORIGIN + 70 * DAY_SECONDS))
        made = catalogue()
        slots = arrow.slots(rows["valid_from"].to_arrow().cast(arrow.TIME_TYPE)) + (
            rows["valid_from"].dt.microsecond().to_numpy() > 0
        )
        cents = (rows["price"] * 100).cast(pl.Int64).to_numpy()
        np.testing.assert_array_equal(cents, made.prices_cents(rows["product_id"].to_numpy(), slots))
        self.assertTrue((rows["cost"] < rows["price"]).mean() > 0.99)
        self.assertEqual(int((cents % 10 != 9).sum()), 0)
        self.assertTrue((rows["listed_at"] <= rows["event_time"]).all())
        self.assertTrue((rows["ends_at"].is_null() | (rows["ends_at"] >= rows["event_time"])).all())
        self.assertAlmostEqual(rows.height, made.expected_rows(Window(ORIGIN, ORIGIN + 70 * DAY_SECONDS)), delta=150)

    def test_what_a_product_is_stays(self) -> None:
        rows = listed(Window(ORIGIN, ORIGIN + 70 * DAY_SECONDS))
        fixed = [column.name for column in PRODUCTS.columns if column.name not in ("valid_from", "event_time", "price")]
        self.assertEqual(rows.select(fixed).unique().height, rows["product_id"].n_unique())
        found = kinds()
        names = dict(zip(found.names, range(len(found)), strict=True))
        for name, colour, size, material in rows.select("kind", "colour", "size", "material").unique().iter_rows():
            kind = names[name]
            self.assertEqual(colour is not None, bool(found.has_colour[kind]))
            self.assertEqual(size is not None, found.size_systems[kind] != "none")
            self.assertEqual(material is not None, found.material_groups[kind] != "none")

    def test_prices_are_about_those_of_the_kind(self) -> None:
        made, products = catalogue(), np.arange(OPENING)
        medians = kinds().medians_cents[made.kinds_of(products)]
        ratio = made.prices_cents(products, np.full(OPENING, ORIGIN)) / medians
        self.assertAlmostEqual(float(np.median(ratio)), 1.0, delta=0.1)
        self.assertLess(float(np.quantile(ratio, 0.99)), 5)


if __name__ == "__main__":
    unittest.main()
