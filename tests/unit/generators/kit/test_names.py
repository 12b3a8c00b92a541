"""Names: lists that are whole, common names more often, and mail addresses in ASCII that nobody else has."""

from __future__ import annotations

import unittest
from collections import Counter, defaultdict

import numpy as np
import pyarrow.compute as pc

from emitter.generators.kit.data import data_file
from emitter.generators.kit.names import GENDERS, FullNames, names
from emitter.generators.kit.places import countries
from emitter.randomness import Stream

PACKAGE = "emitter.generators.kit"
FIRST, LAST = data_file(PACKAGE, "first_names.csv"), data_file(PACKAGE, "last_names.csv")
POOLS, SHARES = data_file(PACKAGE, "name_pools.csv"), data_file(PACKAGE, "name_shares.csv")
COUNTRIES = data_file(PACKAGE, "countries.csv")
LARGE = {"en", "de", "fr", "es", "it", "pt"}
WORDS = Stream(5, "names").words(np.arange(100_000))


def of_country(code: str) -> FullNames:
    return names().pick(np.full(len(WORDS), countries().codes.index(code)), WORDS)


class NameFilesTests(unittest.TestCase):
    def test_each_pool_has_names_enough(self) -> None:
        first, last = Counter(FIRST.texts("pool")), Counter(LAST.texts("pool"))
        self.assertEqual(set(first), set(POOLS.texts("pool")))
        self.assertEqual(set(last), set(POOLS.texts("pool")))
        for pool in POOLS.texts("pool"):
            with self.subTest(pool):
                self.assertGreaterEqual(first[pool], 120 if pool in LARGE else 60)
                self.assertGreaterEqual(last[pool], 200 if pool in LARGE else 100)
                of_gender = Counter(
                    g for p, g in zip(FIRST.texts("pool"), FIRST.texts("gender"), strict=True) if p == pool
                )
                self.assertEqual(set(of_gender), set(GENDERS))
                self.assertGreaterEqual(min(of_gender.values()), first[pool] // 3)

    def test_no_name_stands_twice_in_its_list(self) -> None:
        for file, columns in ((FIRST, ("pool", "gender", "name")), (LAST, ("pool", "name"))):
            twice = [key for key, times in Counter(zip(*map(file.texts, columns), strict=True)).items() if times > 1]
            self.assertEqual(twice, [])

    def test_romanised_forms_are_small_ascii_letters(self) -> None:
        for file, column in ((FIRST, "ascii"), (LAST, "ascii"), (LAST, "female_ascii")):
            for form in file.texts(column):
                self.assertRegex(form, "^[a-z]*$")
        self.assertNotIn("", FIRST.texts("ascii") + LAST.texts("ascii"))

    def test_a_form_for_women_has_a_romanised_one(self) -> None:
        for form, plain in zip(LAST.texts("female"), LAST.texts("female_ascii"), strict=True):
            self.assertEqual(bool(form), bool(plain))
        self.assertGreater(sum(map(bool, LAST.texts("female"))), 150)

    def test_weights_follow_the_law_that_the_files_state(self) -> None:
        for file, columns, offset in ((FIRST, ("pool", "gender"), 11), (LAST, ("pool",), 24)):
            places: dict[tuple[str, ...], int] = defaultdict(int)
            for *key, weight in zip(*map(file.texts, columns), file.integers("weight").tolist(), strict=True):
                places[tuple(key)] += 1
                self.assertEqual(weight, 20_000 // (places[tuple(key)] + offset))

    def test_each_country_has_whole_shares_of_pools(self) -> None:
        sums: Counter[str] = Counter()
        for country, percent in zip(SHARES.texts("country"), SHARES.integers("percent").tolist(), strict=True):
            self.assertGreater(percent, 0)
            sums[country] += percent
        self.assertEqual(dict(sums), dict.fromkeys(COUNTRIES.texts("country"), 100))
        keys = list(zip(SHARES.texts("country"), SHARES.texts("pool"), strict=True))
        self.assertEqual(len(set(keys)), len(keys))


class PickTests(unittest.TestCase):
    def test_common_names_come_more_often_by_their_weight(self) -> None:
        lasts = np.bincount(of_country("PL").lasts % len(LAST), minlength=len(LAST))
        pool = np.array([place == "pl" for place in LAST.texts("pool")])
        weights = np.where(pool, LAST.integers("weight"), 0) * 0.99
        for found, wanted in zip(lasts[pool], (weights / weights.sum() * 0.99 * len(WORDS))[pool], strict=True):
            # A choice of 12 bits is right to one entry.
            self.assertLess(abs(found - wanted), 5 * wanted**0.5 + len(WORDS) / 4096)

    def test_pools_come_by_their_share(self) -> None:
        pools = np.array([FIRST.texts("pool")[place] for place in of_country("CH").firsts])
        for pool, percent in (("de", 64), ("fr", 22), ("it", 11)):
            self.assertAlmostEqual(np.count_nonzero(pools == pool) / len(pools) * 100, percent, delta=1)

    def test_full_names_of_a_country_are_many_and_not_alike_in_frequency(self) -> None:
        counts = np.sort(pc.value_counts(names().full(of_country("DE"))).field("counts").to_numpy())[::-1]
        self.assertGreater(len(counts), 15_000)
        self.assertGreater(counts[0], 8 * np.median(counts))

    def test_women_bear_their_form_of_a_last_name(self) -> None:
        people = of_country("CZ")
        forms = names().full(people).to_pylist()
        women = {form for form, gender in zip(forms, people.genders, strict=True) if gender == GENDERS.index("female")}
        men = {form for form, gender in zip(forms, people.genders, strict=True) if gender == GENDERS.index("male")}
        self.assertIn("Jana Nováková", women)
        self.assertIn("Jan Novák", men)
        self.assertEqual(sum(form.endswith("ová") for form in men), 0)

    def test_names_are_written_in_the_script_and_order_of_their_language(self) -> None:
        self.assertIn("佐藤 翔", names().full(of_country("JP")).to_pylist())
        self.assertIn("Μαρία Παπαδοπούλου", names().full(of_country("GR")).to_pylist())
        self.assertIn("Tan Wei Jie", names().full(of_country("SG")).to_pylist())


class MailTests(unittest.TestCase):
    def test_local_parts_are_ascii_and_their_own(self) -> None:
        numbers = np.arange(len(WORDS))
        people = names().pick(countries().pick(Stream(6, "countries").words(numbers)), WORDS)
        local = names().local_parts(people, WORDS, numbers).to_pylist()
        self.assertEqual(len(set(local)), len(local))
        for number, part in enumerate(local[:5_000]):
            self.assertRegex(part, rf"^[a-z]+[._]?[a-z]+{number}$")

    def test_they_fit_the_name(self) -> None:
        people = of_country("JP")
        row = names().full(people).to_pylist().index("佐藤 翔")
        one = FullNames(people.genders[[row]], people.firsts[[row]], people.lasts[[row]])
        found = {names().local_parts(one, WORDS[[word]], np.array([7]))[0].as_py() for word in range(200)}
        self.assertEqual(found, {"sho.sato7", "shosato7", "sho_sato7", "s.sato7", "ssato7"})


if __name__ == "__main__":
    unittest.main()
