"""DuckLake when others come first, replies are lost, keys expire and catalogues go away: exactly once, or refused."""

from __future__ import annotations

import subprocess
import sys
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self
from unittest.mock import patch

from emitter.errors import (
    CommitConflictError,
    ConfigurationError,
    EmitterError,
    OvertakenError,
    StorageError,
)
from emitter.model import Slice, TableProgress
from emitter.settings.connections import CatalogConfig, S3Config
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers.base import CrashHook
from emitter.writers.ducklake import catalog
from emitter.writers.ducklake import connection as ducklake_connection
from emitter.writers.ducklake import files as lake_files
from emitter.writers.ducklake.connection import CATALOG
from emitter.writers.ducklake.writer import DuckLakeWriter
from tests.contract.beats import OPTIONS, RUN, TABLE, WHOLE, found, in_order, rows, window, write
from tests.contract.ducklake_outputs import OnPostgres, OnSqlite, commit, outcomes, patient
from tests.support.proxy import TcpProxy
from tests.support.wire_faults import Hold, cut, lose_reply

FIRST, SECOND = window(0, 90), window(90, 200)
HALVES = (Slice(0, 2), Slice(1, 2))


def at(point: str, *acts: Callable[[], object]) -> CrashHook:
    """A hook that lets things happen at a named point: the nth act when it is passed for the nth time."""
    waiting = list(acts)

    def hook(reached: str) -> None:
        if reached == point and waiting:
            waiting.pop(0)()

    return hook


class Locker:
    """Another process that can lock a SQLite file. (Locks are a process's, so none of ours would hold off DuckDB.)"""

    _CODE = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for line in sys.stdin:
    file.execute(line)
    print("done", flush=True)
"""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._CODE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def lock(self) -> None:
        self._say("BEGIN IMMEDIATE")

    def unlock(self) -> None:
        self._say("ROLLBACK")

    def _say(self, text: str) -> None:
        print(text, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


class FaultCase:
    """What holds in every catalogue. Subclasses say where it is."""

    def writer(self, hook: CrashHook = lambda point: None, **options: object) -> DuckLakeWriter:
        return DuckLakeWriter(self.storage, OPTIONS, hook, catalog=self.catalog)

    def opened(self, hook: CrashHook = lambda point: None) -> DuckLakeWriter:
        writer = self.writer(hook)
        writer.open(RUN, TABLE)
        self.addCleanup(writer.close)
        return writer

    def setUp(self) -> None:
        super().setUp()
        self.new_output()

    def assert_once(self, *slices: Slice) -> None:
        """Both windows are in, each row once, for us and for a reader of the catalogue."""
        expected = [batch for slice in slices or (WHOLE,) for batch in (*rows(FIRST, slice), *rows(SECOND, slice))]
        self.assertEqual(found(self.opened(), window(0, 200)), in_order(expected))
        self.assertEqual(self.held(), in_order(expected))
        progress = self.opened().progress(TABLE.name)
        self.assertEqual(
            {slice: known.slot for slice, known in progress.items()}, dict.fromkeys(slices or (WHOLE,), SECOND.end)
        )
        self.assertEqual(sum(known.rows for known in progress.values()), sum(batch.num_rows for batch in expected))
        self.assertEqual(len({file.path for file in self.listed()}), len(self.listed()))

    def test_another_slice_that_commits_meanwhile_is_no_harm(self):
        other = self.opened()
        commit(other, FIRST, None, HALVES[1])
        writer = self.opened(at("ducklake.registered", lambda: commit(other, SECOND, FIRST.end, HALVES[1])))
        commit(writer, FIRST, None, HALVES[0])
        commit(writer, SECOND, FIRST.end, HALVES[0])
        self.assert_once(*HALVES)

    def test_the_same_commit_by_another_is_taken_for_ours(self):
        for point in ("ducklake.checked", "ducklake.registered"):
            with self.subTest(point):
                self.new_output()
                other = self.opened()
                commit(other, FIRST, None)
                writer = self.opened(at(point, partial(commit, other, SECOND, FIRST.end)))
                self.assertEqual(outcomes(commit(writer, SECOND, FIRST.end)), ["conflict", "deduplicated"])
                self.assert_once()

    def test_another_commit_from_the_same_slot_wins_alone(self):
        other = self.opened()
        commit(other, FIRST, None)
        writer = self.opened(at("ducklake.registered", lambda: commit(other, SECOND, FIRST.end)))
        with self.assertRaises(OvertakenError):
            commit(writer, window(90, 120), FIRST.end)
        self.assert_once()

    def test_a_first_commit_by_another_is_seen(self):
        other = self.opened()
        writer = self.opened(at("ducklake.checked", lambda: commit(other, FIRST, None)))
        self.assertEqual(outcomes(commit(writer, FIRST, None)), ["conflict", "deduplicated"])
        commit(writer, SECOND, FIRST.end)
        self.assert_once()

    def test_two_writers_begin_the_same_slice_at_once(self):
        """No key keeps a table from having two rows of progress: the way they are made does."""
        write(self.opened(), window(0, 1), None, Slice(0, 3))  # the table is there
        first, second = self.opened(), self.opened()
        with second._lake.session("begin") as cursor:
            cursor.execute("BEGIN")
            catalog.begin_progress(cursor, WHOLE, ["main.other"])
            first._begin_progress(WHOLE, [TABLE.name])
            with self.assertRaises(CommitConflictError):
                second._lake.commit(cursor, "begin")
        with second._lake.session("begin") as cursor:  # the same, where the table is there
            cursor.execute("BEGIN")
            catalog.begin_progress(cursor, WHOLE, ["main.another"])
            first._begun.clear()
            with first._lake.session("begin") as rival:
                rival.execute("BEGIN")
                catalog.begin_progress(rival, WHOLE, ["main.another"])
                first._lake.commit(rival, "begin")
            with self.assertRaises(CommitConflictError):
                second._lake.commit(cursor, "begin")
        with second._lake.session("read") as cursor:
            self.assertEqual(set(catalog.read_progress(cursor, WHOLE)), {"main.heartbeats", "main.another"})

    def test_shards_at_once_write_every_row_once(self):
        steps = [window(0, 90), *(window(90 + 11 * step, 101 + 11 * step) for step in range(10))]

        def run(slice: Slice) -> list[str]:
            writer, slot, ends = self.opened(), None, []
            for asked in steps:
                ends += outcomes(commit(writer, asked, slot, slice))
                slot = asked.end
            return ends

        with ThreadPoolExecutor(2) as pool:
            ends = [outcome for each in pool.map(run, HALVES) for outcome in each]
        self.assertEqual(ends.count("ok"), 2 * len(steps))
        self.assertEqual(set(ends) - {"ok", "conflict"}, set())
        self.assert_once(*HALVES)

    def test_upkeep_between_reading_and_committing_is_no_harm(self):
        writer = self.opened()
        commit(writer, FIRST, None)

        def upkeep() -> None:
            for call in ("ducklake_flush_inlined_data('shop')", "ducklake_merge_adjacent_files('shop')"):
                self.reader().execute(f"CALL {call}").to_arrow_table()

        writer = self.opened(at("ducklake.registered", upkeep))
        self.assertEqual(outcomes(commit(writer, SECOND, FIRST.end))[-1], "ok")
        self.assert_once()

    def test_upkeep_passes_over_the_progress_also_in_a_lake_from_before(self):
        commit(self.opened(), FIRST, None)
        for asked in (SECOND, window(200, 210)):
            self.reader().execute("CALL ducklake_flush_inlined_data('shop')").to_arrow_table()
            self.reader().execute("CHECKPOINT shop")
            with self.opened()._lake.session("look") as cursor:
                (known,) = catalog.tables(cursor, "_emitter", ["progress_0_of_1"]).values()
                self.assertFalse(lake_files.files(cursor, known.table_id, ""))
                # As it was in lakes that earlier releases made; the next writer makes up for it.
                cursor.execute(f"DELETE FROM {CATALOG}.ducklake_metadata WHERE key = 'auto_compact'")
            commit(self.opened(), asked, asked.first)

    def test_progress_that_is_not_to_be_seen_for_a_moment_is_looked_for_again(self):
        commit(self.opened(), FIRST, None)
        looks: list[Slice] = []

        def unseen(cursor: object, slice: Slice, look=catalog.read_progress) -> dict[str, TableProgress | None]:
            looks.append(slice)
            return {} if len(looks) in (1, 3, 5) else look(cursor, slice)

        with patch.object(catalog, "read_progress", unseen):
            writer = self.opened()
            self.assertEqual(writer.recover(WHOLE, TABLE.name).slot, FIRST.end)  # looks 1 and 2
            self.assertEqual(outcomes(commit(writer, SECOND, FIRST.end)), ["conflict", "ok"])  # 3, 4 to begin; 5
        self.assertGreater(len(looks), 5)
        self.assert_once()

    def test_a_table_that_has_not_begun_is_looked_for_once(self):
        writer = self.opened()
        commit(writer, FIRST, None)
        with patch.object(catalog, "read_progress", wraps=catalog.read_progress) as looks:
            self.assertEqual(writer.progress("other"), {})
            self.assertEqual(looks.call_count, 1)
            self.assertIsNone(writer.recover(WHOLE, "other"))  # whoever is to begin it makes sure
            self.assertGreater(looks.call_count, 2)

    def test_a_row_that_was_seen_is_looked_for_again_also_where_others_are_there(self):
        commit(self.opened(), FIRST, None)
        writer = self.opened()
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].slot, FIRST.end)
        other, own = {"main.other": None}, {f"main.{TABLE.name}": TableProgress(FIRST.end)}
        with patch.object(catalog, "read_progress", side_effect=[other, own, *[other] * 5]):
            self.assertEqual(writer.progress(TABLE.name)[WHOLE].slot, FIRST.end)
            with self.assertRaises(CommitConflictError):
                writer.progress(TABLE.name)

    def test_progress_that_stays_away_is_no_beginning(self):
        writer = self.opened()
        commit(writer, FIRST, None)
        with patch.object(catalog, "read_progress", lambda cursor, slice: {}):
            with self.assertRaises(CommitConflictError):
                writer.recover(WHOLE, TABLE.name)
            writer._known.clear()
            with self.assertRaises(CommitConflictError):
                commit(writer, SECOND, FIRST.end)
        commit(writer, SECOND, FIRST.end)
        self.assert_once()

    def test_a_table_dropped_in_the_middle_of_a_commit_takes_nothing(self):
        writer = self.opened()
        commit(writer, FIRST, None)
        writer = self.opened(at("ducklake.registered", lambda: self.reader().execute(f"DROP TABLE shop.{TABLE.name}")))
        with self.assertRaises(EmitterError):
            commit(writer, SECOND, FIRST.end)
        with self.reader() as reader:
            self.assertEqual(reader.sql("SELECT slot FROM shop._emitter.progress_0_of_1").fetchone(), (FIRST.end,))


class SqliteFaultsTest(FaultCase, OnSqlite, unittest.TestCase):
    def test_a_catalogue_that_another_process_has_locked_is_waited_for(self):
        writer = self.opened()
        commit(writer, FIRST, None)
        writer.close()
        with (
            patch.object(ducklake_connection, "_LOCKED_MILLISECONDS_MAX", 20),
            Locker(self.root / "ducklake.sqlite") as other,
        ):
            writer = self.opened(at("ducklake.registered", other.lock, lambda: None, other.unlock))
            self.assertEqual(outcomes(commit(writer, SECOND, FIRST.end)), ["conflict", "conflict", "ok"])
        self.assert_once()

    def test_a_refused_commit_keeps_no_lock(self):
        other, writer = self.opened(), None
        commit(other, FIRST, None, HALVES[1])
        ends = []
        writer = self.opened(at("ducklake.registered", lambda: commit(other, SECOND, FIRST.end, HALVES[1])))
        ends = outcomes(commit(writer, FIRST, None, HALVES[0]))
        self.assertEqual(ends, ["conflict", "ok"])
        with Locker(self.root / "ducklake.sqlite") as anyone:
            anyone.lock()

    def test_what_was_loaded_is_kept_where_a_lake_is_opened_anew(self):
        writer = self.opened()
        commit(writer, FIRST, None)
        known = writer._lake._connection
        writer._lake.renew()
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].slot, FIRST.end)
        self.assertIs(writer._lake._connection, known)
        with writer._lake.session("look") as cursor:  # something goes on in it
            cursor.execute("BEGIN")
            catalog.read_progress(cursor, WHOLE)
            writer._lake.renew()
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].slot, FIRST.end)
        commit(writer, SECOND, FIRST.end)
        self.assert_once()

    def test_a_catalogue_that_is_no_catalogue_is_told(self):
        self.root.mkdir(parents=True)
        (self.root / "ducklake.sqlite").write_bytes(b"this is no database, whatever its name may promise" * 100)
        with self.assertRaises(StorageError):
            self.opened()

    def test_what_cannot_be_a_catalogue_is_refused_with_the_reason(self):
        for uri, reason in (
            ("duckdb:///lake.duckdb", "one process only"),
            ("lake.ducklake", "one process only"),
            ("mysql://u:hunter2@host/db", "such as sqlite"),
            ("sqlite://lake", "such as sqlite"),
            ("postgresql://u:hunter2@host:port/db", "such as sqlite"),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                DuckLakeWriter(self.storage, OPTIONS, catalog=CatalogConfig(uri=uri))
            self.assertIn(reason, str(caught.exception))
            self.assertIn("output.catalog.uri", str(caught.exception))
            self.assertNotIn("hunter2", str(caught.exception))
        with self.assertRaisesRegex(ConfigurationError, "output.catalog.namespace"):
            DuckLakeWriter(self.storage, OPTIONS, catalog=CatalogConfig(namespace="_emitter"))
        nowhere = ObjectStorage("s3://bucket/lake", S3Access(S3Config(endpoint_url="http://127.0.0.1:9")))
        with self.assertRaisesRegex(ConfigurationError, "output.catalog.uri.*every reader reaches"):
            DuckLakeWriter(nowhere, OPTIONS)


class PostgresFaultsTest(FaultCase, OnPostgres, unittest.TestCase):
    # At a commit, DuckDB first ends its look into the catalogue by a COMMIT, then DuckLake's transaction by the second.

    def through(self, proxy: TcpProxy, hook: CrashHook) -> DuckLakeWriter:
        """A writer that reaches its catalogue through a proxy."""
        url = patient(self.server.url(self.database, proxy.address))
        writer = DuckLakeWriter(self.storage, OPTIONS, hook, catalog=CatalogConfig(uri=url))
        writer.open(RUN, TABLE)
        self.addCleanup(writer.close)
        return writer

    def test_a_lost_reply_is_looked_into(self):
        for action, ends in ((lose_reply, ["unknown", "deduplicated"]), (cut, ["unknown", "ok"])):
            with self.subTest(ends), TcpProxy(self.server.address) as proxy:
                self.new_output()
                commit(self.opened(), FIRST, None)
                writer = self.through(
                    proxy,
                    at("ducklake.registered", lambda act=action, wire=proxy: wire.inject(act, text=b"COMMIT", nth=2)),
                )
                self.assertEqual(outcomes(commit(writer, SECOND, FIRST.end)), ends)
                self.assert_once()

    def test_a_commit_that_lands_late_is_not_made_twice(self):
        for point in ("ducklake.checked", "ducklake.registered"):
            with self.subTest(point), TcpProxy(self.server.address) as proxy:
                self.new_output()
                commit(self.opened(), FIRST, None)
                hold = Hold()
                acts = {
                    "ducklake.registered": [lambda wire=proxy, act=hold: wire.inject(act, text=b"COMMIT", nth=2)],
                    "ducklake.checked": [lambda: None],
                }
                acts[point].append(hold.release)
                hooks = [at(name, *each) for name, each in acts.items()]
                writer = self.through(proxy, lambda reached, hooks=hooks: [hook(reached) for hook in hooks])
                self.assertEqual(outcomes(commit(writer, SECOND, FIRST.end)), ["unknown", "conflict", "deduplicated"])
                self.assert_once()

    def test_a_connection_that_breaks_before_the_commit_leaves_nothing(self):
        for point in ("ducklake.checked", "ducklake.registered"):
            with self.subTest(point), TcpProxy(self.server.address) as proxy:
                self.new_output()
                commit(self.opened(), FIRST, None)
                acts = (lambda wire=proxy: (wire.go_down(), wire.come_up()),)
                writer = self.through(proxy, at(point, *acts))
                if point == "ducklake.checked":
                    with self.assertRaises(StorageError):
                        commit(writer, SECOND, FIRST.end)
                    self.assertEqual(writer.recover(WHOLE, TABLE.name).slot, FIRST.end)
                    commit(writer, SECOND, FIRST.end)
                else:
                    self.assertEqual(outcomes(commit(writer, SECOND, FIRST.end)), ["unknown", "ok"])
                self.assert_once()

    def test_a_catalogue_that_does_not_answer_is_given_up(self):
        commit(self.opened(), FIRST, None)
        with patch.object(ducklake_connection, "_REPLY_MILLISECONDS_MAX", 300):
            writer = self.opened()
            writer.progress(TABLE.name)
            with self.server.connect(str(self.catalog.uri).rpartition("/")[2]) as other:
                other.execute("BEGIN")
                other.execute("LOCK TABLE ducklake_snapshot")
                with self.assertRaises(StorageError):
                    commit(writer, SECOND, FIRST.end)
            self.assertEqual(writer.recover(WHOLE, TABLE.name).slot, FIRST.end)
            commit(writer, SECOND, FIRST.end)
        self.assert_once()

    def test_a_password_is_never_told(self):
        secret = str(self.catalog.uri).split(":")[2].partition("@")[0]
        for wrong in (
            str(self.catalog.uri).replace(secret, "wr'ong pass"),
            self.server.url("nothere"),
            self.server.url("nothere", ("127.0.0.1", 9)),
            f"{self.catalog.uri}?sslmode=nonsense",
        ):
            self.catalog = CatalogConfig(uri=wrong)
            with self.assertRaises(StorageError) as caught:
                self.opened()
            told = f"{caught.exception!r} {caught.exception} {caught.exception.__cause__} {self.catalog}"
            self.assertNotIn(secret, told)
            self.assertNotIn("wr'ong", told)


if __name__ == "__main__":
    unittest.main()
