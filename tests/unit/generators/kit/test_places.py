"""Countries and cities: true to what they say, and picked by their shares."""

from __future__ import annotations

import unittest
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from emitter.generators.kit.data import data_file
from emitter.generators.kit.places import cities, countries
from emitter.randomness import Stream

PACKAGE = "emitter.generators.kit"
COUNTRIES, CITIES = data_file(PACKAGE, "countries.csv"), data_file(PACKAGE, "cities.csv")
WORDS = Stream(5, "places").words(np.arange(200_000))


class CountriesFileTests(unittest.TestCase):
    def test_there_are_enough_and_each_stands_there_once(self) -> None:
        self.assertGreaterEqual(len(COUNTRIES), 24)
        for column in ("country", "name"):
            self.assertEqual(len(set(COUNTRIES.texts(column))), len(COUNTRIES))

    def test_codes_have_the_form_of_their_standards(self) -> None:
        for column, form in (("country", "[A-Z]{2}"), ("currency", "[A-Z]{3}"), ("language", "[a-z]{2}")):
            for code in COUNTRIES.texts(column):
                self.assertRegex(code, f"^{form}$")

    def test_the_shares_of_customers_sum_up(self) -> None:
        shares = COUNTRIES.integers("customers_bp")
        self.assertEqual(int(shares.sum()), 10_000)
        self.assertGreater(int(shares.min()), 0)

    def test_rates_are_within_what_there_is(self) -> None:
        self.assertTrue(((COUNTRIES.integers("tax_bp") > 0) & (COUNTRIES.integers("tax_bp") <= 2_700)).all())
        self.assertEqual(set(COUNTRIES.integers("rounding_cents").tolist()), {1, 5, 100})

    def test_a_currency_has_one_rate_and_the_euro_is_worth_one(self) -> None:
        rates: dict[str, set[int]] = {}
        for currency, rate in zip(
            COUNTRIES.texts("currency"), COUNTRIES.integers("units_per_eur_micros").tolist(), strict=True
        ):
            rates.setdefault(currency, set()).add(rate)
        self.assertEqual({currency for currency, found in rates.items() if len(found) > 1}, set())
        self.assertEqual(rates["EUR"], {1_000_000})
        self.assertTrue(all(min(found) > 500_000 for found in rates.values()))

    def test_mail_goes_to_names_that_nobody_can_own(self) -> None:
        for domain in COUNTRIES.texts("mail_domain"):
            self.assertRegex(domain, r"^[a-z]+\.example$")


class CitiesFileTests(unittest.TestCase):
    def test_there_are_enough_and_each_stands_there_once(self) -> None:
        self.assertGreaterEqual(len(CITIES), 600)
        keys = set(zip(*map(CITIES.texts, ("country", "region", "city")), strict=True))
        self.assertEqual(len(keys), len(CITIES))
        self.assertTrue(all(map(all, keys)))

    def test_each_country_has_cities_and_each_city_a_country(self) -> None:
        self.assertEqual(set(CITIES.texts("country")), set(COUNTRIES.texts("country")))

    def test_every_time_zone_is_in_the_pinned_rules(self) -> None:
        zones = set(CITIES.texts("time_zone"))
        self.assertGreater(len(zones), 40)
        for zone in zones:
            folder, _, name = zone.rpartition("/")
            path = files(f"tzdata.zoneinfo.{folder.replace('/', '.')}") / name
            with self.subTest(zone), path.open("rb") as rules:
                ZoneInfo.from_file(rules, zone)

    def test_coordinates_and_populations_are_those_of_places_on_earth(self) -> None:
        north, east = CITIES.integers("latitude_1e4"), CITIES.integers("longitude_1e4")
        self.assertTrue(((north > -48 * 10_000) & (north < 71 * 10_000)).all())
        self.assertTrue(((east >= -180 * 10_000) & (east <= 180 * 10_000)).all())
        populations = CITIES.integers("population")
        self.assertTrue(((populations > 10_000) & (populations < 40_000_000)).all())

    def test_some_cities_are_where_they_are(self) -> None:
        for city, zone, north, east, population in (
            ("Köln", "Europe/Berlin", 50.94, 6.96, 1_000_000),
            ("Honolulu", "Pacific/Honolulu", 21.31, -157.86, 350_000),
            ("Auckland", "Pacific/Auckland", -36.85, 174.76, 1_500_000),
            ("Thessaloníki", "Europe/Athens", 40.64, 22.94, 317_000),
            ("Las Palmas de Gran Canaria", "Atlantic/Canary", 28.10, -15.41, 380_000),
        ):
            with self.subTest(city):
                row = CITIES.texts("city").index(city)
                self.assertEqual(CITIES.texts("time_zone")[row], zone)
                self.assertAlmostEqual(int(CITIES.integers("latitude_1e4")[row]) / 1e4, north, delta=0.05)
                self.assertAlmostEqual(int(CITIES.integers("longitude_1e4")[row]) / 1e4, east, delta=0.05)
                self.assertAlmostEqual(int(CITIES.integers("population")[row]) / population, 1, delta=0.15)

    def test_the_largest_of_a_country_come_first(self) -> None:
        rows = list(zip(CITIES.texts("country"), CITIES.integers("population").tolist(), strict=True))
        self.assertTrue(all(a != b or more >= less for (a, more), (b, less) in pairwise(rows)))


class PickTests(unittest.TestCase):
    def test_countries_come_by_their_share_of_the_customers(self) -> None:
        shares = np.bincount(countries().pick(WORDS), minlength=len(COUNTRIES)) / len(WORDS)
        for found, wanted in zip(shares, COUNTRIES.integers("customers_bp") / 10_000, strict=True):
            self.assertLess(abs(found - wanted), 5 * (wanted / len(WORDS)) ** 0.5 + 2**-16)

    def test_cities_come_by_their_population_and_lie_in_their_country(self) -> None:
        chosen = countries().pick(WORDS)
        picked = cities().pick(chosen, WORDS, shift=16)
        self.assertTrue((cities().countries[picked] == chosen).all())
        for code in ("US", "GR"):
            country = countries().codes.index(code)
            members = np.flatnonzero(cities().countries == country)
            populations = cities().populations[members]
            of_country = picked[chosen == country]
            for member, wanted in zip(members, populations / populations.sum(), strict=True):
                found = np.count_nonzero(of_country == member) / len(of_country)
                self.assertLess(abs(found - wanted), 5 * (wanted / len(of_country)) ** 0.5 + 2**-16)

    def test_every_city_can_be_picked(self) -> None:
        every = np.arange(1 << 16, dtype=np.uint64)
        for country in range(len(COUNTRIES)):
            with self.subTest(countries().codes[country]):
                picked = cities().pick(np.full(1 << 16, country), every)
                self.assertEqual(set(picked.tolist()), set(np.flatnonzero(cities().countries == country).tolist()))

    def test_names_zones_and_currencies_are_those_of_the_row(self) -> None:
        for labels, column in (
            (cities().names, "city"),
            (cities().regions, "region"),
            (cities().time_zones, "time_zone"),
        ):
            names = labels.names.to_pylist()
            self.assertEqual(len(set(names)), len(names))
            self.assertEqual(tuple(names[code] for code in labels.codes), CITIES.texts(column))


class PostalCodeTests(unittest.TestCase):
    def test_codes_have_the_form_of_their_country(self) -> None:
        patterns = COUNTRIES.texts("postal_code")
        chosen = countries().pick(WORDS[:20_000])
        codes = cities().postal_codes(cities().pick(chosen, WORDS[:20_000], 16), Stream(5, "codes").words(chosen))
        self.assertEqual(codes.null_count, 0)
        codes.validate(full=True)
        for country, code in zip(chosen, codes.to_pylist(), strict=True):
            self.assertRegex(code, f"^{FORMS[patterns[country]]}$")

    def test_the_codes_of_a_city_begin_alike_and_do_not_end_alike(self) -> None:
        city = cities().names.names.index("London").as_py()
        row = int(np.flatnonzero(cities().names.codes == city)[0])
        codes = cities().postal_codes(np.full(1_000, row), WORDS[:1_000]).to_pylist()
        self.assertEqual(len({code[:2] for code in codes}), 1)
        self.assertGreater(len(set(codes)), 900)

    def test_no_rows_give_no_codes(self) -> None:
        none = np.empty(0, np.int64)
        self.assertEqual(cities().postal_codes(none, none.view(np.uint64)).to_pylist(), [])


FORMS = {
    "19999": "[1-9][0-9]{4}",
    "1999": "[1-9][0-9]{3}",
    "199999": "[1-9][0-9]{5}",
    "AA9 9AA": "[A-Z]{2}[0-9] [0-9][A-Z]{2}",
    "1999 AA": "[1-9][0-9]{3} [A-Z]{2}",
    "A9A 9A9": "[A-Z][0-9][A-Z] [0-9][A-Z][0-9]",
    "A99 A9A9": "[A-Z][0-9]{2} [A-Z][0-9][A-Z][0-9]",
    "19-999": "[1-9][0-9]-[0-9]{3}",
    "199 99": "[1-9][0-9]{2} [0-9]{2}",
    "1999-999": "[1-9][0-9]{3}-[0-9]{3}",
    "199-9999": "[1-9][0-9]{2}-[0-9]{4}",
    "19999-999": "[1-9][0-9]{4}-[0-9]{3}",
}


if __name__ == "__main__":
    unittest.main()
