"""Podman with a storage of its own, and a small Debian with Python as what images are built upon.

Everything it makes lies in one folder, and goes with it. Images are built without a daemon and without a registry, in
plain chroots, so that it also works where the tests themselves run in a container.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.child import REPOSITORY

BASE = "localhost/base"
SUITE = "trixie"
COMMAND_SECONDS_MAX = 900
DEADLINE_SECONDS = 120
STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""
ENGINE = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman:
    """See the module. Ends with `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="podman-", dir="/var/tmp"))
        storage, engine = self.folder / "storage.conf", self.folder / "containers.conf"
        storage.write_text(STORAGE.format(folder=self.folder), "utf-8")
        engine.write_text(ENGINE, "utf-8")
        self.environ = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_CONF": str(engine),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_LAYERS": "false",  # nothing is built twice
            "TMPDIR": str(self.folder),  # where caches of builds are, too
        }

    def __call__(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """The result of `podman ARGUMENTS...`, which has to end with this status, if there is one."""
        return self.shell("podman", *arguments, status=status)

    def shell(self, *command: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """The result of any command, which finds this Podman."""
        result = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=self.environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        if status is not None and result.returncode != status:
            said = f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
            raise AssertionError(f"{' '.join(command)} ended with {result.returncode}, not {status}:\n{said}")
        return result

    def make_base(self) -> None:
        """An image of Debian with Python and nothing else: BASE."""
        root, archive = self.folder / "root", self.folder / "base.tar"
        self.shell("debootstrap", "--variant=minbase", "--include=ca-certificates,python3", SUITE, str(root))
        unneeded = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*")
        self.shell("tar", "-C", str(root), *unneeded, "-cf", str(archive), ".")
        shutil.rmtree(root)
        self("import", "--quiet", str(archive), BASE)
        archive.unlink()

    def inspect(self, name: str, kind: str = "image") -> Any:
        """What is known of an image or a container."""
        return json.loads(self("inspect", "--type", kind, name).stdout)[0]

    def logs(self, container: str) -> str:
        result = self("logs", container)
        return result.stdout + result.stderr

    def exit_code(self, container: str) -> int:
        return int(self("wait", container).stdout)

    def wait(self, what: str, container: str, look: Callable[[], Any]) -> Any:
        """The first thing that `look` finds while the container runs."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if found := look():
                return found
            if not self.inspect(container, "container")["State"]["Running"]:
                break
            time.sleep(0.2)
        raise AssertionError(f"there was no {what}:\n{self.logs(container)}")

    def close(self) -> None:
        self("rm", "--all", "--force", "--time", "0", status=None)
        self("rmi", "--all", "--force", status=None)
        shutil.rmtree(self.folder)
