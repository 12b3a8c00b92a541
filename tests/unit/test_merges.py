"""Which files are merged: rows move few times, and a partition that is complete ends with few files."""

from __future__ import annotations

import unittest
from collections import Counter
from dataclasses import replace

from emitter.clock import parse_time, slot_of
from emitter.model import Slice, Window
from emitter.partitioning import PartitionSpec
from emitter.writers.base import file_name, is_file_name, is_merged_name, parse_file_name
from emitter.writers.merges import FILES_MAX, SmallFile, choose, small_file
from emitter.writers.upkeep import UpkeepPolicy

DAY = slot_of(parse_time("2026-03-02T00:00:00Z"))
SPEC = PartitionSpec()
POLICY = UpkeepPolicy()


def small(first: int, seconds: int = 10, rows: int = 40, slice: Slice = Slice()) -> SmallFile:
    window = Window(DAY + first, DAY + first + seconds)
    return SmallFile(f"t/{SPEC.path(DAY)}/{first}-{slice}-{rows}", SPEC.path(DAY), slice, window, rows, rows * 30)


def end_of(files: list[SmallFile]) -> int:
    return max(file.window.end for file in files)


def tended(files: list[SmallFile], slot: int, policy: UpkeepPolicy = POLICY) -> tuple[list[SmallFile], int]:
    """What a round makes of files, and the rows that it writes."""
    written = 0
    slices = {file.slice: slot for file in files}
    for merge in choose(files, slices, SPEC, policy):
        files = [file for file in files if file not in merge.files]
        rest = merge.rows
        while rest:
            rows = min(rest, policy.file_rows_target)
            made = replace(small(0, rows=rows, slice=merge.slice), window=merge.window)
            files.append(replace(made, path=f"{made.path}-{len(files)}-{written}"))
            rest -= rows
            written += rows
    return files, written


class MergesTest(unittest.TestCase):
    def test_a_day_of_batches_is_written_a_few_times_and_ends_as_few_files(self):
        files: list[SmallFile] = []
        written, most = 0, 0
        for batch in range(8_640):
            files.append(small(10 * batch))
            if batch % 20 == 0:
                files, more = tended(files, DAY + 10 * batch + 10)
                written += more
                most = max(most, len(files))
        for _ in range(5):
            files, more = tended(files, DAY + 90_000)
            written += more
        self.assertEqual(sum(file.rows for file in files), 40 * 8_640)
        self.assertLess(written / (40 * 8_640), 4)
        self.assertLess(most, 200)
        self.assertLessEqual(len(files), 8)

    def test_rows_that_are_late_do_not_write_a_closed_day_again_and_again(self):
        files, written = [small(0, 86_400, rows=100_000)], 0
        for late in range(400):
            files.append(replace(small(90_000 + late, 1, rows=2), partition=SPEC.path(DAY)))
            files, more = tended(files, DAY + 90_002 + late)
            written += more
        self.assertLess(written, 10_000)
        self.assertLess(len(files), 16)

    def test_slices_stay_apart(self):
        files = [small(10 * number, slice=Slice(number % 2, 2)) for number in range(200)]
        merges = choose(files, {Slice(0, 2): DAY + 3_000, Slice(1, 2): DAY + 3_000}, SPEC, POLICY)
        self.assertEqual(
            [Counter(file.slice for file in merge.files) for merge in merges], [{Slice(0, 2): 100}, {Slice(1, 2): 100}]
        )

    def test_the_newest_file_and_what_is_not_told_of_are_left_alone(self):
        files = [small(10 * number) for number in range(100)]
        (merge,) = choose(files, {Slice(): end_of(files)}, SPEC, POLICY)
        self.assertEqual(list(merge.files), files[:-1])
        self.assertEqual(merge.window, Window(DAY, DAY + 990))
        self.assertEqual(choose(files, {}, SPEC, POLICY), [])

    def test_what_is_half_full_is_left_alone(self):
        files = [small(10 * number, rows=POLICY.file_rows_target // 2 + 1) for number in range(100)]
        self.assertEqual(choose(files, {Slice(): DAY + 200_000}, SPEC, POLICY), [])

    def test_many_files_are_merged_in_pieces(self):
        files = [small(number, 1, rows=1) for number in range(2 * FILES_MAX + 10)]
        merges = choose(files, {Slice(): DAY + 90_000}, SPEC, POLICY)
        self.assertEqual([len(merge.files) for merge in merges], [670, 670, 670])

    def test_two_files_are_the_least(self):
        for count, merges in ((1, 0), (2, 1)):
            files = [small(10 * number) for number in range(count)]
            chosen = choose(files, {Slice(): DAY + 200_000}, SPEC, UpkeepPolicy(small_files_min=1))
            self.assertEqual(len(chosen), merges)

    def test_a_merged_file_tells_what_it_is(self):
        window = Window(DAY, DAY + 990)
        name = file_name(Slice(1, 4), window, 0, "0" * 16, is_merged=True)
        self.assertEqual(name, "20260302T000000Z-20260302T001630Z-1of4-m0-0000000000000000.parquet")
        self.assertEqual(parse_file_name(name), (Slice(1, 4), window))
        self.assertTrue(is_merged_name(name) and is_file_name(name))
        self.assertFalse(is_merged_name(file_name(Slice(), window, 0, "0" * 16)))

    def test_files_of_others_are_theirs(self):
        self.assertIsNone(small_file("t/part-0001.parquet", "", 10, 100))
        self.assertIsNone(small_file(f"t/{file_name(Slice(), Window(DAY, DAY + 1), 0, '0' * 16)}", "", None, 100))


if __name__ == "__main__":
    unittest.main()
