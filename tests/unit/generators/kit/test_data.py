"""Data files: what is read, and that a malformed file is told by file, line and column."""

from __future__ import annotations

import subprocess
import sys
import unittest

from emitter.generators.kit.data import data_file, parsed

GOOD = """\
# where it is from
# and under which licence
name,weight,note
Anna,3,"with, comma"
Björn,-1,
Anna,12,ja
"""


class ReadingTests(unittest.TestCase):
    def test_columns_are_texts_or_whole_numbers(self) -> None:
        file = parsed("people.csv", GOOD)
        self.assertEqual(len(file), 3)
        self.assertEqual(file.texts("name"), ("Anna", "Björn", "Anna"))
        self.assertEqual(file.texts("note"), ("with, comma", "", "ja"))
        self.assertEqual(file.integers("weight").tolist(), [3, -1, 12])

    def test_labels_are_the_different_texts_and_codes_into_them(self) -> None:
        labels = parsed("people.csv", GOOD).labels("name")
        self.assertEqual(labels.names.to_pylist(), ["Anna", "Björn"])
        self.assertEqual(labels.codes.tolist(), [0, 1, 0])

    def test_a_reference_is_the_row_that_it_names(self) -> None:
        people = parsed("people.csv", "#\nid,boss\n1,\n")
        pets = parsed("pets.csv", "#\npet,owner\nRex,Björn\nMia,Anna\n")
        owners = parsed("owners.csv", "#\nname\nAnna\nBjörn\n")
        self.assertEqual(pets.places("owner", owners, "name").tolist(), [1, 0])
        with self.assertRaisesRegex(ValueError, r"people\.csv, line 3: boss is '', which is no name of owners\.csv"):
            people.places("boss", owners, "name")

    def test_a_file_is_read_once(self) -> None:
        first = data_file("emitter.generators.kit", "countries.csv")
        self.assertIs(data_file("emitter.generators.kit", "countries.csv"), first)

    def test_numbers_that_are_shared_cannot_be_changed(self) -> None:
        with self.assertRaisesRegex(ValueError, "read-only"):
            parsed("people.csv", GOOD).integers("weight")[0] = 1


class MalformedTests(unittest.TestCase):
    def refused(self, text: str, message: str) -> None:
        with self.assertRaisesRegex(ValueError, message):
            parsed("people.csv", text).integers("weight")

    def test_each_fault_is_told_with_its_line(self) -> None:
        for fault, text, message in (
            ("no source", GOOD[GOOD.index("name") :], r"^people\.csv, line 1: comment lines on top must name source"),
            ("empty", "", r"^people\.csv, line 1: comment lines"),
            ("only comments", "# a\n", r"^people\.csv, line 2: the header must name each column"),
            ("a column twice", "# a\nname,name\n", r"^people\.csv, line 2: the header must name .* each once"),
            ("a column without a name", "# a\nname,\n", r"^people\.csv, line 2: the header"),
            ("no rows", "# a\nname,weight\n", r"^people\.csv: no rows"),
            ("a field too few", "# a\nname,weight\nAnna,1\nAnna\n", r"^people\.csv, line 4: 1 fields, where .* has 2"),
            ("a field too many", "# a\nname,weight\nAnna,1,2\n", r"^people\.csv, line 3: 3 fields"),
            ("an empty line", "# a\nname,weight\n\nAnna,1\n", r"^people\.csv, line 3: 0 fields"),
            ("an open quote", '# a\nname,weight\n"Anna,1\n', r"^people\.csv, line 3: "),
            ("no number", GOOD.replace("12", "1.2"), r"^people\.csv, line 6: weight is '1\.2', and must be a whole"),
            ("nothing", GOOD.replace("12", ""), r"^people\.csv, line 6: weight is '', and must be a whole number"),
            ("no such column", "# a\nname\nAnna\n", r"^people\.csv has no column 'weight', only name"),
        ):
            with self.subTest(fault):
                self.refused(text, message)


class LoadingTests(unittest.TestCase):
    def test_neither_importing_nor_listing_opens_a_data_file(self) -> None:
        """An audit hook sees every file that is opened."""
        watch = "import sys; sys.addaudithook(lambda e, a: e == 'open' and str(a[0]).endswith('.csv') and print(a[0]));"
        for what in (
            "import emitter; [getattr(emitter, name) for name in emitter.__all__]",
            "import emitter.generators.kit.places, emitter.generators.kit.names",
            "sys.argv = ['emitter', 'list']; from emitter.cli.entry import main; main()",
        ):
            with self.subTest(what):
                run = subprocess.run(
                    [sys.executable, "-c", watch + what], capture_output=True, text=True, check=False, encoding="utf-8"
                )
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertNotIn(".csv", run.stdout)
        opened = subprocess.run(
            [sys.executable, "-c", watch + "from emitter.generators.kit.places import cities; cities()"],
            capture_output=True,
            text=True,
            check=True,
            encoding="utf-8",
        )
        self.assertIn("cities.csv", opened.stdout)  # the hook works


if __name__ == "__main__":
    unittest.main()
