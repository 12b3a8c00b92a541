"""Results show themselves, as text and as HTML."""

from __future__ import annotations

import unittest

from emitter.showing import Grid, Shown


class Example(Shown):
    def grid(self) -> Grid:
        return Grid(("table", "rows"), [("a<b>", 1_234_567), ("orders", 8)], ("fine & well",))


class ShowingTest(unittest.TestCase):
    def test_as_text_numbers_are_flushed_right(self) -> None:
        self.assertEqual(repr(Example()), "table        rows\na<b>    1,234,567\norders          8\nfine & well")

    def test_as_html_everything_is_escaped(self) -> None:
        html = Example()._repr_html_()
        self.assertIn("<tr><td>a&lt;b&gt;</td><td>1,234,567</td></tr>", html)
        self.assertIn("<p>fine &amp; well</p>", html)

    def test_without_rows_there_are_still_columns(self) -> None:
        self.assertEqual(Grid(("table", "rows"), []).text(), "table  rows")


if __name__ == "__main__":
    unittest.main()
