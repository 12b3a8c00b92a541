"""Upkeep of Delta tables that stays open from round to round, and reads only what came since."""

from __future__ import annotations

import json
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from emitter.clock import SystemClock
from emitter.errors import RolledBackError
from emitter.model import TASKS, ChoreReport
from emitter.storage.local import LocalStorage
from emitter.upkeep.rounds import Round
from emitter.writers.base import CrashHook, is_merged_name, no_crash
from emitter.writers.delta.tables import DeltaTables
from emitter.writers.delta.writer import DeltaWriter
from emitter.writers.upkeep import Chore, Upkeep, UpkeepPolicy
from tests.contract.beats import ORIGIN, TABLE
from tests.contract.delta_outputs import OnDisk
from tests.contract.test_delta_upkeep import NO_VERSIONS, DeltaUpkeepCase
from tests.contract.upkeep_contract import POLICY, SECONDS


class DeltaFollowingTest(OnDisk, DeltaUpkeepCase, unittest.TestCase):
    """The contract, where one process looks after the table all the time, and what it must notice."""

    writer_class = DeltaWriter

    def new_output(self) -> None:
        super().new_output()
        self.kept: dict[UpkeepPolicy, tuple[DeltaWriter, Upkeep]] = {}

    def tended(self, policy: UpkeepPolicy = POLICY, hook: CrashHook = no_crash) -> list[ChoreReport]:
        if hook is not no_crash:
            return super().tended(policy, hook)
        return list(self.round(policy).run(TASKS))

    def planned(self, policy: UpkeepPolicy = POLICY) -> list[Chore]:
        return self.round(policy).plan(TASKS)

    def round(self, policy: UpkeepPolicy) -> Round:
        # A thread that looks after the table as well is another process.
        if threading.current_thread() is not threading.main_thread():
            return Round(self.opened().upkeep(policy), [TABLE.name], SystemClock(), threading.Event())
        if policy not in self.kept:
            writer = self.opened()
            self.kept[policy] = writer, writer.upkeep(policy)
        return Round(self.kept[policy][1], [TABLE.name], SystemClock(), threading.Event())

    @contextmanager
    def loads(self) -> Iterator[list[str]]:
        """The tables that the library has loaded meanwhile."""
        loaded, real = [], DeltaTables.load

        def load(tables: DeltaTables, table: str) -> DeltaTable | None:
            loaded.append(table)
            return real(tables, table)

        with patch.object(DeltaTables, "load", load):
            yield loaded

    def live(self) -> set[str]:
        root = f"{self.root}/{TABLE.name}/"
        return {uri.removeprefix("file://").removeprefix(root) for uri in self.handle().file_uris()}

    def test_the_library_loads_a_table_once(self):
        count = self.written(12)
        self.assert_went_well(self.tended())
        with self.loads() as loaded:
            for _ in range(3):
                count = self.written(6, first=count)
                loaded.clear()  # what the writer has loaded
                reports = [*self.round(POLICY).run(("compact", "vacuum"))]
                self.assert_went_well(reports)
                self.assertEqual([report.task for report in reports], ["compact"])
                self.assertEqual(self.kept[POLICY][0].size(TABLE.name).files, len(self.live()))
                self.assertEqual(loaded, [])
        self.assert_whole(count)

    def test_rows_that_somebody_deleted_between_two_rounds_do_not_come_back(self):
        count = self.written(12)
        self.planned()
        self.handle().delete(f"beat_id < {ORIGIN + 2}")
        self.assert_went_well(self.tended())
        self.assertEqual(self.handle().count(), count * SECONDS - 2)
        self.assertEqual(sum(map(is_merged_name, self.live())), 1)

    def test_what_somebody_else_compacted_is_taken_in(self):
        count = self.written(12)
        self.planned()
        self.handle().optimize.compact()
        count = self.written(12, first=count)
        self.assert_went_well(self.tended())
        self.assertEqual(self.kept[POLICY][0].size(TABLE.name).files, len(self.live()))
        self.assert_whole_for_readers(count)

    def test_a_restore_between_two_rounds_is_looked_at_anew(self):
        count = self.written(12)
        version = self.handle().version()
        self.assert_went_well(self.tended())
        self.handle().restore(version)
        with self.loads() as loaded:
            self.assertEqual([chore.files for chore in self.planned() if chore.task == "compact"], [11])
        self.assertEqual(loaded[:1], [TABLE.name])
        self.assert_went_well(self.tended())
        self.assert_whole(count)

    def test_what_is_behind_a_gap_in_the_log_is_seen(self):
        count, writer = self.written(12), self.opened()
        writer._clock = clock = _Later()
        round_, before = Round(writer.upkeep(POLICY), [TABLE.name], clock, threading.Event()), self.handle().version()
        self.assert_went_well([*round_.run(("compact", "vacuum"))])
        last = self.handle().version()
        handle = self.handle()
        handle.create_write_transaction([], "append", handle.schema(), handle.metadata().partition_columns)
        self.handle().restore(before)
        self.handle().create_checkpoint()
        (
            self.root / TABLE.name / "_delta_log" / f"{last + 1:020d}.json"
        ).unlink()  # by a clean-up, which is killed then
        clock.ahead_seconds = POLICY.keep_seconds + 60
        self.assert_went_well([*round_.run(("vacuum",))])
        self.assertEqual(self.live() - self.data_files(), set())
        self.assert_whole_for_readers(count)

    def test_a_table_that_somebody_made_anew_is_refused(self):
        self.written(12)
        self.assert_went_well(self.tended())
        schema, folders = self.handle().schema(), self.handle().metadata().partition_columns
        (self.root / TABLE.name).rename(self.root / "elsewhere")
        DeltaTable.create(self.uri(), schema, partition_by=folders)
        for _ in range(20):
            self.handle().create_write_transaction([], "append", schema, folders)
        problems = {report.problem for report in self.tended()}
        self.assertEqual(len(problems), 1)
        self.assertRegex(problems.pop(), "somebody has replaced it")
        with self.assertRaises(RolledBackError):
            self.planned()

    def test_what_was_replaced_goes_when_it_is_old_and_not_before(self):
        writer, count = self.opened(), self.written(12)
        writer._clock = clock = _Later()
        round_ = Round(writer.upkeep(POLICY), [TABLE.name], clock, threading.Event())
        self.assert_went_well([*round_.run(TASKS)])
        count = self.written(6, first=count)
        self.assert_went_well([*round_.run(TASKS)])
        self.assertEqual(len(self.data_files()), count + 2)
        clock.ahead_seconds = POLICY.keep_seconds + 60
        with self.loads() as loaded:
            self.assert_went_well([*round_.run(("vacuum",))])
        self.assertEqual((loaded, self.data_files()), ([], self.live()))
        self.assert_whole(count)

    def test_so_it_does_where_others_look_after_the_table_meanwhile(self):
        """Who has just begun to, in a process of its own, reads when it was replaced: first in entries, then also in a
        checkpoint.
        """
        for tasks in (("compact",), ("compact", "checkpoint")):
            with self.subTest(tasks=tasks):
                self.new_output()
                count = self.written(12)
                self.assert_went_well([*self.round(POLICY).run(tasks)])
                count = self.written(6, first=count)
                self.assert_went_well([*self.round(POLICY).run(("compact",))])
                writer = self.opened()
                writer._clock = clock = _Later()
                round_ = Round(writer.upkeep(POLICY), [TABLE.name], clock, threading.Event())
                with patch.object(DeltaTable, "vacuum") as of_library:
                    self.assertEqual([*round_.run(("vacuum",))], [])
                    self.assertEqual(len(self.data_files()), count + 2)
                    clock.ahead_seconds = POLICY.keep_seconds + 60
                    self.assert_went_well([*round_.run(("vacuum",))])
                of_library.assert_not_called()
                self.assertEqual(self.data_files(), self.live())
                self.assert_whole(count)

    def test_what_was_replaced_and_is_back_stays(self):
        count, version = self.written(12), self.handle().version()
        self.assert_went_well([*self.round(POLICY).run(("compact", "checkpoint"))])
        self.handle().restore(version)
        writer = self.opened()
        writer._clock = clock = _Later()
        round_ = Round(writer.upkeep(POLICY), [TABLE.name], clock, threading.Event())
        clock.ahead_seconds = POLICY.keep_seconds + 60
        self.assert_went_well([*round_.run(("vacuum",))])
        self.assertEqual(self.live() - self.data_files(), set())
        self.assert_whole_for_readers(count)

    def data_files(self) -> set[str]:
        found = (file.path.removeprefix(f"{TABLE.name}/") for file in self.storage.walk(TABLE.name))
        return {path for path in found if path.endswith(".parquet") and not path.startswith("_")}

    def test_a_log_is_cleaned_up_without_the_library_and_without_a_gap(self):
        log, count = self.root / TABLE.name / "_delta_log", self.written(12)
        self.assert_went_well([*self.round(NO_VERSIONS).run(("checkpoint", "expire"))])
        count = self.written(40, first=count)
        self.assert_went_well([*self.round(NO_VERSIONS).run(("checkpoint",))])
        summed_up, count = self.handle().version(), self.written(3, first=count)
        half = log / f"{summed_up + 1:020d}.checkpoint.0000000001.0000000002.parquet"
        half.touch()
        removed, real = [], LocalStorage.remove

        def remove(storage: LocalStorage, path: str) -> None:
            removed.append(path)
            real(storage, path)

        with self.loads() as loaded, patch.object(LocalStorage, "remove", remove):
            self.assert_went_well([*self.round(NO_VERSIONS).run(("expire",))])
        half.unlink()
        self.assertEqual((loaded, removed), ([], sorted(removed)))
        self.assertEqual(min(path.name for path in log.glob("*.json"))[:20], f"{summed_up:020d}")
        self.assert_whole(count)

    def test_a_checkpoint_is_the_librarys_own_though_it_reads_one_entry(self):
        count = self.written(12)
        self.assert_went_well(self.tended())
        count = self.written(70, first=count)
        self.assert_went_well([*self.round(POLICY).run(("compact",))])
        count = self.written(8, first=count)
        self.assert_summed_up_without_the_library()
        self.assert_whole(count)

    def test_so_is_the_first_of_a_table_and_one_after_its_properties_were_changed(self):
        count = self.written(9)
        self.handle().alter.set_table_properties({"delta.appendOnly": "false"})
        count = self.written(11, first=count)
        self.assert_went_well([*self.round(POLICY).run(("compact",))])
        self.assert_summed_up_without_the_library()
        self.handle().alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 seconds"})
        count = self.written(60, first=count)
        self.round(POLICY).plan(("compact",))  # looks at it anew
        self.assert_summed_up_without_the_library()
        self.assertEqual(self.removed_in_checkpoint(), 0)
        self.assert_whole(count)

    def test_without_the_first_entry_and_a_checkpoint_that_is_told_of_the_library_makes_one(self):
        log, count = self.root / TABLE.name / "_delta_log", self.written(30)
        self.handle().create_checkpoint()
        (log / "_last_checkpoint").unlink()
        count = self.written(12, first=count)
        (log / f"{0:020d}.json").unlink()
        round_ = self.round(POLICY)
        with self.loads() as loaded:
            self.assert_went_well([*round_.run(("checkpoint",))])
        self.assertEqual(len(loaded), 2)  # to look at it, and to sum it up
        self.assertEqual(self.opened()._delta.log.checkpoint_version(TABLE.name), self.handle().version())
        self.assert_whole(count)

    def assert_summed_up_without_the_library(self) -> None:
        """A checkpoint is made without a look at the table itself, and is what the library would have made of it."""
        with self.loads() as loaded:
            self.assert_went_well([*self.round(POLICY).run(("checkpoint",))])
        self.assertEqual(loaded, [])
        log = self.root / TABLE.name / "_delta_log"
        path, hint = log / f"{self.handle().version():020d}.checkpoint.parquet", log / "_last_checkpoint"
        ours = path.read_bytes(), hint.read_bytes()
        path.unlink()
        hint.unlink()
        self.handle().create_checkpoint()
        told, of_library = json.loads(ours[1]), json.loads(hint.read_text())
        self.assertEqual(told, {**of_library, "sizeInBytes": len(ours[0])})  # the rows may be in another order
        made, expected = (
            sorted(map(str, pq.read_table(file).to_pylist())) for file in (pa.BufferReader(ours[0]), path)
        )
        self.assertEqual(made, expected)
        self.assertEqual(pq.read_schema(pa.BufferReader(ours[0])), pq.read_schema(path))

    def removed_in_checkpoint(self) -> int:
        """Of how many files the newest one says that they were removed."""
        log = self.root / TABLE.name / "_delta_log"
        removed = pq.read_table(max(log.glob("*.checkpoint.parquet")))["remove"]
        return len(removed) - removed.null_count

    def test_a_checkpoint_tells_of_properties_that_were_changed_since_the_last(self):
        self.written(12)
        self.assert_went_well(self.tended())
        count = self.written(70, first=12)
        self.handle().alter.set_table_properties({"delta.checkpointInterval": "30"})
        self.assertEqual(self.kept[POLICY][0].size(TABLE.name).files, len(self.live()))
        self.assert_went_well([*self.round(POLICY).run(("checkpoint",))])
        self.assertEqual(self.opened()._delta.log.checkpoint_version(TABLE.name), self.handle().version())
        for path in (self.root / TABLE.name / "_delta_log").glob("*.json"):
            path.unlink()
        self.assertEqual(self.handle().metadata().configuration["delta.checkpointInterval"], "30")
        self.assertEqual(self.handle().count(), count * SECONDS)

    def test_a_checkpoint_that_tells_of_what_is_gone_is_followed_by_another(self):
        count = self.written(120)
        self.handle().create_checkpoint()
        (large,) = (self.root / TABLE.name / "_delta_log").glob("*.checkpoint.parquet")
        self.assert_went_well(self.tended(NO_VERSIONS))
        count = self.written(12, first=count)
        entries = sorted((self.root / TABLE.name / "_delta_log").glob("*.json"))[-12:]
        self.assertLess(sum(path.stat().st_size for path in entries), large.stat().st_size)
        self.assertIn("checkpoint", [chore.task for chore in self.planned(NO_VERSIONS)])
        self.assert_whole(count)


class _Later(SystemClock):
    """The system's clock, put forward."""

    ahead_seconds = 0.0

    def wall_seconds(self) -> float:
        return super().wall_seconds() + self.ahead_seconds


if __name__ == "__main__":
    unittest.main()
