"""Customers are people: their names, addresses and places fit each other."""

from __future__ import annotations

import unittest
from collections import Counter
from functools import cache

import numpy as np
import polars as pl

from emitter import arrow
from emitter.generators.ecommerce.curve import HOUR_WEIGHTS, weights_of
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.mixes import Mix
from emitter.generators.kit.places import cities, countries
from emitter.generators.kit.populations import Population
from emitter.generators.kit.rates import LocalWeights
from emitter.generators.shop.habits import Habits
from emitter.generators.shop.people import People
from emitter.generators.shop.regions import regions
from emitter.generators.shop.tables import CUSTOMERS
from emitter.model import Slice, Window
from emitter.randomness import Stream

ORIGIN = 189_412_200  # 2026-01-01T06:30:00Z
CUSTOMERS_AT_ORIGIN = 30_000
MONTH = Window(ORIGIN, ORIGIN + 30 * DAY_SECONDS)


def people() -> People:
    found = regions()
    zones = [(zone, share / 10**7) for zone, share in zip(found.time_zones, found.shares, strict=True)]
    population = Population(ORIGIN, CUSTOMERS_AT_ORIGIN, 0.5, Stream(1, "arrival"), HOUR_WEIGHTS)
    habits = Habits(1, found, Mix(LocalWeights(weights_of(None, None, None), zones)), population, 0.003)
    return People(1, ORIGIN, population, habits)


def rows(window: Window, slice: Slice = Slice()) -> pl.DataFrame:
    made = people()
    parts = [made.batch(*part) for part in made.rows(window, slice) if len(part[0])]
    frames = [pl.DataFrame(arrow.to_table(CUSTOMERS, part)) for part in parts]
    return pl.concat(frames)


@cache
def month() -> pl.DataFrame:
    return rows(MONTH)


class PeopleTest(unittest.TestCase):
    def test_the_columns_are_those_of_the_table(self) -> None:
        self.assertEqual(month().columns, [column.name for column in CUSTOMERS.columns])
        self.assertEqual(month().null_count().sum_horizontal()[0], 0)

    def test_numbers_are_dense_and_addresses_unique(self) -> None:
        numbers = month()["customer_id"].sort().to_list()
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertAlmostEqual(len(numbers), people().expected_rows(MONTH), delta=2)
        self.assertEqual(month()["email"].n_unique(), len(numbers))
        self.assertTrue(month()["email"].str.contains(r"^[a-z0-9._]+@[a-z]+\.example$").all())

    def test_a_city_lies_in_its_region_country_and_time_zone(self) -> None:
        towns = cities()
        known = {
            (
                countries().codes[country],
                towns.regions.names[region].as_py(),
                name,
                towns.time_zones.names[zone].as_py(),
            )
            for country, region, name, zone in zip(
                towns.countries.tolist(),
                towns.regions.codes.tolist(),
                (towns.names.names[code].as_py() for code in towns.names.codes.tolist()),
                towns.time_zones.codes.tolist(),
                strict=True,
            )
        }
        self.assertLessEqual(set(month().select("country", "region", "city", "time_zone").iter_rows()), known)

    def test_countries_languages_and_mail_go_together(self) -> None:
        self.assertEqual(month().select("country", "language").unique().height, len(countries().codes))
        mail = month().with_columns(pl.col("email").str.split("@").list.last())
        self.assertEqual(mail.select("country", "email").unique().height, len(countries().codes))

    def test_names_are_many_and_some_are_common(self) -> None:
        counts = Counter(month()["name"].to_list())
        self.assertGreater(len(counts), 0.6 * month().height)
        self.assertLess(counts.most_common(1)[0][1], 40)
        self.assertGreater(counts.most_common(1)[0][1], 4)

    def test_who_orders_often_stands_high(self) -> None:
        made = people()
        habit = made._habits.habits_of(month()["customer_id"].to_numpy())
        tiers = month()["tier"].to_numpy()
        high = [float(np.isin(tiers[habit == place], ["gold", "platinum"]).mean()) for place in (0, 3, 5, 7)]
        self.assertEqual(high, sorted(high))
        self.assertLess(high[0], 0.01)
        self.assertGreater(high[-1], 0.8)

    def test_nobody_is_born_after_coming_of_age(self) -> None:
        years = month()["birth_year"].to_numpy()
        self.assertTrue((years <= 2026 - 18).all() and (years >= 2026 - 88).all())
        self.assertAlmostEqual(float(years.mean()), 2026 - 41.5, delta=1)

    def test_windows_and_shards_are_parts_of_the_whole(self) -> None:
        half = MONTH.first + MONTH.seconds // 3
        parts = [
            rows(window, Slice(index, 3))
            for window in (Window(MONTH.first, half), Window(half, MONTH.end))
            for index in range(3)
        ]
        self.assertTrue(pl.concat(parts).sort("customer_id").equals(month().sort("customer_id")))


if __name__ == "__main__":
    unittest.main()
