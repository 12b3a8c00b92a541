"""The image is built and run as the README says: read-only, without rights, without a network, and killed.

The commands are the README's own, but for what this place needs: a base made by debootstrap in place of one from a
registry, a free port, and, where SSL_CERT_FILE names authorities of this machine, those for the build.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import tomllib
import unittest
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import postgres, s3_server
from tests.support.containers import BASE, Podman

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8").partition("### Container")[2].partition("\n###")[0]
ABOUT = (ROOT / "deploy/container/README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONFIG = "/etc/emitter/emitter.yaml"
LIMITS_MB = {"emitter:parquet": 500, "emitter": 850}
FORMATS = ("parquet", "delta", "iceberg", "ducklake")
CONFINED = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp", "--memory=1g"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
)
SMALL = ("clock.start=2026-01-01", "clock.speed=max", "ecommerce.customers=100", "ecommerce.products=50")
AS_RELEASED = ("--build-arg=REVISION=c0ffee", "--timestamp=1767225600")
PASSWORD = "not-to-be-seen-81d7"


def readme_commands() -> list[list[str]]:
    """The commands of the README's chapter, in order."""
    (block,) = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.startswith("$ ")]


def sets(*changes: str) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


class Index(ThreadingHTTPServer):
    """A package index that wants a password. What it knows, it has from the public one."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        super().__init__(("127.0.0.1", 0), IndexPage)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://builder:{PASSWORD}@127.0.0.1:{self.server_port}/simple"


class IndexPage(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        if base64.b64decode(given).decode() != f"builder:{PASSWORD}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {"Accept": self.headers.get("Accept", "text/html")}
        request = urllib.request.Request(f"https://pypi.org{self.path}", headers=headers)
        with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context()) as response:
            page, kind = response.read(), response.headers["Content-Type"]
        self.server.asked.add(self.path.strip("/").rpartition("/")[2])
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""


class ImageTest(unittest.TestCase):
    podman: Podman
    index: Index
    build_parquet: list[str]
    commands: list[list[str]]

    @classmethod
    def setUpClass(cls) -> None:
        for binary in ("debootstrap", "podman", "runc"):
            if shutil.which(binary) is None or os.geteuid() != 0:
                raise AssertionError(f"needs root, and {binary} on PATH: run `make test-system` as root")
        cls.podman = Podman()
        cls.addClassCleanup(cls.podman.close)
        cls.podman.make_base()
        build_all, cls.build_parquet, *cls.commands = readme_commands()
        cls.build(build_all)
        with Index() as cls.index:
            url = cls.podman.folder / "index"
            url.write_text(cls.index.url, "utf-8")
            cls.build(cls.build_parquet, *AS_RELEASED, f"--secret=id=index,src={url}")
            cls.index.shutdown()

    @classmethod
    def build(cls, command: list[str], *options: str, status: int = 0) -> str:
        """What a command of the README says that builds, with what this place needs."""
        here = ["--pull=never", f"--build-arg=BASE={BASE}"]
        if authorities := os.environ.get("SSL_CERT_FILE"):
            here.append(f"--secret=id=ca,src={authorities}")
        result = cls.podman.shell(*command[:2], *here, *options, *command[2:], status=status)
        return result.stdout + result.stderr

    def run_image(
        self, image: str, *arguments: str, options: Sequence[str] = (), network: str = "none", status: int = 0
    ) -> str:
        """What a confined container writes until it ends."""
        options = [*CONFINED, f"--network={network}", *options]
        result = self.podman("run", "--rm", *options, image, *arguments, status=status)
        return result.stdout + result.stderr

    def start(self, image: str, *arguments: str, options: Sequence[str] = ()) -> str:
        """Start a confined container. Its id."""
        container = self.podman("run", "-d", *CONFINED, "--network=none", *options, image, *arguments).stdout.strip()
        self.addCleanup(self.podman, "rm", "--force", "--time", "0", container)
        return container

    def volume(self) -> list[str]:
        """The options that mount a new volume."""
        name = self.podman("volume", "create").stdout.strip()
        self.addCleanup(self.podman, "volume", "rm", "--force", name)
        return ["-v", f"{name}:/var/lib/emitter"]

    def test_the_commands_of_the_readme(self) -> None:
        run, verify, stop = self.commands
        published = run.index("127.0.0.1:9108:9108")
        container = self.podman.shell(*run[:published], "127.0.0.1::9108", *run[published + 1 :]).stdout.strip()
        self.addCleanup(self.podman, "rm", "--force", "--time", "0", container)
        address = self.podman("port", container, "9108").stdout.strip()

        def committed() -> bool:
            try:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
                    page = response.read().decode()
            except (urllib.error.URLError, ConnectionError):
                return False
            found = re.search(r'^emitter_rows_committed_total{table="orders"} (\S+)$', page, re.MULTILINE)
            return bool(found) and float(found[1]) > 0

        self.podman.wait("rows on /metrics", container, committed)
        self.assertIn("each once", self.podman.shell(*verify).stdout)
        self.podman.shell(*stop)
        self.assertEqual(self.podman.exit_code(container), 0)
        self.assertIn('"action": "stop"', self.podman.logs(container))

    def test_a_container_that_is_killed_goes_on_exactly(self) -> None:
        volume = self.volume()
        run = ("run", "-c", CONFIG, *sets(*SMALL, "clock.batch_seconds=300"))
        container = self.start("emitter:parquet", *run, options=volume)
        self.podman.wait("third batch", container, lambda: self.podman.logs(container).count('"action": "batch"') > 2)
        self.podman("kill", "--signal", "KILL", container)
        self.assertEqual(self.podman.exit_code(container), 137)
        said = self.run_image("emitter:parquet", *run, "--batches=20", options=volume)
        self.assertEqual(said.count('"action": "batch"'), 20)
        self.assertNotIn('"first": "2026-01-01T00:00:00Z"', said)
        said = self.run_image("emitter:parquet", "verify", "-c", CONFIG, *sets(*SMALL), options=volume)
        self.assertIn("each once", said)

    def test_every_format_is_written_and_is_the_same_as_elsewhere(self) -> None:
        period = ("--to=2026-01-01T00:30:00Z", *sets(*SMALL))
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "emitter.yaml")
            config.write_text((ROOT / "deploy/container/emitter.yaml").read_text("utf-8"), "utf-8")
            command = [sys.executable, "-m", "emitter", "expect", "-c", str(config), *period]
            expected = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
        for name in FORMATS:
            with self.subTest(name):
                volume = self.volume()
                changes = sets(*SMALL, f"output.format={name}", "clock.batch_seconds=600")
                self.run_image("emitter", "run", "-c", CONFIG, "--batches=3", *changes, options=volume)
                said = self.run_image("emitter", "verify", "-c", CONFIG, *changes, options=volume)
                self.assertIn("each once", said)
        self.assertEqual(json.loads(self.run_image("emitter", "expect", "-c", CONFIG, *period)), expected)

    def test_every_format_is_written_to_s3_with_catalogues_in_postgres(self) -> None:
        storage, databases = s3_server.shared(), postgres.shared()
        bucket = storage.new_bucket()
        let_in = [f"--env={name}={value}" for name, value in storage.environ().items()]
        for name in FORMATS:
            with self.subTest(name):
                catalog = databases.url(databases.new_database()) if name in ("iceberg", "ducklake") else ""
                options = [*let_in, f"--env=EMITTER_OUTPUT__CATALOG__URI={catalog}"] if catalog else let_in
                changes = [*SMALL, f"output.format={name}", "clock.batch_seconds=600", "server.port=0"]
                changes += [f"output.uri=s3://{bucket}/{name}", f"output.s3.endpoint_url={storage.endpoint_url}"]
                for verb in (["run", "--batches=2"], ["verify"]):
                    command = [*verb, "-c", CONFIG, *sets(*changes)]
                    said = self.run_image("emitter", *command, options=options, network="host")
                self.assertIn("each once", said)

    def test_many_processes_in_one_container(self) -> None:
        volume = self.volume()
        period = ("--from=2026-01-01", "--to=2026-01-01T02:00:00Z", "--jobs=2")
        self.run_image("emitter:parquet", "generate", "-c", CONFIG, *period, *sets(*SMALL), options=volume)
        said = self.run_image("emitter:parquet", "verify", "-c", CONFIG, *sets(*SMALL), options=volume)
        self.assertIn("each once", said)

    def test_a_wrong_configuration_ends_with_2(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "emitter.yaml")
            config.write_text("output: {uri: /var/lib/emitter/shop}\nclock: {sped: 60}\n", "utf-8")
            said = self.run_image("emitter", options=["-v", f"{config}:{CONFIG}:ro"], status=2)
        self.assertIn("clock.speed", said)
        self.assertNotIn("Traceback", said)

    def test_the_image_for_parquet_names_what_another_format_needs(self) -> None:
        said = self.run_image("emitter:parquet", "run", "-c", CONFIG, "--set=output.format=delta", status=2)
        self.assertIn("pip install 'emitter[delta]'", said)
        self.assertNotIn("Traceback", said)

    def test_it_has_no_rights_and_can_write_only_to_its_volume(self) -> None:
        look = (
            "import os, pathlib; os.listdir(os.environ['HOME']); pathlib.Path('written').touch();"
            "print(os.getuid(), os.getgid(), os.getcwd(), os.access('/opt/emitter/lib', os.W_OK),"
            "[line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff')])"
        )
        said = self.run_image("emitter", "-c", look, options=["--entrypoint=python"])
        self.assertEqual(said.strip(), "65532 65532 /var/lib/emitter False ['0000000000000000']")
        self.assertEqual(self.podman.inspect("emitter")["Config"]["User"], "65532:65532")

    def test_everything_is_compiled(self) -> None:
        look = (
            "import pathlib; from importlib.util import cache_from_source as compiled;"
            "modules = list(pathlib.Path('/opt/emitter/lib').rglob('*.py'));"
            "print(len(modules) > 500, [one for one in modules if not pathlib.Path(compiled(one)).exists()])"
        )
        self.assertEqual(self.run_image("emitter", "-c", look, options=["--entrypoint=python"]).strip(), "True []")

    def test_labels_say_what_it_is(self) -> None:
        labels = self.podman.inspect("emitter:parquet")["Labels"]
        self.assertEqual(
            {name.removeprefix("org.opencontainers.image."): text for name, text in labels.items()},
            {
                "title": "emitter",
                "description": PROJECT["description"],
                "version": PROJECT["version"],
                "revision": "c0ffee",
                "licenses": PROJECT["license"],
                "io.buildah.version": labels["io.buildah.version"],
            },
        )

    def test_the_index_of_the_builder_is_used_and_leaves_no_trace(self) -> None:
        self.assertTrue({"uv", "polars", "pyarrow", "apscheduler"} <= self.index.asked, self.index.asked)
        image = self.podman.inspect("emitter:parquet")
        history = self.podman("history", "--no-trunc", "--format=json", "emitter:parquet").stdout
        for secret in (PASSWORD, "builder:", self.podman.environ.get("SSL_CERT_FILE", PASSWORD)):
            self.assertNotIn(secret, json.dumps(image) + history)
        layers = image["GraphDriver"]["Data"]["UpperDir"].split(":")
        self.assertTrue(Path(layers[0], "opt/emitter").is_dir())
        found = subprocess.run(["grep", "-rlF", PASSWORD, *layers], check=False, capture_output=True, text=True)
        self.assertEqual((found.stdout, found.stderr), ("", ""))

    def test_built_again_it_is_the_same_byte_by_byte(self) -> None:
        """Also without that index: nothing of it is inside."""
        first = self.podman.inspect("emitter:parquet")["Digest"]
        again = [word.replace("emitter:parquet", "emitter:again") for word in self.build_parquet]
        self.build(again, *AS_RELEASED)
        self.assertEqual(self.podman.inspect("emitter:again")["Digest"], first)

    def test_a_package_with_another_hash_is_refused(self) -> None:
        context = self.podman.folder / "context"
        kept = [line[2:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!/")]
        for name in kept:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, context / name)
        lock = context / "uv.lock"
        text = lock.read_text("utf-8")
        altered = re.sub(r"(/h11-.*sha256:)[0-9a-f]{64}", rf"\g<1>{'0' * 64}", text)
        self.assertNotEqual(altered, text)
        lock.write_text(altered, "utf-8")
        build = ["podman", "build", "-f", str(context / "deploy/container/Dockerfile"), str(context)]
        said = self.build(build, "--build-arg=EXTRAS=", status=1)
        self.assertRegex(said, "Hash mismatch for `h11")

    def test_it_is_no_larger_than_it_may_be_and_the_table_of_sizes_is_right(self) -> None:
        base = self.podman.inspect(BASE)["Size"]
        (row,) = re.findall(r"^\| \*\*in all\*\* \| ([\d.]+) \| ([\d.]+) \|$", ABOUT, re.MULTILINE)
        for (image, limit), told in zip(LIMITS_MB.items(), row, strict=True):
            megabytes = (self.podman.inspect(image)["Size"] - base) / 1e6
            self.assertLess(megabytes, limit, image)
            self.assertAlmostEqual(megabytes, float(told), delta=0.03 * megabytes, msg=image)


if __name__ == "__main__":
    unittest.main()
