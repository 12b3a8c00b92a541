"""DuckLake where the catalogue is restarted under it, or S3 refuses: real servers."""

from __future__ import annotations

import unittest
from unittest.mock import patch

from emitter.errors import (
    EmitterError,
    StorageError,
)
from emitter.model import TableCommit, TableProgress
from emitter.settings.connections import CatalogConfig, S3Config
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers.ducklake.writer import DuckLakeWriter
from tests.contract.beats import OPTIONS, ORIGIN, RUN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.contract.ducklake_outputs import OnPostgres, OnPostgresAndS3, commit
from tests.contract.test_ducklake_faults import at
from tests.support.postgres import Postgres
from tests.support.proxy import HttpProxy
from tests.support.wire_faults import Request, answer, cut, cut_reply, slow

FIRST, SECOND = window(0, 90), window(90, 200)


class RestartTest(OnPostgres, unittest.TestCase):
    def new_output(self):
        super().new_output()
        self.server = self.enterContext(Postgres())
        self.catalog = CatalogConfig(uri=self.server.url(self.server.new_database()))

    def test_a_catalogue_that_is_restarted_is_reached_again(self):
        self.new_output()
        writer = DuckLakeWriter(self.storage, OPTIONS, catalog=self.catalog)
        writer.open(RUN, TABLE)
        write(writer, window(0, 30), None)
        slot = ORIGIN + 30
        for fall in (self.server.stop, self.server.crash):
            fall()
            with self.assertRaises(StorageError):
                commit(writer, window(slot - ORIGIN, slot - ORIGIN + 30), slot)
            self.server.start()
            commit(writer, window(slot - ORIGIN, slot - ORIGIN + 30), slot)
            slot += 30
            writer._crash = at("ducklake.registered", fall, lambda: None)
            with self.assertRaises(EmitterError):
                commit(writer, window(slot - ORIGIN, slot - ORIGIN + 30), slot)
            self.server.start()
            self.assertEqual(writer.recover(WHOLE, TABLE.name).slot, slot)
            commit(writer, window(slot - ORIGIN, slot - ORIGIN + 30), slot)
            slot += 30
        self.assertEqual(found(writer, window(0, 150)), in_order(rows(window(0, 150))))
        self.assertEqual(self.held(), in_order(rows(window(0, 150))))


class S3FaultsTest(OnPostgresAndS3, unittest.TestCase):
    def test_wrong_keys_are_refused_and_new_ones_are_taken_up(self):
        self.new_output()
        writer = DuckLakeWriter(self.storage, OPTIONS, catalog=self.catalog)
        writer.open(RUN, TABLE)
        write(writer, window(0, 30), None)
        right = self.storage.access.credentials()
        wrong = type(right)(right.access_key, "hunter2", None)
        staged = tuple(writer.stage(WHOLE, window(30, 60), file) for file in files(window(30, 60)))
        move = TableCommit(TABLE.name, ORIGIN + 30, ORIGIN + 60, staged)
        with patch.object(self.storage.access, "credentials", lambda: wrong), self.assertRaises(StorageError) as caught:
            writer._attempt(WHOLE, [move])
        self.assertNotIn("hunter2", f"{caught.exception!r} {caught.exception.__cause__}")
        write(writer, window(30, 60), ORIGIN + 30)
        self.assertEqual(self.held(), in_order(rows(window(0, 60))))

    def test_files_that_cannot_be_looked_at_for_a_while_are_registered_once(self):
        faults = [
            answer(403),
            answer(404),
            answer(500),
            answer(503, {"Retry-After": "1"}),
            cut,
            cut_reply(20),
            slow(0.2),
        ]
        self.new_output()
        with HttpProxy(self.s3.address) as proxy:
            place = ObjectStorage(self.storage.uri, S3Access(S3Config(endpoint_url=proxy.endpoint_url)))
            writer = DuckLakeWriter(place, OPTIONS, catalog=self.catalog)
            writer.open(RUN, TABLE)
            slot = None
            for number, action in enumerate(faults):
                for times in (1, None):
                    asked = window(20 * number + 10 * (times is None), 20 * number + 10 * (times is None) + 10)
                    with self.subTest(action=action, times=times):
                        fault = proxy.inject(action, path=r"[.]parquet", where=by_duckdb, times=times)
                        try:
                            commit(writer, asked, slot)
                        except StorageError:
                            proxy.remove()
                            self.assertEqual(writer.recover(WHOLE, TABLE.name), self._before(slot))
                            commit(writer, asked, slot)
                        proxy.remove()
                        self.assertGreater(fault.struck, 0)
                        slot = asked.end
            everything = in_order(rows(window(0, 20 * len(faults))))
            self.assertEqual(found(writer, window(0, 20 * len(faults))), everything)
            self.assertEqual(self.held(), everything)

    def _before(self, slot: int | None) -> TableProgress | None:
        listed = self.listed()
        if slot is None:
            return None
        return TableProgress(slot, slot - ORIGIN, len(listed), sum(file.bytes for file in listed))


def by_duckdb(request: Request) -> bool:
    return "duckdb" in request.headers.get("user-agent", "").lower()


if __name__ == "__main__":
    unittest.main()
