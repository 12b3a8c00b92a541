"""The files in config/ run as they stand, those for S3 against the test server."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from tests.support import s3_server

CONFIGS = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(path for path in CONFIGS.glob("*.yaml") if path.name != "emitter.yaml")
BUCKET = "emitter-demo"
DEADLINE_SECONDS = 120


class ExamplesTest(unittest.TestCase):
    examples: ClassVar = [path for path in EXAMPLES if not path.stem.endswith("-s3")]  # all of them in `make test-long`
    verbs: ClassVar[dict[str, tuple[str, ...]]] = {"run": ("--no-live", "--batches=3"), "verify": ()}

    def test_each_runs_as_it_stands_and_is_verified(self):
        with s3_server.S3Server() as server, TemporaryDirectory() as folder:
            server.client().create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": server.region}
            )
            environ = {
                **os.environ,
                **server.environ(),
                "EMITTER_OUTPUT__S3__ENDPOINT_URL": server.endpoint_url,
                "EMITTER_SERVER__PORT": "0",
            }
            for verb, arguments in self.verbs.items():
                started = {path: self.emitter(verb, path, folder, environ, *arguments) for path in self.examples}
                for path, process in started.items():
                    with self.subTest(path.name, verb=verb):
                        told = self.finish(process)
                        if verb == "verify":
                            self.assertIn("rows are there, each once", told)

    def test_there_is_one_for_each_format_on_disk_and_on_s3(self):
        formats = ("parquet", "delta", "iceberg", "ducklake")
        wanted = {f"{name}{storage}.yaml" for name in formats for storage in ("", "-s3")} - {"parquet.yaml"}
        self.assertEqual({path.name for path in EXAMPLES}, wanted)

    def emitter(
        self, verb: str, path: Path, folder: str, environ: dict[str, str], *arguments: str
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "emitter", verb, "-c", str(path), *arguments]
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process: subprocess.Popen[str]) -> str:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        self.assertEqual(process.returncode, 0, output)
        return output
