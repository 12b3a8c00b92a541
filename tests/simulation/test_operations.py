"""What docs/OPERATIONS.md says of backups, restored copies, moves and deletions."""

from __future__ import annotations

import json
import shutil
import unittest
from pathlib import Path
from typing import Any

from emitter.config import EmitterConfig
from emitter.errors import (
    DamagedStateError,
    EmitterError,
    ForeignTableError,
    IdentityMismatchError,
    MissingJournalError,
    RolledBackError,
)
from emitter.truth import oracle
from emitter.writers.base import parse_file_name
from tests.support.case import DaemonCase, tree
from tests.support.shop import ORIGIN, finish, run, shop, shop_daemon

FIRST, LATER = 600, 1200  # seconds from the origin; a partition ends at 180


class OperationsTest(DaemonCase):
    def setUp(self):
        super().setUp()
        run(self.config(), FIRST)

    def copy(self, source: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)

    def assert_goes_on(self, config: EmitterConfig, until: int = LATER) -> None:
        run(config, until)
        self.assert_verified(config, until)

    def parquet_and_delta(self) -> list[EmitterConfig]:
        """New outputs."""
        return [shop(self.new_folder(), {"output.format": name}) for name in ("parquet", "delta")]

    def parts_of(self, table: str, output: Path) -> list[Path]:
        """The folders that make up a table: its rows and, for Parquet, beside them its progress."""
        return [part for part in (output / table, output / "_emitter/progress" / table) if part.exists()]

    def restored(self) -> Path:
        """An output of its own, with nothing but the journal."""
        new = self.new_folder()
        self.copy(self.output / "_emitter/journal", new / "_emitter/journal")
        return new

    def test_from_the_journal_alone_the_same_rows_are_made_in_any_format(self):
        for changes in ({}, {"output.format": "delta"}):
            config = shop(self.restored(), changes)
            self.assert_goes_on(config, FIRST)
            truths = [oracle.expect(each, None, ORIGIN + FIRST) for each in (config, self.config())]
            self.assertEqual(truths[0], truths[1])

    def test_a_moved_output_goes_on(self):
        for config in self.parquet_and_delta():
            run(config, FIRST)
            first, new = Path(config.output.uri), self.new_folder()
            self.copy(first, new)
            shutil.rmtree(first)
            first.mkdir()
            self.assert_goes_on(shop(new, {"output.format": config.output.format}))
            self.assertEqual(list(first.iterdir()), [])

    def test_what_names_its_whole_path_is_refused_where_it_was_moved_to(self):
        for name in ("iceberg", "ducklake"):
            first, new = self.new_folder(), self.new_folder()
            run(shop(first, {"output.format": name}), 60)
            self.copy(first, new)
            before = tree(new)
            with self.assertRaises(EmitterError) as caught:
                run(shop(new, {"output.format": name}), 120)
            self.assertEqual(caught.exception.exit_code, 2)
            self.assertEqual(tree(new), before)

    def test_an_older_copy_of_a_table_is_brought_up_to_the_others(self):
        for config in self.parquet_and_delta():
            run(config, FIRST)
            parts, old = self.parts_of("orders", Path(config.output.uri)), self.new_folder()
            for number, part in enumerate(parts):
                self.copy(part, old / str(number))
            run(config, LATER)
            for number, part in enumerate(parts):
                self.copy(old / str(number), part)
            self.assert_goes_on(config)

    def test_an_older_journal_is_refused(self):
        old = self.new_folder()
        self.copy(self.output / "_emitter/journal", old)
        run(self.config(), LATER)
        self.copy(old, self.output / "_emitter/journal")
        error = self.assert_refused(DamagedStateError, self.config())
        self.assertIn("its last entries are gone", str(error))

    def test_no_journal_is_refused(self):
        shutil.rmtree(self.output / "_emitter/journal")
        self.assert_refused(MissingJournalError, self.config())

    def test_no_state_at_all_is_refused(self):
        shutil.rmtree(self.output / "_emitter")
        with self.assertRaises(ForeignTableError):
            run(self.config(), LATER)

    def test_a_table_that_is_gone_with_its_progress_is_made_again(self):
        for config in self.parquet_and_delta():
            run(config, FIRST)
            for part in self.parts_of("payments", Path(config.output.uri)):
                shutil.rmtree(part)
            self.assert_goes_on(config)

    def test_rows_that_are_gone_alone_are_refused(self):
        shutil.rmtree(self.output / "payments")
        self.assertIn("payments is gone", self.assert_refused(RolledBackError, self.config()).problem)

    def test_progress_that_is_older_than_its_files_is_refused(self):
        for table, is_lost in (("orders", True), ("payments", False)):
            self.output = self.new_folder()
            shards = [self.config(shard__index=index, shard__count=2) for index in range(2)]
            for shard in shards:
                run(shard, 60)
            (path,) = self.output.glob(f"_emitter/progress/{table}/1-of-2.json")
            older = path.read_bytes()
            for shard in shards:
                run(shard, FIRST)
            newest = path.read_bytes()
            if is_lost:
                path.unlink()
            else:
                path.write_bytes(older)
            error = self.assert_refused(DamagedStateError, shards[1])
            self.assertIn("was lost or set back", error.problem)
            run(shards[0], LATER)
            path.write_bytes(newest)
            run(shards[1], LATER)
            self.assert_verified(shards[1], LATER)

    def test_without_its_newest_progress_a_slice_goes_on_where_its_newer_files_are_taken_away(self):
        path = self.output / "_emitter/progress/orders/0-of-1.json"
        older = path.read_bytes()
        run(self.config(), LATER)
        path.write_bytes(older)
        self.assert_refused(DamagedStateError, self.config())
        for file in self.output.glob("orders/**/*-0of1-*.parquet"):
            made = parse_file_name(file.name)
            if made and made[1].end > ORIGIN + FIRST:
                file.unlink()
        self.assert_goes_on(self.config())

    def test_progress_that_is_gone_alone_is_refused(self):
        shutil.rmtree(self.output / "_emitter/progress/payments")
        for adopt in (False, True):
            error = self.assert_refused(ForeignTableError, self.config(output__adopt=adopt))
            self.assertIn("restore _emitter/progress/payments", error.hint)

    def test_old_partitions_may_go_and_verify_is_asked_for_the_rest(self):
        for day in self.output.glob("*/year=2026/month=01/day=01"):
            shutil.rmtree(day)
        run(self.config(), LATER)
        self.assertFalse(oracle.verify(self.config(), None, ORIGIN + LATER).ok)
        self.assertTrue(oracle.verify(self.config(), ORIGIN + 180, ORIGIN + LATER).ok)

    def test_staging_locks_anchor_and_marks_may_go_while_it_is_stopped(self):
        self.output = self.new_folder()
        live = self.config(clock__speed=1, partition="hour")
        with shop_daemon(live, clock=self.clock, until=FIRST) as daemon:
            self.clock.advance(FIRST)
            finish(daemon)
        marks = sorted(self.output.rglob("_SUCCESS"))
        self.assertEqual(len(marks), 5)
        for path in [self.output / "_emitter/staging", self.output / "_emitter/locks"]:
            shutil.rmtree(path)
        for path in [self.output / "_emitter/anchor.json", *marks]:
            path.unlink()
        self.assert_goes_on(self.config(partition="hour"))
        self.assertEqual(sorted(self.output.rglob("_SUCCESS")), marks)

    def test_another_content_version_is_refused_and_so_is_another_format_of_the_journal(self):
        first = self.output / "_emitter/journal/0000000000.json"
        entry: dict[str, Any] = json.loads(first.read_text())
        whole = first.read_text()
        for key, kind in (("content_version", IdentityMismatchError), ("journal_format", DamagedStateError)):
            entry["identity"] = json.loads(whole)["identity"] | {key: 99}
            first.write_text(json.dumps(entry))
            self.assert_refused(kind, self.config())
        first.write_text(whole)
        self.assert_goes_on(self.config())


if __name__ == "__main__":
    unittest.main()
