"""A shop on S3 whose network, servers and rights fail on the way: every row once, and no secret told."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from emitter.clock import text_of
from emitter.errors import EmitterError, StorageGaveUpError
from emitter.watch.observer import Observer
from tests.simulation.test_formats import CHANGES, FormatCase
from tests.support import s3_server
from tests.support.killer import REPOSITORY, emitter
from tests.support.ordeal import Mishap, Ordeal, borrowed_keys, refusal, secrets_of
from tests.support.places import TARGETS, Target
from tests.support.postgres import Postgres
from tests.support.proxy import HttpProxy
from tests.support.shop import ORIGIN, finish, shop_daemon
from tests.support.wire_faults import answer

ON_S3 = {target.format: target for target in TARGETS if target.storage == "s3"}
MISHAPS = 2
SEED = 11


class MishapsTest(FormatCase):
    """`tests/simulation/long_network_faults.py` tries many more."""

    def suffer(self, format: str, *certain: Mishap) -> None:
        ordeal = Ordeal(self, ON_S3[format], SEED)
        ordeal.begin()
        ended = ordeal.endure(Mishap("403", "data", "PUT", for_good=True))
        self.assertIsInstance(ended, StorageGaveUpError)
        for mishap in [*certain, *ordeal.choose(MISHAPS - len(certain))]:
            ordeal.endure(mishap)
        ordeal.end()

    def test_parquet_survives_them(self):
        self.suffer("parquet", Mishap("404", "progress", "GET", 30), Mishap("landing late", "progress", "PUT", 12))

    def test_delta_survives_them(self):
        self.suffer("delta", Mishap("404", "log", "GET", 30), Mishap("landing late", "log", "PUT", 2))

    def test_iceberg_survives_them(self):
        self.suffer("iceberg", Mishap("404", "log", "GET", 7), Mishap("reply lost", "catalog", "COMMIT"))

    def test_ducklake_survives_them(self):
        self.suffer("ducklake", Mishap("404", "data", "HEAD"), Mishap("landing late", "catalog", "COMMIT", 2))


class ProcessTest(FormatCase):
    def test_a_process_without_rights_ends_with_4_and_tells_no_secret(self):
        place, folder = self.place(ON_S3["iceberg"]), Path(self.enterContext(tempfile.TemporaryDirectory()))
        proxy = self.enterContext(HttpProxy(s3_server.shared().address))
        changes = {
            **CHANGES,
            "output__s3__endpoint_url": proxy.endpoint_url,
            "output__retry_attempts_max": 1,
            "output__retry_wait_seconds_max": 0.1,
        }
        path, environ = place.write_config(folder, **changes)
        command = emitter("run", "--no-live", "--take-over", f"--until={text_of(ORIGIN + 60)}", config=path)

        def result() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command,
                cwd=REPOSITORY,
                env={**environ, **borrowed_keys()},
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
            )

        fault = proxy.inject(answer(403, body=refusal("AccessDenied")), method="PUT", path=r"/orders/year", times=None)
        refused = result()
        self.assertEqual(refused.returncode, 4, refused.stderr)
        last = json.loads(refused.stderr.splitlines()[-1])
        self.assertIn("could not (in 2 attempts) write", last["error"])
        self.assertIn("allow these credentials", last["hint"])
        self.assertNotIn("Traceback", refused.stderr)
        for name, secret in secrets_of(place).items():
            self.assertNotIn(secret, refused.stdout + refused.stderr, name)
        proxy.remove(fault)
        done = result()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_exact(place, 60)


class RestartPostgres(Observer):
    """Starts the server again once the daemon has noticed that it is gone."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self.noticed = 0

    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        self.noticed += 1
        if attempt == 1:
            self._server.start()


class CatalogueCrashTest(FormatCase):
    def test_a_catalogue_that_crashes_in_the_middle_of_a_run_loses_nothing(self):
        server = self.enterContext(Postgres())
        for name in ("iceberg", "ducklake"):
            with self.subTest(name):
                place = self.place(Target(name))
                place.changes["output.catalog.uri"] = server.url(server.new_database())
                watch = RestartPostgres(server)
                with shop_daemon(place.config(**CHANGES), until=120, observer=watch) as daemon:
                    daemon.step()
                    server.crash()
                    finish(daemon)
                self.assertEqual(watch.noticed, 1)
                self.assert_exact(place, 120)
