"""The shop's catalogues: whole, and true to one another."""

from __future__ import annotations

import unittest
from collections import Counter, defaultdict
from pathlib import Path

import emitter.generators.ecommerce
from emitter.generators.kit.data import DataFile, data_file

PACKAGE = "emitter.generators.ecommerce"


def read(name: str) -> DataFile:
    return data_file(PACKAGE, f"{name}.csv")


def key(file: DataFile, *columns: str) -> list[tuple[str, ...]]:
    return list(zip(*map(file.texts, columns), strict=True))


DEPARTMENTS, CATEGORIES, BRANDS = read("departments"), read("categories"), read("brands")
OF_ALL = (*DEPARTMENTS.texts("department"), "all")


class ShopDataTests(unittest.TestCase):
    def assert_unique(self, keys: list[tuple[str, ...]]) -> None:
        self.assertEqual([one for one, times in Counter(keys).items() if times > 1], [])

    def assert_within(self, file: DataFile, column: str, low: int, high: int) -> None:
        values = file.integers(column).tolist()
        self.assertGreaterEqual(min(values), low, f"{file.name}: {column}")
        self.assertLessEqual(max(values), high, f"{file.name}: {column}")

    def test_every_file_of_the_folder_names_its_licence_and_has_no_stray_blanks(self) -> None:
        folder = Path(next(iter(emitter.generators.ecommerce.__path__))) / "data"
        names = sorted(path.name for path in folder.iterdir())
        self.assertGreaterEqual(len(names), 13)
        for name in names:
            with self.subTest(name):
                text = (folder / name).read_text("utf-8")
                self.assertIn("licence (Apache-2.0)", text.partition("\n\n")[0])
                for column in data_file(PACKAGE, name).columns.values():
                    self.assertEqual([cell for cell in column if cell != cell.strip()], [])

    def test_the_catalogue_is_a_tree_of_three_levels(self) -> None:
        self.assertEqual(len(DEPARTMENTS), 12)
        self.assertEqual(int(DEPARTMENTS.integers("share_permille").sum()), 1_000)
        self.assertEqual(set(CATEGORIES.texts("department")), set(DEPARTMENTS.texts("department")))
        above = set(key(CATEGORIES, "department", "category"))
        self.assertGreaterEqual(len(above), 60)
        self.assertEqual(len({category for _, category in above}), len(above), "a category in two departments")
        self.assertGreaterEqual(len(CATEGORIES), 250)
        self.assert_unique(key(CATEGORIES, "kind"))

    def test_kinds_have_prices_weights_and_seasons_of_things_that_are_sold(self) -> None:
        for column, low, high in (
            ("price_median_cents", 300, 100_000),
            ("price_spread_percent", 20, 70),
            ("weight_grams", 10, 30_000),
            ("share", 1, 200),
            ("has_colour", 0, 1),
            ("season_month", 1, 12),
            ("season_percent", 0, 300),
            ("return_bp", 100, 4_000),
        ):
            self.assert_within(CATEGORIES, column, low, high)

    def test_a_category_has_one_season_and_one_set_of_attributes(self) -> None:
        of_category: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        for category, *rest in key(
            CATEGORIES, "category", "season_month", "season_percent", "has_colour", "size_system", "material_group"
        ):
            of_category[category].add(tuple(rest))
        self.assertEqual({name for name, found in of_category.items() if len(found) > 1}, set())

    def test_attributes_are_those_of_their_files(self) -> None:
        sizes, materials = read("sizes"), read("materials")
        self.assertEqual(set(CATEGORIES.texts("size_system")), {*sizes.texts("size_system"), "none"})
        self.assertEqual(set(CATEGORIES.texts("material_group")), {*materials.texts("material_group"), "none"})
        self.assert_unique(key(sizes, "size_system", "size"))
        self.assert_unique(key(materials, "material_group", "material"))
        for file, group, share in ((sizes, "size_system", "percent"), (materials, "material_group", "share")):
            sums: Counter[str] = Counter()
            for name, value in zip(file.texts(group), file.integers(share).tolist(), strict=True):
                self.assertGreater(value, 0)
                sums[name] += value
            self.assertEqual({name: total for name, total in sums.items() if total != 100}, {})
        self.assert_within(materials, "price_percent", 50, 300)

    def test_colours_look_like_ones(self) -> None:
        colours = read("colours")
        self.assert_unique(key(colours, "colour"))
        self.assert_unique(key(colours, "hex"))
        for code in colours.texts("hex"):
            self.assertRegex(code, "^[0-9a-f]{6}$")
        self.assert_within(colours, "share", 1, 200)
        self.assert_within(colours, "is_plain", 0, 1)

    def test_every_department_has_brands_dear_and_cheap(self) -> None:
        fits = read("brand_departments")
        self.assertGreaterEqual(len(BRANDS), 150)
        self.assert_unique(key(BRANDS, "brand"))
        self.assert_unique(key(fits, "brand", "department"))
        self.assertEqual(set(fits.texts("brand")), set(BRANDS.texts("brand")))
        self.assert_within(BRANDS, "share", 1, 100)
        self.assert_within(BRANDS, "price_percent", 50, 200)
        prices = dict(zip(BRANDS.texts("brand"), BRANDS.integers("price_percent").tolist(), strict=True))
        for department in DEPARTMENTS.texts("department"):
            levels = [prices[brand] for brand, fit in key(fits, "brand", "department") if fit == department]
            self.assertGreaterEqual(len(levels), 8, department)
            self.assertTrue(min(levels) <= 80 and max(levels) >= 130, department)

    def test_carriers_reach_everywhere_at_a_price(self) -> None:
        carriers = read("carriers")
        self.assert_unique(key(carriers, "carrier", "service", "reach"))
        self.assertEqual(set(carriers.texts("reach")), {"domestic", "region", "world"})
        for column, low, high in (
            ("share", 1, 100),
            ("transit_percent", 10, 200),
            ("late_bp", 1, 2_000),
            ("lost_bp", 1, 100),
            ("base_cents", 100, 10_000),
            ("kilogram_cents", 10, 1_000),
            ("weekend_delivery", 0, 1),
        ):
            self.assert_within(carriers, column, low, high)
        for form in carriers.texts("tracking"):
            self.assertRegex(form, "^[A-Z9-]{10,}$")

    def test_reasons_have_shares_and_consequences(self) -> None:
        declines, returns = read("decline_reasons"), read("return_reasons")
        for file in (declines, returns):
            self.assert_unique(key(file, "reason"))
        self.assertEqual(int(declines.integers("share").sum()), 1_000)
        self.assert_within(declines, "retry_bp", 0, 10_000)
        groups = set(DEPARTMENTS.texts("returns"))
        self.assertEqual(groups, {"fashion", "electronics", "other"})
        for group in groups:
            self.assertEqual(int(returns.integers(group).sum()), 1_000, group)
            self.assert_within(returns, group, 0, 400)
        self.assert_within(returns, "resalable_percent", 0, 100)
        self.assert_within(returns, "refund_percent", 1, 100)

    def test_campaigns_run_in_months_and_give_codes_with_a_discount(self) -> None:
        campaigns = read("campaigns")
        self.assert_unique(key(campaigns, "campaign"))
        self.assertLessEqual(set(campaigns.texts("department")), set(OF_ALL))
        for column in ("first_month", "last_month"):
            self.assert_within(campaigns, column, 1, 12)
        self.assert_within(campaigns, "share", 1, 300)
        self.assert_within(campaigns, "discount_percent", 0, 40)
        codes = [code for code in campaigns.texts("code") if code]
        self.assertEqual(len(set(codes)), len(codes))
        for code, percent in zip(campaigns.texts("code"), campaigns.integers("discount_percent"), strict=True):
            self.assertEqual(bool(code), bool(percent))
            self.assertRegex(code, "^[A-Z]*[0-9]*$")

    def test_each_department_has_reviews_of_every_number_of_stars(self) -> None:
        reviews = read("review_texts")
        self.assertGreaterEqual(len(reviews), 200)
        self.assert_unique(key(reviews, "text"))
        self.assertEqual(
            set(key(reviews, "department", "stars")),
            {(department, str(stars)) for department in OF_ALL for stars in range(1, 6)},
        )
        self.assertEqual(
            [text for text in reviews.texts("text") if not 5 < len(text) < 80 or text[-1] not in ".!?"], []
        )

    def test_every_category_is_searched_for(self) -> None:
        terms = read("search_terms")
        self.assertGreaterEqual(len(terms), 200)
        self.assert_unique(key(terms, "term"))
        self.assertEqual(set(key(terms, "department", "category")), set(key(CATEGORIES, "department", "category")))
        self.assertEqual([term for term in terms.texts("term") if term != term.lower()], [])
        self.assert_within(terms, "share", 1, 100)


if __name__ == "__main__":
    unittest.main()
