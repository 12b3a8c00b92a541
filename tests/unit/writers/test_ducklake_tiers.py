"""Which files of a partition become one, over a long day of commits: few files, and few times that a row is written."""

from __future__ import annotations

import unittest
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from emitter.clock import parse_time, slot_of
from emitter.model import Slice, Window
from emitter.writers.base import file_name
from emitter.writers.ducklake.files import LakeFile
from emitter.writers.ducklake.tiers import groups
from emitter.writers.upkeep import UpkeepPolicy

DAY = slot_of(parse_time("2026-03-02T00:00:00Z"))
POLICY = UpkeepPolicy(small_files_min=50, file_rows_target=250_000)
WHOLE = Slice()


def appended(number: int, rows: int = 200, slice: Slice = WHOLE, day: int = 2, seconds: int = 10) -> LakeFile:
    window = Window(DAY + number * seconds, DAY + (number + 1) * seconds)
    return LakeFile(
        path=f"/out/orders/day={day}/{file_name(slice, window, 0, f'{number:016x}')}",
        partition=(2026, 3, day),
        has_deletes=False,
        size_bytes=rows * 20,
        rows=rows,
        goes_by_ids=False,
        number=number,
        partition_id=1,
        first_snapshot=number,
        last_snapshot=number,
        row_id_start=number * rows,
        is_plain=True,
    )


def merged(group: list[LakeFile]) -> LakeFile:
    rows = sum(file.rows for file in group)
    return replace(group[0], path=f"/out/orders/day=2/merged-{group[0].number}.parquet", rows=rows)


def planned(files: Iterable[LakeFile], policy: UpkeepPolicy = POLICY, *, closed: bool = False) -> list[list[LakeFile]]:
    return groups(files, policy, lambda partition: closed)


class TiersTest(unittest.TestCase):
    def test_over_a_long_day_files_stay_few_and_rows_are_written_a_few_times(self):
        files: dict[int, LakeFile] = {}
        written, most, commits = Counter[str](), 0, 86_400
        for number in range(commits):
            files[number] = appended(number, rows=40, seconds=1)
            written["appended"] += 40
            if number % 60 == 59:  # a round
                for group in planned(files.values()):
                    for file in group:
                        del files[file.number]
                    files[group[0].number] = merged(group)
                    written["merged"] += files[group[0].number].rows
                most = max(most, len(files))
        self.assertEqual(sum(file.rows for file in files.values()), commits * 40)
        self.assertLess(written["merged"] / written["appended"], 4)
        full = [file for file in files.values() if file.rows * 2 >= POLICY.file_rows_target]
        self.assertGreater(len(full), 10)
        self.assertLess(most - len(full), 110)  # a minute of appended files among them
        for group in planned(files.values(), closed=True):
            for file in group:
                del files[file.number]
            files[group[0].number] = merged(group)
        self.assertLess(len(files), 60)

    def test_the_newest_appended_file_of_each_slice_stays(self):
        halves = Slice(0, 2), Slice(1, 2)
        files = [appended(2 * number + half.index, slice=half) for number in range(100) for half in halves]
        files += [appended(1_000 + number, slice=halves[0], day=3) for number in range(4)]
        (group,) = planned(files)
        left = {file.number for file in files} - {file.number for file in group}
        self.assertEqual(left, {199, 1_000, 1_001, 1_002, 1_003})  # in the last partition of each
        self.assertEqual([file.number for file in group], sorted(file.number for file in group))

    def test_few_files_wait_and_fewer_where_nothing_more_comes(self):
        files = [appended(number) for number in range(50)]
        self.assertEqual(planned(files), [])  # the newest does not count
        self.assertEqual([len(group) for group in planned([*files, appended(50)])], [50])
        self.assertEqual([len(group) for group in planned(files[:9], closed=True)], [8])
        self.assertEqual(planned(files[:8], closed=True), [])

    def test_full_files_stay_and_no_file_grows_beyond_the_rows_wanted(self):
        sizes = count(1)
        files = [appended(next(sizes), rows=rows) for rows in [125_000] * 60 + [90_000] * 60 + [124_999, 1]]
        made = planned(files)
        self.assertEqual({len(group) for group in made}, {2})
        self.assertTrue(all(sum(file.rows for file in group) <= POLICY.file_rows_target for group in made))
        self.assertNotIn(125_000, [file.rows for group in made for file in group])

    def test_a_group_is_bounded(self):
        files = [appended(number, rows=1) for number in range(1_200)]
        self.assertEqual([len(group) for group in planned(files)], [300, 300, 300, 299])


if __name__ == "__main__":
    unittest.main()
