"""What the network, the catalogue and the disk do to a commit to Iceberg. Afterwards every row is there once."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
import unittest
from collections.abc import Callable
from contextlib import closing
from unittest.mock import patch

from emitter.errors import CommitUnknownError, EmitterError, StorageError
from emitter.model import TableCommit
from emitter.settings.connections import CatalogConfig, S3Config
from emitter.storage.local import LocalStorage
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.testing import FaultyStorage
from emitter.writers.base import CrashHook, no_crash
from emitter.writers.iceberg import catalog as iceberg_catalog
from emitter.writers.iceberg.writer import IcebergWriter
from tests.contract.beats import OPTIONS, RUN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.support import postgres, s3_server
from tests.support.postgres import Postgres
from tests.support.proxy import HttpProxy, TcpProxy
from tests.support.rest_catalog import RestCatalog, rest_error
from tests.support.wire_faults import Action, Exchange, Hold, answer, cut, cut_reply, lose_reply, slow

FIRST, SECOND, BOTH = window(0, 30), window(30, 90), window(0, 90)  # the second has files in two partitions


class IcebergFaults(unittest.TestCase):
    """A first commit is there; what happens to the second?"""

    catalog = CatalogConfig()

    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.root = f"{folder}/out"
        self.storage = LocalStorage(self.root)
        self.outcomes: list[str] = []

    def opened(self, hook: CrashHook = no_crash) -> IcebergWriter:
        writer = IcebergWriter(self.storage, OPTIONS, hook, catalog=self.catalog)
        self.addCleanup(writer.close)
        writer.open(RUN, TABLE)
        return writer

    def begin(self) -> None:
        write(self.opened(), FIRST, None)

    def commit(self, hook: CrashHook = no_crash) -> list[str]:
        """The outcomes of the second commit; in `outcomes` also where it raises."""
        writer = self.opened(hook)
        staged = tuple(writer.stage(WHOLE, SECOND, file) for file in files(SECOND))
        self.outcomes = []
        for report in writer.commit(WHOLE, [TableCommit(TABLE.name, FIRST.end, SECOND.end, staged)]):
            self.outcomes.append(report.outcome)
        return self.outcomes

    def finish(self) -> None:
        """What a restart does; then every row is there, once."""
        writer = self.opened()
        if writer.recover(WHOLE, TABLE.name).slot == FIRST.end:
            write(writer, SECOND, FIRST.end)
        self.assertEqual(found(writer, BOTH), in_order(rows(BOTH)))
        known = writer.progress(TABLE.name)[WHOLE]
        self.assertEqual((known.slot, known.rows), (BOTH.end, BOTH.seconds))


def at(point: str, *acts: Callable[[], object]) -> CrashHook:
    """A hook that does the first thing when a point is passed for the first time, and so on."""
    left = list(acts)

    def hook(reached: str) -> None:
        if reached == point and left:
            left.pop(0)()

    return hook


def nothing() -> None:
    pass


class RestFaultsTest(IcebergFaults):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.server = RestCatalog(folder.name)
        cls.addClassCleanup(cls.server.close)

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(patch.dict(os.environ, {"PYICEBERG_CATALOG__EMITTER__TOKEN": self.server.token}))
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self._number = 0

    def begin(self) -> None:
        self._number += 1
        self.storage = LocalStorage(f"{self.root}/{self._number}")
        namespace = f"{self.id().rpartition('.')[2]}_{self._number}"
        self.catalog = CatalogConfig(uri=self.proxy.endpoint_url, namespace=namespace)
        super().begin()

    def strike(self, action: Action, method: str = "POST", times: int | None = 1) -> None:
        self.fault = self.proxy.inject(action, method=method, path=f"/tables/{TABLE.name}$", times=times)
        self.addCleanup(self.proxy.remove, self.fault)

    def test_whatever_is_answered_is_read_back(self):
        def failed(status: int, *, landed: bool = False) -> Action:
            return answer(status, {"Retry-After": "1"}, rest_error("ServerError", status), landed=landed)

        script: list[tuple[str, Action, list[str]]] = [
            ("slow", slow(0.05), ["ok"]),
            ("a conflict", answer(409, body=rest_error("CommitFailedException")), ["conflict", "ok"]),
            ("landed, and the reply was lost", lose_reply, ["unknown", "deduplicated"]),
            ("landed, and the reply was cut", cut_reply(20), ["unknown", "deduplicated"]),
            ("not landed, and the reply was lost", cut, ["unknown", "ok"]),
            *(
                (f"{status} and landed", failed(status, landed=True), ["unknown", "deduplicated"])
                for status in (500, 503)
            ),
            *((f"{status} and not landed", failed(status), ["unknown", "ok"]) for status in (500, 502, 503, 504)),
            ("a proxy's page", answer(200, body=b"<html>please log in"), ["unknown", "ok"]),
            ("landed, and a proxy's page", answer(200, body=b"<html>sorry", landed=True), ["unknown", "deduplicated"]),
        ]
        for what, action, outcomes in script:
            with self.subTest(what):
                self.begin()
                self.strike(action)
                self.assertEqual(self.commit(), outcomes)
                self.finish()

    def test_what_lands_late_lands_once(self):
        for point in ("iceberg.checked", "iceberg.appended", "iceberg.committed"):
            with self.subTest(f"while the next attempt is at {point}"):
                self.begin()
                hold = Hold()
                self.strike(hold)
                is_over = point == "iceberg.committed"  # the next attempt is the first to come to its end
                self.commit(at(point, hold.release) if is_over else at(point, nothing, hold.release))
                expected = ["unknown", "ok"] if is_over else ["unknown", "conflict", "deduplicated"]
                self.assertEqual(self.outcomes, expected)
                self.finish()

    def test_what_the_catalogue_refuses_has_not_landed(self):
        for status in (400, 403, 429):
            with self.subTest(status):
                self.begin()
                self.strike(answer(status, body=rest_error("Refused", status)))
                with self.assertRaises(StorageError) as caught:
                    self.commit()
                self.assertEqual(self.outcomes, ["error"])
                self.assertNotIn(self.server.token, caught.exception.report())
                self.finish()

    def test_a_commit_that_a_proxy_repeats_is_refused_but_there(self):
        """The library takes the refusal for certain, and would remove the files of what has landed."""

        def repeat(exchange: Exchange) -> None:
            exchange.forward()
            exchange.reply(exchange.forward())

        self.begin()
        self.strike(repeat)
        self.assertEqual(self.commit(), ["conflict", "deduplicated"])
        self.finish()

    def test_a_reply_that_does_not_come_is_not_waited_for_for_ever(self):
        self.begin()
        hold = Hold(client_waits=True)
        self.strike(hold)
        with patch.object(iceberg_catalog, "_REPLY_SECONDS_MAX", 2):
            self.assertEqual(self.commit(at("iceberg.committed", hold.release)), ["unknown", "ok"])
        self.finish()

    def test_what_stays_unknown_is_not_tried_for_ever(self):
        self.begin()
        self.strike(answer(500, body=rest_error("ServerError", 500)), times=None)
        with self.assertRaises(CommitUnknownError):
            self.commit()
        self.assertEqual(set(self.outcomes), {"unknown"})
        self.proxy.remove(self.fault)
        self.finish()

    def test_only_not_found_is_absence(self):
        self.begin()
        pages = (answer(404), answer(404, body=b"<html>no such page"), answer(200, body=b"<html>please log in"))
        for action in (answer(403), answer(500), answer(503), *pages, cut, cut_reply(50)):
            self.strike(action, "GET", times=None)
            for ask in (
                self.opened,
                lambda: IcebergWriter(self.storage, OPTIONS, catalog=self.catalog).progress(TABLE.name),
            ):
                with self.assertRaises(StorageError):
                    ask()
            self.proxy.remove(self.fault)
        self.commit()
        self.finish()

    def test_a_wrong_token_is_refused_and_not_shown(self):
        self.begin()
        with patch.dict(os.environ, {"PYICEBERG_CATALOG__EMITTER__TOKEN": "wrong-token"}):
            writer = IcebergWriter(self.storage, OPTIONS, catalog=self.catalog)
            for ask in (writer.check, self.opened):
                with self.assertRaises(StorageError) as caught:
                    ask()
                self.assertNotIn("wrong-token", caught.exception.report())

    def test_a_create_whose_reply_is_lost_has_created(self):
        self.begin()
        self.catalog = CatalogConfig(uri=self.catalog.uri, namespace=f"{self.catalog.namespace}_again")
        self.storage = LocalStorage(f"{self.root}/again")
        fault = self.proxy.inject(lose_reply, method="POST", path="/tables$")
        with self.assertRaises(StorageError):
            write(self.opened(), FIRST, None)
        fault.wait()
        self.assertIsNone(self.opened().recover(WHOLE, TABLE.name))  # ours, without progress: at the origin
        write(self.opened(), FIRST, None)
        self.finish()


class PostgresFaultsTest(IcebergFaults):
    def setUp(self) -> None:
        super().setUp()
        self.server = postgres.shared()
        self.proxy = self.enterContext(TcpProxy(self.server.address))
        self.begin_at(self.server)

    def begin_at(self, server: Postgres) -> None:
        database = server.new_database()
        self.catalog = CatalogConfig(uri=server.url(database))
        self.begin()
        self.catalog = CatalogConfig(uri=server.url(database, self.proxy.address))

    def test_a_commit_that_is_cut_has_not_landed(self):
        self.proxy.inject(cut, text=b"COMMIT")
        self.assertEqual(self.commit(), ["unknown", "ok"])
        self.finish()

    def test_a_commit_whose_reply_is_lost_has_landed(self):
        self.proxy.inject(lose_reply, text=b"COMMIT")
        self.assertEqual(self.commit(), ["unknown", "deduplicated"])
        self.finish()

    def test_a_commit_that_lands_late_lands_once(self):
        hold = Hold()
        self.proxy.inject(hold, text=b"COMMIT")
        self.assertEqual(
            self.commit(at("iceberg.appended", nothing, hold.release)), ["unknown", "conflict", "deduplicated"]
        )
        self.finish()

    def test_an_outage_in_the_middle_is_told_and_got_over(self):
        with self.assertRaises(StorageError) as caught:
            self.commit(at("iceberg.appended", self.proxy.go_down))
        self.assertEqual(self.outcomes, ["unknown", "error"])
        self.assertIn("the catalogue postgresql://***@127.0.0.1", caught.exception.report())
        self.proxy.come_up()
        self.finish()

    def test_a_catalogue_that_restarts_in_the_middle_goes_unnoticed(self):
        with Postgres() as server:
            for end in (server.stop, server.crash):
                with self.subTest(end.__name__):
                    self.begin_at(server)
                    self.catalog = CatalogConfig(uri=str(self.catalog.uri).replace(*self.addresses(server)))

                    def restart(end: Callable[[], None] = end) -> None:
                        end()
                        server.start()

                    self.assertEqual(self.commit(at("iceberg.appended", restart)), ["ok"])
                    self.finish()

    def addresses(self, server: Postgres) -> tuple[str, str]:
        return f":{self.proxy.address[1]}/", f":{server.address[1]}/"

    def test_a_wrong_password_is_refused_and_not_shown(self):
        self.catalog = CatalogConfig(uri=str(self.catalog.uri).replace("emitter:", "emitter:not"))
        with self.assertRaises(StorageError) as caught:
            self.opened()
        self.assertIn("password authentication failed", caught.exception.problem)
        self.assertNotIn(str(self.catalog.uri).split(":")[2].partition("@")[0], caught.exception.report())


class DiskFaultsTest(IcebergFaults):
    def test_any_call_to_the_disk_may_fail(self):
        storage = FaultyStorage(self.root)
        for after in (False, True):
            for nth in range(1, 200):
                with self.subTest(nth=nth, after=after):
                    storage = self.storage = FaultyStorage(f"{self.root}/{nth}-{after}")
                    self.begin()
                    storage.calls.clear()
                    storage.fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), at=nth, after=after)
                    try:
                        self.commit()
                    except StorageError as error:
                        self.assertIn("No space left", error.problem)
                    storage.heal()
                    struck = len(storage.calls) >= nth
                    self.finish()
                if not struck:
                    break
            self.assertGreater(nth, 20)

    def test_a_locked_sqlite_file_is_waited_for_and_then_tried_again(self):
        self.catalog = CatalogConfig(uri=f"sqlite:///{self.root}.db?timeout=0.05")
        self.begin()
        with closing(sqlite3.connect(f"{self.root}.db", isolation_level=None)) as other:
            lock, unlock = (lambda: other.execute("BEGIN IMMEDIATE")), (lambda: other.execute("ROLLBACK"))
            self.assertEqual(self.commit(at("iceberg.appended", lock, unlock)), ["unknown", "ok"])
            self.finish()

    def test_a_reader_stops_no_commit(self):
        self.catalog = CatalogConfig(uri=f"sqlite:///{self.root}.db?timeout=0.05")
        self.begin()
        self.commit()
        with closing(sqlite3.connect(f"{self.root}.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM iceberg_tables").fetchall()
            write(self.opened(), window(90, 91), SECOND.end)

    def test_a_catalogue_from_before_lets_readers_be_as_soon_as_it_can(self):
        self.catalog = CatalogConfig(uri=f"sqlite:///{self.root}.db?timeout=0.05")
        writer = self.opened()
        write(writer, FIRST, None)
        writer.close()
        with closing(sqlite3.connect(f"{self.root}.db", isolation_level=None)) as reader:
            reader.execute("PRAGMA journal_mode = DELETE")
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM iceberg_tables").fetchall()
            acts = (lambda: None, lambda: reader.execute("ROLLBACK"))
            self.assertEqual(self.commit(at("iceberg.appended", *acts)), ["unknown", "ok"])
            self.finish()
            write(self.opened(), window(90, 91), SECOND.end)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM iceberg_tables").fetchall()
            write(self.opened(), window(91, 92), SECOND.end + 1)


class S3FaultsTest(IcebergFaults):
    def setUp(self) -> None:
        super().setUp()
        self.server = s3_server.shared()
        self.enterContext(patch.dict(os.environ, self.server.environ()))
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self.catalog = CatalogConfig(uri=f"sqlite:///{self.root}.db")
        access = S3Access(S3Config(endpoint_url=self.proxy.endpoint_url))
        self.storage = ObjectStorage(f"s3://{self.server.new_bucket()}/lake", access)
        self.begin()

    def test_metadata_that_cannot_be_written_is_no_commit(self):
        for what in ("m0.avro", "/snap-", "metadata.json"):
            with self.subTest(what):
                fault = self.proxy.inject(answer(403), method="PUT", path=what, times=None)
                with self.assertRaises(StorageError):
                    self.commit()
                self.assertEqual(self.outcomes, ["error"])
                self.proxy.remove(fault)
        self.finish()

    def test_metadata_whose_reply_is_lost_is_written_again(self):
        for what in ("m0.avro", "/snap-", "metadata.json"):
            self.proxy.inject(lose_reply, method="PUT", path=what)
        self.assertEqual(self.commit(), ["ok"])
        self.finish()

    def test_metadata_that_cannot_be_read_is_not_absent(self):
        for action in (answer(403), cut):
            fault = self.proxy.inject(action, method="GET", path="metadata.json", times=None)
            with self.assertRaises(EmitterError) as caught:
                self.opened()
            self.assertIsInstance(caught.exception, StorageError)
            self.proxy.remove(fault)
        self.commit()
        self.finish()


if __name__ == "__main__":
    unittest.main()
