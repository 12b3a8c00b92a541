"""Real daemons in real time, each with its upkeep beside it, while processes are killed, storage and catalogue go away
and come back: half an hour of it in `make soak`, a few minutes of some formats in `make test-long`.
"""

from __future__ import annotations

import json
import threading
import time
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import s3_server
from tests.support.effort import IS_SOAK, new_seed, some
from tests.support.places import READERS, TARGETS, Target, new_place
from tests.support.postgres import Postgres
from tests.support.proxy import HttpProxy
from tests.support.soaker import STORM_SECONDS, Soaker, outage_of

SOAK_SECONDS = 1_800 if IS_SOAK else STORM_SECONDS  # until the last calm begins
FILES_MAX = 60  # of a table, which spans two partitions at most


class LongSoakTest(unittest.TestCase):
    def setUp(self) -> None:
        self.seed = new_seed()
        self.server = self.enterContext(Postgres())
        self.guard = threading.Lock()

    def test_a_daemon_lasts_whatever_happens(self):
        soakers = [self.soaker(target) for target in some(TARGETS, self.seed)]
        until_seconds = time.monotonic() + SOAK_SECONDS
        errors: list[tuple[Target, BaseException]] = []

        def soak(soaker: Soaker) -> None:
            try:
                soaker.soak(until_seconds)
            except BaseException as error:  # noqa: BLE001 (told by the thread that waits)
                errors.append((soaker.place.target, error))

        threads = [threading.Thread(target=soak, args=[soaker]) for soaker in soakers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for soaker in soakers:
            with self.subTest(str(soaker.place.target), seed=self.seed, blows=dict(soaker.blows)):
                self.assertEqual([error for target, error in errors if target == soaker.place.target], [])
                self.check(soaker)

    def soaker(self, target: Target) -> Soaker:
        place, outages, changes = new_place(self, target), {}, {}
        if target.storage == "s3":
            proxy = HttpProxy(s3_server.shared().address)
            changes["output__s3__endpoint_url"] = proxy.endpoint_url
            outages["storage away"] = self.enterContext(outage_of(proxy))
        if target.catalog == "postgres":
            place.changes["output.catalog.uri"] = self.server.url(self.server.new_database())
            outages["catalogue crashes"] = self.crash_catalogue
        folder = Path(self.enterContext(TemporaryDirectory()))
        return Soaker(place, folder, self.seed, outages, **changes)

    def crash_catalogue(self, seconds: float) -> None:
        with self.guard:
            self.server.crash()
            time.sleep(seconds)
            self.server.start()

    def check(self, soaker: Soaker) -> None:
        """Every row is there once, before and after a last round of upkeep, and other readers find as many."""
        told = "".join(soaker.lines)
        for verb in ("verify", "maintain", "verify"):
            done = soaker.call(verb)
            self.assertEqual(done.returncode, 0, f"{verb}: {done.stdout}{done.stderr}{told}")
        tables = json.loads(soaker.call("status", "--json").stdout)
        for table in tables:
            rows = READERS[soaker.place.target.format](soaker.place, table["table"]).num_rows
            self.assertEqual(rows, table["rows"], table["table"])
        self.assertGreater(soaker.actions["batch"], SOAK_SECONDS / 10)
        if soaker.place.target.format != "parquet":
            self.assertLessEqual(max(table["files"] for table in tables), FILES_MAX)


if __name__ == "__main__":
    unittest.main()
