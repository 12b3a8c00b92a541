"""No secret shows in what a process says, serves, is called with or leaves behind: the places where most secrets meet.
All formats and failures are in long_canaries.
"""

from __future__ import annotations

import os
from unittest.mock import patch

from emitter.settings.connections import S3Config
from emitter.storage.s3 import S3Access
from emitter.writers.ducklake.connection import Lake, catalog_place
from tests.end_to_end.canaries import BROKEN, CanaryCase, with_password
from tests.support.canary import Canaries, batches


class CanariesTest(CanaryCase):
    def test_a_run_on_s3_with_a_catalogue_in_postgres(self):
        scene = self.scene("ducklake", "s3", "postgres")
        seen = self.watch(scene, "run", "--no-live", until=batches(2))
        self.assertEqual(seen.returncode, 0, seen.said)
        self.assertIn(b"emitter_build_info", seen.texts["page /metrics"])
        self.assert_nothing_left(scene)

        seen = self.watch(scene, "status", environ=with_password(scene, "wrong'canary\\ 1"), secrets=["wrong'canary"])
        self.assertEqual(seen.returncode, 4, seen.said)
        self.assertIn("authentication failed", seen.said)

    def test_duckdb_tells_nobody_who_asks_for_its_settings(self):
        scene = self.scene("ducklake", "s3", "postgres")
        self.enterContext(patch.dict(os.environ, scene.environ))
        place = catalog_place(scene.environ["EMITTER_OUTPUT__CATALOG__URI"], None)
        access = S3Access(S3Config(endpoint_url=scene.changes["output.s3.endpoint_url"]))
        lake = Lake(place, f"{scene.changes['output.uri']}/", access)
        self.addCleanup(lake.close)
        asked = ("duckdb_settings()", "duckdb_secrets()", "duckdb_databases()", "duckdb_tables()", "duckdb_variables()")
        with lake.session("look into", create=True) as cursor:
            told = {name: str(cursor.execute(f"FROM {name}").fetchall()).encode() for name in asked}
        self.assertIn(b"redacted", told["duckdb_secrets()"])
        scene.canaries.assert_absent(self, told)
        self.assert_nothing_left(scene)

    def test_a_fault_of_our_own_has_a_traceback_without_them(self):
        scene = self.scene("ducklake", "disk")
        scene.environ["EMITTER_OUTPUT__CATALOG__URI"] = "postgresql://u:quoted%20canary@127.0.0.1:1/d"
        seen = self.watch(scene, "check", program=("-c", BROKEN), secrets=["quoted canary"])
        self.assertEqual(seen.returncode, 70, seen.said)
        self.assertIn("RuntimeError", seen.said)

    def test_the_canaries_are_found_where_they_are(self):
        secret = "Ca/n'\\ary=="
        for shown in ("x Ca/n'\\ary== y", "Ca%2Fn%27%5Cary%3D%3D", '"Ca/n\'\\\\ary=="', "dTpDYS9uJ1xhcnk9PQ=="):
            self.assertTrue(Canaries(secret).found({"log": shown.encode()}), shown)
        self.assertFalse(Canaries(secret).found({"log": b"nothing"}))
