"""What a start refuses: state that is damaged, missing, foreign, or somebody else's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from emitter.errors import (
    DamagedStateError,
    EmitterError,
    ForeignTableError,
    MissingJournalError,
    SliceLockedError,
)
from emitter.truth import oracle
from tests.support.case import LIVE, DaemonCase
from tests.support.reader import paths
from tests.support.shop import finish, run, shop, shop_daemon

REPOSITORY = Path(__file__).parents[2]


class BadStateTest(DaemonCase):
    def test_progress_without_a_journal_is_refused(self):
        run(self.config(), 60)
        shutil.rmtree(self.output / "_emitter/journal")
        error = self.assert_refused(MissingJournalError, self.config())
        self.assertIn("restore", error.hint)

    def test_a_journal_that_ends_before_the_tables_do_is_refused(self):
        run(self.config(), 60)
        entries = sorted((self.output / "_emitter/journal").iterdir())
        run(self.config(), 900)
        for path in (self.output / "_emitter/journal").iterdir():
            if path not in entries:
                path.unlink()
        error = self.assert_refused(DamagedStateError, self.config())
        self.assertIn("last entries are gone", error.problem)

    def test_an_option_that_only_a_newer_release_knows_is_refused(self):
        run(self.config(), 60)
        folder = self.output / "_emitter/journal"
        change = json.loads((folder / "0000000001.json").read_text())
        change["inputs"]["options"]["weather"] = "rain"
        change["from_slot"] = self.journal().sealed_slot
        (folder / f"{len(list(folder.iterdir())):010d}.json").write_text(json.dumps(change))
        error = self.assert_refused(DamagedStateError, self.config())
        self.assertIn("there are no options weather", error.problem)
        self.assertIn("newer release", error.hint)

    def test_progress_that_is_cut_short_is_refused(self):
        run(self.config(), 60)
        path = self.output / "_emitter/progress/payments/0-of-1.json"
        whole = path.read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:size])
            self.assertIn(
                "_emitter/progress/payments/0-of-1.json", self.assert_refused(DamagedStateError, self.config()).problem
            )
        path.write_bytes(whole)
        run(self.config(), 120)
        self.assert_undisturbed(120)

    def test_progress_of_another_run_is_refused(self):
        run(self.config(), 60)
        other = self.new_folder()
        run(shop(other, {"seed": 43}), 120)
        shutil.copy(
            other / "_emitter/progress/orders/0-of-1.json", self.output / "_emitter/progress/orders/0-of-1.json"
        )
        self.assertIn("belongs to run", self.assert_refused(ForeignTableError, self.config()).problem)

    def test_progress_of_another_slice_is_refused(self):
        run(self.config(), 60)
        progress = self.output / "_emitter/progress/orders"
        shutil.copy(progress / "0-of-1.json", progress / "0-of-2.json")
        self.assertIn("as if it had been copied", self.assert_refused(DamagedStateError, self.config()).problem)

    def test_foreign_files_in_a_tables_folder_are_refused_before_anything_is_written(self):
        for name in ("data.parquet", "year=2026/month=01/day=01/part-0.parquet", "_delta_log/0.json", "notes.txt"):
            with self.subTest(name):
                self.output = self.new_folder()
                path = self.output / "payments" / name
                path.parent.mkdir(parents=True)
                path.write_bytes(b"foreign")
                self.assert_refused(ForeignTableError, self.config())
                path.unlink()
                shutil.rmtree(self.output / "payments")
                run(self.config(), 60)
                self.assert_verified(self.config(), 60)

    def test_a_foreign_file_that_comes_later_is_told_by_verify_and_disturbs_nothing(self):
        run(self.config(), 60)
        (ours,) = paths(self.output, "customers")
        rows = pq.read_table(ours, partitioning=None)
        foreign = rows.set_column(0, "customer_id", pc.add(rows["customer_id"], 1_000_000))
        pq.write_table(foreign, ours.with_name("backfill.parquet"))
        run(self.config(), 120)
        verification = oracle.verify(self.config())
        found = {table.table: table for table in verification.tables}
        self.assertFalse(verification.ok)
        self.assertEqual(found["customers"].unexpected, 50)
        self.assertEqual(
            (found["customers"].lost, found["customers"].duplicated, found["customers"].altered), (0, 0, 0)
        )
        self.assertTrue(all(table.ok for table in verification.tables if table.table != "customers"))
        ours.with_name("backfill.parquet").unlink()
        self.assert_undisturbed(120)

    def test_a_second_daemon_of_the_slice_is_refused(self):
        with shop_daemon(self.config(), until=300) as daemon:
            finish(daemon)
            self.assertIn("held by process", self.assert_refused(SliceLockedError, self.config(), 3).problem)
        run(self.config(), 360)
        self.assert_undisturbed(360)

    def test_a_second_daemon_in_another_process_is_refused_until_the_first_is_killed(self):
        code = (
            "import sys; from pathlib import Path; from tests.support.shop import shop, shop_daemon\n"
            "with shop_daemon(shop(Path(sys.argv[1])), until=60) as daemon:\n"
            "    daemon.step(); daemon._stager.reset()  # nothing is staged ahead any more: it stands still\n"
            "    print('held', flush=True); sys.stdin.read()\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(self.output)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertEqual(child.stdout.readline(), "held\n")
        self.assertIn(str(child.pid), self.assert_refused(SliceLockedError, self.config(), 3).problem)
        child.kill()
        child.wait()
        run(self.config(), 300)
        self.assert_undisturbed(300)

    def test_the_journal_of_a_run_that_never_wrote_is_no_hindrance(self):
        with shop_daemon(self.config()):
            pass
        shutil.rmtree(self.output / "_emitter")
        run(self.config(), 60)
        self.assert_verified(self.config(), 60)

    def under_a_daemon(self, format: str, path: str) -> EmitterError:
        """What a daemon says whose output, or a part of it, is removed while it runs."""
        output = self.new_folder() / "out"
        changes = {**LIVE, "output.format": format, "output.retry_attempts_max": 1, "output.retry_wait_seconds_max": 0}
        with (
            self.assertRaises(EmitterError) as caught,
            shop_daemon(shop(output, changes), clock=self.clock) as daemon,
        ):
            self.clock.advance(30)
            daemon.step()
            shutil.rmtree(output / path)
            self.clock.advance(900)
            daemon.step()
        return caught.exception

    def test_an_output_that_is_removed_while_it_is_written_is_called_that(self):
        for kind in ("parquet", "delta", "iceberg", "ducklake"):
            with self.subTest(kind):
                error = self.under_a_daemon(kind, ".")
                self.assertIsInstance(error, MissingJournalError)
                self.assertRegex(
                    error.problem, r"was removed, .* everything up to 2026-01-01T\S+Z: its journal is gone"
                )

    def test_so_is_a_table_with_the_time_that_it_stood_at(self):
        error = self.under_a_daemon("delta", "orders")
        self.assertRegex(error.problem, r"of orders is gone; it was at 2026-01-01T\S+Z when this")
        self.assertIn("somebody removed the table", error.hint)
