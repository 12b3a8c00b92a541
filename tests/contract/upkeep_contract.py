"""What the upkeep of every format must do: one suite for all of them, on every storage and catalogue."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

from emitter import priority
from emitter.clock import SystemClock
from emitter.errors import OvertakenError
from emitter.model import ChoreReport, Slice, TableCommit
from emitter.storage.base import StoredFile
from emitter.testing import SimulatedCrash
from emitter.upkeep.rounds import Round
from emitter.writers.base import CrashHook, no_crash
from emitter.writers.leftovers import Leftovers
from emitter.writers.parts import DataFile, Part
from emitter.writers.upkeep import TASKS, Chore, Done, UpkeepPolicy
from tests.contract.beats import ORIGIN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.contract.writer_contract import OutputCase, crash_at

SECONDS = 4  # of each commit: so many rows
EDGE = 60  # where the second partition begins
POLICY = UpkeepPolicy(small_files_min=5, file_rows_target=1_000, keep_seconds=3_600)
AT_ONCE = UpkeepPolicy(small_files_min=5, file_rows_target=1_000, keep_seconds=0, versions_max=1, orphan_seconds=0)
"""For outputs that nobody else reads or writes at the time: everything is old enough."""


class UpkeepCase(OutputCase):
    """An output that is written in small commits, and looked after."""

    def written(self, count: int, slice: Slice = WHOLE, *, first: int = 0) -> int:
        """So many small commits, from one of them on; where the next one begins."""
        writer = self.opened()
        known = writer.recover(slice, TABLE.name)
        slot = known.slot if known else None
        for number in range(first, first + count):
            report = write(writer, window(number * SECONDS, (number + 1) * SECONDS), slot, slice)
            slot = report.slot
        writer.close()
        return first + count

    def tended(self, policy: UpkeepPolicy = POLICY, hook: CrashHook = no_crash) -> list[ChoreReport]:
        """A round of a process of its own."""
        writer = self.opened(hook)
        try:
            round_ = Round(writer.upkeep(policy), [TABLE.name], SystemClock(), threading.Event())
            return list(round_.run(TASKS))
        finally:
            writer.close()

    def urgent_seen(self, owner: object, name: str) -> list[bool]:
        """Of each call of a method in a round, whether it has the priority of the appends that wait for it."""
        method, seen = getattr(owner, name), []

        def noted(*arguments: Any) -> Any:
            seen.append(threading.current_thread().name.startswith("urgent"))
            return method(*arguments)

        urgent = ThreadPoolExecutor(1, thread_name_prefix="urgent")
        with urgent, patch.object(priority, "_urgent", urgent), patch.object(owner, name, noted):
            self.tended(AT_ONCE)
        return seen

    def planned(self, policy: UpkeepPolicy = POLICY) -> list[Chore]:
        writer = self.opened()
        try:
            return Round(writer.upkeep(policy), [TABLE.name], SystemClock(), threading.Event()).plan(TASKS)
        finally:
            writer.close()

    def assert_whole(self, commits: int, slices: Sequence[Slice] = (WHOLE,)) -> None:
        """Every row is there once, as it was made, and the progress tells of all of them."""
        writer, asked = self.opened(), window(0, commits * SECONDS)
        self.assertEqual(found(writer, asked), in_order(rows(asked)))
        progress = writer.progress(TABLE.name)
        self.assertEqual({slice: known.slot for slice, known in progress.items()}, dict.fromkeys(slices, asked.end))
        self.assertEqual(sum(known.rows for known in progress.values()), asked.seconds)
        for slice, known in progress.items():
            writer.check_not_set_back(slice, TABLE.name, known, known.slot)
        writer.close()

    def assert_went_well(self, reports: Sequence[ChoreReport]) -> None:
        self.assertEqual([report.problem for report in reports if report.problem], [])


class UpkeepContract(UpkeepCase):
    """Subclasses also say what the output is."""

    def test_an_output_without_tables_asks_for_nothing(self):
        self.assertEqual(self.planned(), [])
        self.assertEqual(self.tended(), [])

    def test_a_plan_changes_nothing(self):
        self.written(20)
        before = {file.path: file.size_bytes for file in self.storage.walk(TABLE.name)}
        self.planned(AT_ONCE)
        self.assertEqual({file.path: file.size_bytes for file in self.storage.walk(TABLE.name)}, before)

    def test_a_round_leaves_every_row_and_the_progress(self):
        count = self.written(30)
        before = self.opened().size(TABLE.name)
        self.assert_went_well(self.tended())
        self.assert_whole(count)
        after = self.opened().size(TABLE.name)
        if "compact" in self.opened().upkeep(POLICY).tasks:
            self.assertLess(after.files, before.files / 3)
        count = self.written(10, first=count)
        self.assert_whole(count)
        self.assert_went_well(self.tended(AT_ONCE))
        self.assert_whole(count)

    def test_rounds_come_to_an_end(self):
        count = self.written(20)
        for _ in range(4):
            self.assert_went_well(self.tended(AT_ONCE))
        left = [chore for chore in self.planned(AT_ONCE) if chore.task in ("compact", "vacuum")]
        self.assertEqual(left, [])
        self.assert_whole(count)

    def test_what_a_plan_says_is_what_is_done(self):
        self.written(20)
        planned = [chore for chore in self.planned() if chore.task == "compact"]
        done = [report for report in self.tended() if report.task == "compact"]
        self.assertEqual([chore.partition for chore in planned], [report.partition for report in done])
        self.assertEqual(sum(chore.files for chore in planned), sum(report.files_removed for report in done))

    def test_a_crash_at_any_point_loses_and_doubles_nothing(self):
        points = self.opened().upkeep(POLICY).crash_points
        for point in points:
            with self.subTest(point=point):
                self.new_output()
                count = self.written(12)
                passed: list[str] = []
                crash = crash_at(point, 1)

                def hook(reached: str, passed: list[str] = passed, crash: CrashHook = crash) -> None:
                    passed.append(reached)
                    crash(reached)

                with self.assertRaises(SimulatedCrash):
                    self.tended(AT_ONCE, hook)
                self.assertIn(point, passed)
                self.assert_whole(count)
                self.assert_went_well(self.tended(AT_ONCE))
                count = self.written(3, first=count)
                self.assert_went_well(self.tended(AT_ONCE))
                self.assert_whole(count)

    def test_appends_go_on_beside_it(self):
        count = self.written(12)
        ended = threading.Event()

        def tend_all_the_time() -> list[ChoreReport]:
            reports = []
            while not ended.is_set():
                reports += self.tended()
            return reports

        with ThreadPoolExecutor(1) as pool:
            tending = pool.submit(tend_all_the_time)
            try:
                count = self.written(25, first=count)
            finally:
                ended.set()
            tending.result()
        self.assert_whole(count)
        self.assert_went_well(self.tended())
        self.assert_whole(count)

    def test_two_at_once_do_no_harm(self):
        count = self.written(24)
        with ThreadPoolExecutor(2) as pool:
            for reports in pool.map(lambda _: self.tended(), range(2)):
                self.assertTrue(all(report.files_removed >= 0 for report in reports))
        self.assert_whole(count)
        self.assert_went_well(self.tended())
        self.assert_whole(count)

    def test_slices_are_looked_after_together(self):
        halves = Slice(0, 2), Slice(1, 2)
        for half in halves:
            count = self.written(15, half)
        self.assert_went_well(self.tended(AT_ONCE))
        self.assert_whole(count, halves)

    def test_what_is_staged_may_still_be_committed(self):
        count = self.written(12)
        writer, asked = self.opened(), window(count * SECONDS, (count + 1) * SECONDS)
        known = writer.recover(WHOLE, TABLE.name)
        staged = tuple(writer.stage(WHOLE, asked, file) for file in files(asked))
        self.assert_went_well(self.tended())
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, known.slot, asked.end, staged)]))
        writer.close()
        self.assert_whole(count + 1)

    def test_what_nobody_committed_is_removed_when_it_is_old(self):
        count = self.written(3)
        writer, asked = self.opened(), window(count * SECONDS, (count + 1) * SECONDS)
        staged = [writer.stage(WHOLE, asked, file) for file in files(asked)]
        writer.close()
        self.assert_went_well(self.tended(AT_ONCE))
        for file in staged:
            folder, _, name = file.staged_path.rpartition("/")
            self.assertNotIn(name, [entry.name for entry in self.storage.list(folder)])
        self.assert_whole(count)
        self.written(2, first=count)
        self.assert_whole(count + 2)

    def test_what_is_staged_again_while_old_files_go_stays(self):
        """A writer was killed before its commit, and comes back just as upkeep has found what it left."""
        count = self.written(3)
        asked = window(count * SECONDS, (count + 1) * SECONDS)
        killed = self.opened()
        for file in files(asked):
            killed.stage(WHOLE, asked, file)
        killed.close()
        tending, real, staged = self.opened(), Leftovers.remove, []

        def remove(leftovers: Leftovers, found: Iterable[StoredFile], *more: Any) -> Done:
            found = list(found)
            if found and not staged:
                writer = self.opened()
                known = writer.recover(WHOLE, TABLE.name)
                staged.extend(writer.stage(WHOLE, asked, file) for file in files(asked))
                list(writer.commit(WHOLE, [TableCommit(TABLE.name, known.slot, asked.end, tuple(staged))]))
                writer.close()
            return real(leftovers, found, *more)

        if self.storage.has_locks:  # elsewhere a second is as long as the time of a file is exact
            with patch.object(Leftovers, "remove", remove):
                round_ = Round(tending.upkeep(AT_ONCE), [TABLE.name], SystemClock(), threading.Event())
                self.assert_went_well(list(round_.run(TASKS)))
            self.assertEqual(len(staged), len(files(asked)))
            self.assert_whole(count + 1)
        tending.close()

    def test_a_reader_that_had_begun_reads_to_the_end(self):
        count = self.written(20)
        writer = self.opened()
        with writer.contents(TABLE) as contents:
            parts = list(contents)
            for _ in range(2):
                self.assert_went_well(self.tended())
            self.assertEqual(sum(map(self._rows_of, parts)), count * SECONDS)
        writer.close()

    def _rows_of(self, part: Part) -> int:
        if part.read:
            return sum(batch.num_rows for batch in part.read())
        with DataFile(self.storage, part.name) as file:
            return file.footer.num_rows

    def test_what_came_after_the_plan_is_kept(self):
        count = self.written(12)
        planning = self.opened()
        upkeep = planning.upkeep(POLICY)
        plan = [chore for task in upkeep.tasks for chore in upkeep.plan(task, TABLE.name)]
        count = self.written(4, first=count)
        other = self.tended()
        self.assert_went_well(other)
        count = self.written(4, first=count)
        round_ = Round(upkeep, [TABLE.name], SystemClock(), threading.Event())
        self.assert_went_well([round_.do(chore) for chore in plan])
        planning.close()
        self.assert_whole(count)

    def test_a_stale_writer_is_refused_after_it_as_before(self):
        count = self.written(12)
        self.tended(AT_ONCE)
        writer, asked = self.opened(), window(0, SECONDS)
        with self.assertRaises(OvertakenError):
            write(writer, asked, None)
        writer.close()
        self.assert_whole(count)

    def test_many_rounds_and_appends_in_turn(self):
        count = 0
        for length, policy in zip((7, 1, 12, 5), itertools.cycle((POLICY, AT_ONCE)), strict=False):
            count = self.written(length, first=count)
            self.assert_went_well(self.tended(policy))
        self.assert_whole(count)
        self.assertEqual(ORIGIN + count * SECONDS, self.opened().progress(TABLE.name)[WHOLE].slot)
