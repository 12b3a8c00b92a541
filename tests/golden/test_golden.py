"""The rows are those that were recorded: another row under the same content version is a broken promise.

Runs go on for months, and a release must continue their rows exactly where an older one left them.
"""

from __future__ import annotations

import unittest

from emitter.generators import DOMAINS
from tests.golden.regenerate import changed_without_notice, current, recorded

WHAT_TO_DO = """
If the change is not meant, find what caused it: rows depend on nothing but configuration, journal and simulated time.
If it is, raise content_version in the domain's generator.py, run make golden, and tell users in CHANGELOG.md."""


class GoldenTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.made, cls.golden = current(), recorded()

    def test_every_domain_has_golden_digests(self) -> None:
        self.assertEqual(set(self.golden), set(DOMAINS))

    def test_the_file_is_of_this_content_version(self) -> None:
        for domain, made in self.made.items():
            self.assertEqual(
                self.golden[domain]["content_version"],
                made["content_version"],
                f"the content version of {domain} has moved: run make golden",
            )

    def test_rows_are_what_they_were(self) -> None:
        for domain, made in self.made.items():
            golden = self.golden[domain]["cases"]
            self.assertEqual(set(golden), set(made["cases"]), "cases have come or gone: run make golden")
            for case, digests in made["cases"].items():
                with self.subTest(domain=domain, case=case):
                    self.assertEqual(digests, golden[case], WHAT_TO_DO)

    def test_changed_rows_are_not_recorded_under_the_same_version(self) -> None:
        def file(version: int, **cases: str) -> dict[str, object]:
            return {"shop": {"content_version": version, "cases": cases}}

        old = file(3, one="a", two="b")
        self.assertEqual(changed_without_notice(old, file(3, one="a", two="x")), ["shop: two"])
        self.assertEqual(changed_without_notice(old, file(2, one="x", two="b")), ["shop: one"])
        self.assertEqual(changed_without_notice(old, file(4, one="x", two="y")), [])
        self.assertEqual(changed_without_notice(old, file(3, one="a", two="b", three="c")), [])


if __name__ == "__main__":
    unittest.main()
