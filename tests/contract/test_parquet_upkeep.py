"""Upkeep of Parquet outputs: what nobody will ever commit goes, on a disk and on S3, and no row does."""

from __future__ import annotations

import unittest

from emitter.model import Slice, StagedFile, TableCommit
from emitter.testing import SimulatedCrash
from emitter.writers.parquet.progress import earlier_staging_of, staging_of
from emitter.writers.parquet.writer import ParquetWriter
from tests.contract.beats import TABLE, WHOLE, files, window, write
from tests.contract.upkeep_contract import AT_ONCE, SECONDS, UpkeepContract
from tests.contract.writer_contract import crash_at

HALVES = Slice(0, 2), Slice(1, 2)
COMMIT_POINTS = ("parquet.staged", "parquet.intent", "parquet.rename", "parquet.renamed", "parquet.progress")


class ParquetUpkeepContract(UpkeepContract):
    """The contract, and what only Parquet does."""

    writer_class = ParquetWriter

    commits_together = 1  # written as one: nothing here goes by their number, and on S3 each takes its time

    def written(self, count: int, slice: Slice = WHOLE, *, first: int = 0) -> int:
        """And then a batch that was staged and not committed, as there would be nothing to do."""
        count = self.appended(count, slice, first=first)
        self.staged(count, slice)
        return count

    def appended(self, count: int, slice: Slice = WHOLE, *, first: int = 0) -> int:
        writer, end = self.opened(), first + count
        known = writer.recover(slice, TABLE.name)
        slot = known.slot if known else None
        for number in range(first, end, self.commits_together):
            next_number = min(number + self.commits_together, end)
            slot = write(writer, window(number * SECONDS, next_number * SECONDS), slot, slice).slot
        return end

    def staged(self, number: int, slice: Slice = WHOLE, writer: ParquetWriter | None = None) -> tuple[StagedFile, ...]:
        writer, asked = writer or self.opened(), window(number * SECONDS, (number + 1) * SECONDS)
        return tuple(writer.stage(slice, asked, file) for file in files(asked, slice))

    def paths(self) -> list[str]:
        return sorted(file.path for folder in (TABLE.name, "_emitter") for file in self.storage.walk(folder))

    def left(self, staged: tuple[StagedFile, ...]) -> list[str]:
        paths = set(self.paths())
        return [file.staged_path for file in staged if file.staged_path in paths]

    def test_nothing_that_is_young_goes(self):
        self.written(3)
        before = self.paths()
        self.assertEqual(self.tended(), [])
        self.assertEqual(self.paths(), before)

    def test_it_says_what_it_removed(self):
        count = self.written(3)
        staged = self.staged(count + 1)
        (chore,) = self.planned(AT_ONCE)
        (report,) = self.tended(AT_ONCE)
        self.assertEqual((chore.task, chore.files), ("vacuum", 2))
        self.assertEqual((report.task, report.files_removed, report.bytes_removed), ("vacuum", 2, chore.size_bytes))
        self.assertEqual(self.left(staged), [])

    def test_what_an_intent_names_stays_wherever_its_commit_was_interrupted(self):
        for point in COMMIT_POINTS:
            with self.subTest(point=point):
                self.new_output()
                count = self.written(3)
                writer = self.opened(crash_at(point, 1))
                known = writer.recover(WHOLE, TABLE.name)
                with self.assertRaises(SimulatedCrash):
                    write(writer, window(count * SECONDS, (count + 1) * SECONDS), known.slot)
                self.assert_went_well(self.tended(AT_ONCE))
                self.assert_went_well(self.tended(AT_ONCE))
                stands = self.opened().recover(WHOLE, TABLE.name)
                count = self.written(2, first=count + (stands.slot > known.slot))
                self.assert_whole(count)

    def test_what_the_progress_has_passed_goes_though_the_slice_is_written(self):
        count = self.written(2)
        writer = self.opened()
        with writer.hold(WHOLE):
            known = writer.recover(WHOLE, TABLE.name)
            late = self.staged(count)  # by a writer that was overtaken, and does not know it
            write(writer, window(count * SECONDS, (count + 1) * SECONDS), known.slot)
            self.assert_went_well(self.tended(AT_ONCE))
            self.assertEqual(self.left(late), [])
            write(writer, window((count + 1) * SECONDS, (count + 2) * SECONDS), window(0, (count + 1) * SECONDS).end)
        self.assert_whole(count + 2)

    def test_slices_of_a_shard_count_that_is_gone_leave_nothing(self):
        for half in HALVES:
            count = self.appended(4, half)
            self.staged(count, half)
        self.staged(0, Slice(2, 3))  # which never committed
        self.assert_went_well(self.tended(AT_ONCE))
        gone = Slice(2, 3)
        left = [path for path in self.paths() if path.endswith(".staged") and f"/{gone}/" not in path]
        self.assertEqual(left, [])
        self.assert_whole(count, HALVES)

    def test_where_earlier_releases_staged_is_looked_at_too(self):
        count = self.written(2)
        (staged,) = self.staged(count + 1)
        earlier = staged.staged_path.replace(staging_of(TABLE.name, WHOLE), earlier_staging_of(TABLE.name, WHOLE))
        self.storage.rename(staged.staged_path, earlier)
        self.assert_went_well(self.tended(AT_ONCE))
        self.assertNotIn(earlier, self.paths())
        self.assert_whole(count)

    def test_nothing_else_is_touched(self):
        count = self.appended(3)
        others = (
            f"{TABLE.name}/year=2026/month=01/day=01/part-0.txt",
            f"{TABLE.name}/_foreign/0-of-1/x",
            f"{staging_of(TABLE.name, WHOLE)}/notes.txt",
            f"_emitter/staging/{TABLE.name}/elsewhere/x.parquet.staged",
            "_emitter/locks/0-of-7.lock",
            "_emitter/leases/0-of-7.json",
        )
        for path in others:
            self.storage.write(path, b"{}")
        before = self.paths()
        self.assertEqual(self.tended(AT_ONCE), [])
        self.assertEqual(self.paths(), before)
        self.assert_whole(count)


class ParquetUpkeepTest(ParquetUpkeepContract, unittest.TestCase):
    def test_a_start_goes_through_no_file_from_before(self):
        count = self.written(20)
        for behind in (0, 1, 4):
            paths = list(self.opened().paths_from(TABLE.name, window(0, (count - behind) * SECONDS).end))
            self.assertEqual(len(paths), behind)

    def test_what_a_live_process_has_staged_is_its_own_however_old(self):
        count = self.written(2)
        writer = self.opened()
        with writer.hold(WHOLE):
            known = writer.recover(WHOLE, TABLE.name)
            staged = self.staged(count, writer=writer)
            self.assertEqual(self.tended(AT_ONCE), [])
            list(writer.commit(WHOLE, [TableCommit(TABLE.name, known.slot, known.slot + SECONDS, staged)]))
            again = self.staged(count + 1, writer=writer)
        self.assert_went_well(self.tended(AT_ONCE))
        self.assertEqual(self.left(again), [])
        self.assert_whole(count + 1)

    def test_what_a_kill_left_of_a_write_goes_from_wherever_it_was(self):
        count = self.written(2)
        for path in self.paths():
            folder, _, name = path.rpartition("/")
            self.storage.write(f"{folder}/.{name}.4711-4712-3.tmp", b"1")
        (report,) = self.tended(AT_ONCE)
        self.assertGreater(report.files_removed, 3)
        self.assertEqual([path for path in self.paths() if path.endswith(".tmp")], [])
        self.assert_whole(count)


if __name__ == "__main__":
    unittest.main()
