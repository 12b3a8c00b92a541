"""The contract of upkeep where storage or catalogue is a server: it takes longer there, and differs in little."""

from __future__ import annotations

import dataclasses
import threading
import unittest
from unittest.mock import patch

import duckdb

from emitter.clock import SystemClock
from emitter.errors import OvertakenError
from emitter.model import ChoreReport, TableCommit
from emitter.storage.base import StoredFile
from emitter.upkeep.rounds import Round
from emitter.writers.parquet.progress import staging_of
from emitter.writers.upkeep import UpkeepPolicy
from tests.contract import ducklake_outputs, iceberg_case
from tests.contract.beats import ORIGIN, TABLE, WHOLE, window
from tests.contract.delta_outputs import OnS3
from tests.contract.ducklake_outputs import commit, outcomes
from tests.contract.test_delta_upkeep import DeltaUpkeepCase
from tests.contract.test_ducklake_faults import at
from tests.contract.test_ducklake_upkeep import DuckLakeUpkeepCase
from tests.contract.test_iceberg_upkeep import IcebergUpkeepContract
from tests.contract.test_parquet_s3 import S3Outputs
from tests.contract.test_parquet_upkeep import ParquetUpkeepContract
from tests.contract.upkeep_contract import AT_ONCE, SECONDS


class ParquetUpkeepOnS3Test(S3Outputs, ParquetUpkeepContract, unittest.TestCase):
    commits_together = 5

    def test_a_writer_that_slept_through_it_is_refused(self):
        """It had looked for its staged files, and was about to write its intent."""
        count = self.written(2)
        sleeper = self.opened()
        known = sleeper.recover(WHOLE, TABLE.name)
        look = sleeper._check_staged

        def look_and_sleep(*asked: object) -> None:
            look(*asked)
            self.assert_went_well(self.tended(AT_ONCE))

        staged = self.staged(count, writer=sleeper)
        with patch.object(sleeper, "_check_staged", look_and_sleep), self.assertRaises(OvertakenError):
            list(sleeper.commit(WHOLE, [TableCommit(TABLE.name, known.slot, known.slot + SECONDS, staged)]))
        self.assertEqual(self.left(staged), [])
        count = self.written(2, first=count)
        self.assert_whole(count)

    def test_a_slice_that_was_written_since_is_not_taken_from_its_holder(self):
        count = self.written(2)
        writer = self.opened()
        known = writer.recover(WHOLE, TABLE.name)
        staged = self.staged(count, writer=writer)
        policy = dataclasses.replace(AT_ONCE, orphan_seconds=3_600)
        self.assertEqual(self.tended_where_all_staged_is_old(policy), [])
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, known.slot, known.slot + SECONDS, staged)]))
        self.assert_whole(count + 1)

    def tended_where_all_staged_is_old(self, policy: UpkeepPolicy) -> list[ChoreReport]:
        writer = self.opened()
        walk = self.storage.walk

        def long_ago(folder: str, first: str = "") -> list[StoredFile]:
            return [file._replace(written_wall_seconds=0.0) for file in walk(folder, first)]

        with patch.object(self.storage, "walk", long_ago):
            self.assertNotEqual(long_ago(staging_of(TABLE.name, WHOLE)), [])
            return list(Round(writer.upkeep(policy), [TABLE.name], SystemClock(), threading.Event()).run(("vacuum",)))


class DeltaUpkeepOnS3Test(OnS3, DeltaUpkeepCase, unittest.TestCase):
    """With conditional writes of the log."""


class IcebergUpkeepOnPostgresAndS3Test(iceberg_case.OnPostgresAndS3, IcebergUpkeepContract, unittest.TestCase):
    pass


class IcebergUpkeepOnRestTest(iceberg_case.OnRest, IcebergUpkeepContract, unittest.TestCase):
    pass


class DuckLakeUpkeepOnPostgresAndS3Test(ducklake_outputs.OnPostgresAndS3, DuckLakeUpkeepCase, unittest.TestCase):
    def test_an_append_and_a_compaction_at_once_both_land(self):
        self.written(12)
        writer = self.opened(at("ducklake.registered", lambda: self.assert_went_well(self.tended())))
        self.assertEqual(outcomes(commit(writer, window(48, 52), ORIGIN + 48)), ["ok"])
        self.assert_whole(13)

    def test_a_change_by_others_that_was_begun_before_a_compaction_is_refused(self):
        """DuckLake would let it land: it deletes rows of files that are no more, and brings them anew."""
        self.written(8)
        table = f"shop.main.{TABLE.name}"
        for change in ("UPDATE {} SET pulse = 1 WHERE beat_id = {}", "DELETE FROM {} WHERE beat_id = {}"):
            other = self.reader()
            (first,) = other.execute(f"SELECT min(beat_id) FROM {table}").fetchone()
            other.execute("BEGIN")
            other.execute(change.format(table, first))
            self.assertEqual([report.files_removed > 1 for report in self.tended() if report.task == "compact"], [True])
            with self.assertRaises(duckdb.Error):
                other.execute("COMMIT")
            self.assert_whole(8)
            self.new_output()
            self.written(8)


if __name__ == "__main__":
    unittest.main()
