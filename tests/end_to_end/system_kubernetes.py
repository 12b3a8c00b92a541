"""What no schema tells of the deployment for Kubernetes: its pods run, as processes here; promtool takes its alerts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.support import postgres
from tests.support.child import REPOSITORY
from tests.support.kubernetes_objects import container_of, environment, mounted, only
from tests.support.kubernetes_tools import KUBERNETES, OVERLAYS, Object, kustomized, templated
from tests.support.s3_server import S3Server

PATIENCE_SECONDS = 120
HASTE = {"EMITTER_CLOCK__BATCH_SECONDS": "1", "EMITTER_ECOMMERCE__CUSTOMERS": "100", "EMITTER_SERVER__PORT": "0"}
EMITTER = (sys.executable, "-m", "emitter")


class Pod:
    """One ordinal, with the arguments, files and variables of its objects, and over these what is only here."""

    def __init__(self, objects: Sequence[Object], ordinal: int, folder: Path, here: Mapping[str, str]) -> None:
        folder.mkdir()
        self.container, self.log = container_of(objects), folder / "log"
        self.arguments = mounted(objects, folder)
        self.environment = {"PATH": os.environ["PATH"], **environment(objects, ordinal), **here}
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*EMITTER, *self.arguments], env=self.environment, stderr=log, cwd=REPOSITORY
            )

    def probe(self, name: str) -> bool:
        """Whether a probe succeeds. Only the port is another than the pod's."""
        line, end, _ = self.log.read_text(encoding="utf-8").partition("\n")
        if not end or self.process.poll() is not None:
            return False
        url = json.loads(line)["url"] + self.container[f"{name}Probe"]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError):
            return False

    def rows(self) -> int:
        """What it says that it has written."""
        whole = self.log.read_text(encoding="utf-8").rpartition("\n")[0]
        lines = map(json.loads, whole.splitlines())
        return sum(sum(line["rows"].values()) for line in lines if line["action"] == "batch")

    def emitter(self, verb: str) -> subprocess.CompletedProcess[str]:
        """As `kubectl exec` would."""
        command = [*EMITTER, verb, *self.arguments[1:]]
        return subprocess.run(
            command, env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class PodsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def s3(self) -> dict[str, str]:
        """A server with the bucket of the overlays, for the variables of a pod."""
        server = self.enterContext(S3Server())
        where = {"LocationConstraint": server.region}
        server.client().create_bucket(Bucket="emitter-demo", CreateBucketConfiguration=where)
        return {**server.environ(), "EMITTER_OUTPUT__S3__ENDPOINT_URL": server.endpoint_url}

    def check_pods_run(self, overlay: str, **here: str) -> None:
        """All of them become ready, write, end when they are told to, and together have written every row once."""
        objects = kustomized(OVERLAYS / overlay)
        pods = []
        for ordinal in range(only(objects, "StatefulSet")["spec"]["replicas"]):
            pods.append(Pod(objects, ordinal, self.folder / str(ordinal), {**HASTE, **here}))
            self.addCleanup(pods[-1].end)
        deadline = time.monotonic() + PATIENCE_SECONDS
        for pod in pods:
            while not (all(map(pod.probe, ("startup", "liveness", "readiness"))) and pod.rows()):
                self.assertIsNone(pod.process.poll(), pod.log.read_text(encoding="utf-8"))
                self.assertLess(time.monotonic(), deadline, pod.log.read_text(encoding="utf-8"))
                time.sleep(0.1)
        for pod in pods:
            pod.process.send_signal(signal.SIGTERM)
        for pod in pods:
            self.assertEqual(pod.process.wait(PATIENCE_SECONDS), 0, pod.log.read_text(encoding="utf-8"))
        for verb in ("check", "verify"):
            done = pods[0].emitter(verb)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("each once", done.stdout)

    def test_one_with_a_volume(self) -> None:
        self.check_pods_run("local-disk", EMITTER_OUTPUT__URI=str(self.folder / "shop"))

    def test_two_on_s3(self) -> None:
        self.check_pods_run("delta-s3", **self.s3())

    def test_two_on_s3_and_postgres(self) -> None:
        database = postgres.shared()
        url = urlsplit(database.url(database.new_database()))
        self.check_pods_run(
            "iceberg-postgres",
            EMITTER_OUTPUT__CATALOG__URI=f"postgresql://{url.hostname}:{url.port}{url.path}",
            PGUSER=url.username or "",
            PGPASSWORD=url.password or "",
            **self.s3(),
        )


class PrometheusRuleTest(unittest.TestCase):
    def setUp(self) -> None:
        self.assertIsNotNone(shutil.which("promtool"), "promtool is not on PATH: run scripts/install-system.sh")

    def test_promtool_has_nothing_to_say(self) -> None:
        ways = {
            "Kustomize": yaml.safe_load((KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml").read_text()),
            "Helm": templated("--set", "monitoring.enabled=true", "-s", "templates/prometheusrule.yaml")[0],
        }
        for way, rule in ways.items():
            with self.subTest(way), tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "rules.yml"
                file.write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
                command = ["promtool", "check", "rules", "--lint-fatal", file]
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertRegex(done.stdout, r"SUCCESS: [1-9]\d* rules found")


if __name__ == "__main__":
    unittest.main()
