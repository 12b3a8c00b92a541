"""A preview fits its width, and cuts what can be spared."""

from __future__ import annotations

import io
import unittest
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import polars as pl

from emitter.cli.preview import print_rows
from emitter.testing import ManualClock
from emitter.truth.inspection import preview
from tests.support.shop import shop

ID = 794354201395200
FRAME = pl.DataFrame(
    {
        "customer_id": [ID, ID + 16],
        "event_time": [datetime(2026, 1, 1, 0, 0, second, 5, tzinfo=UTC) for second in (1, 2)],
        "email": ["somebody.with.a.long.name@example.com", None],
        "a_long_title": [1, 2],
    }
)


def printed(frame: pl.DataFrame, width: int) -> list[str]:
    out = io.StringIO()
    with redirect_stdout(out), mock.patch.dict("os.environ", {"COLUMNS": str(width)}):
        print_rows({"table": frame})
    return [line.rstrip() for line in out.getvalue().splitlines()]


class PreviewTest(unittest.TestCase):
    def test_with_room_for_all_nothing_is_cut(self) -> None:
        lines = printed(FRAME, 100)
        self.assertEqual(lines[0], "table")
        self.assertEqual(lines[1:3], [
            "                event_time",
            "    customer_id 2026-01-01 email                                 a_long_title",
        ])  # fmt: skip
        self.assertEqual(lines[3], f"{ID} 00:00:01   somebody.with.a.long.name@example.com            1")

    def test_titles_are_broken_before_text_is_cut_and_cut_before_ids(self) -> None:
        self.assertEqual(printed(FRAME, 75)[1:4], [
            "                event_time                                          a_long_",
            "    customer_id 2026-01-01 email                                      title",
            f"{ID} 00:00:01   somebody.with.a.long.name@example.com          1",
        ])  # fmt: skip
        narrow = printed(FRAME, 41)
        self.assertEqual([line.split()[-1] for line in narrow[1:4]], ["a_", "long_", "title"])
        self.assertEqual(narrow[4], f"{ID} 00:00:01   somebod…     1")
        self.assertEqual(printed(FRAME, 40)[-3], f"{ID} 00:00:01   somebod…    1")

    def test_no_title_of_the_shop_is_cut_at_80_characters(self) -> None:
        with TemporaryDirectory() as folder:
            config = shop(Path(folder), {"clock.start": "2026-03-01", "ecommerce.customers": 200_000})
            for name, frame in preview(config, 5, clock=ManualClock()).items():
                lines = printed(frame, 80)
                titles = lines[1 : -1 - frame.height]
                self.assertLessEqual(len(titles), 3, name)
                self.assertNotIn("…", "".join(titles), name)

    def test_times_of_several_days_are_written_out(self) -> None:
        days = pl.DataFrame({"at": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]})
        self.assertEqual(printed(days, 80)[2:4], ["2026-01-01 00:00:00", "2026-01-02 00:00:00"])

    def test_a_table_without_rows_says_so(self) -> None:
        self.assertIn("no rows within a day of the origin", printed(FRAME.clear(), 80))


if __name__ == "__main__":
    unittest.main()
