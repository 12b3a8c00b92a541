"""A Debian of its own, booted with a real systemd in a container over the network of this host.

    with Machine(folder) as machine:            # debootstrap, then systemd-nspawn --boot
        machine.run("systemctl", "start", "emitter")
        machine.path("/etc/emitter/emitter.yaml").write_text(...)

Needs root, debootstrap and systemd-container (`scripts/install-system.sh`). The release is the first Debian whose own
Python is new enough. Where packages come from, and who vouches for that, is what this host's environment says.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

SUITE = "trixie"
PACKAGES = "systemd-sysv,dbus,procps,python3,sudo"
ARCHIVE = "http://deb.debian.org/debian"
REPOSITORY = Path(__file__).parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 60
STOP_SECONDS = 30
# systemd 257 boots on unified control groups only, and a host may have others: so the container gets a hierarchy and a
# group of its own, in a mount namespace that ends with it.
UV_CACHE = "/var/cache/uv"  # in the machine
BOOT = """
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup && mkdir "/sys/fs/cgroup/$0" && echo $$ >"/sys/fs/cgroup/$0/cgroup.procs" &&
    exec systemd-nspawn --quiet --register=no --keep-unit --boot --console=read-only "$@"
"""


class Machine:
    """Made by the constructor, booted inside `with`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._log = folder / "machine.log"
        with self._log.open("wb") as log:
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(self.root), ARCHIVE]
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode != 0:
                raise AssertionError(f"debootstrap failed:\n{self._log.read_text()[-2000:]}")
        self._environ = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "UV_CACHE_DIR": UV_CACHE}
        self._binds = ["--bind-ro=/etc/ssl"]
        for name, value in os.environ.items():
            if name.startswith(("PIP_", "SSL_CERT_")) or name.lower().endswith("_proxy"):
                self._environ[name] = value
        for path in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf"):
            if path.exists():
                self._binds.append(f"--bind-ro={path}")
        cache = Path(os.environ.get("UV_CACHE_DIR", Path.home() / ".cache/uv"))
        if cache.exists():  # what `make setup` has downloaded just before
            self._binds.append(f"--bind={cache}:{UV_CACHE}")
        self.path("/etc/sudoers.d/environment").write_text("Defaults !env_reset\n")

    def path(self, inside: str) -> Path:
        """Where a path of the machine is on this host. Symbolic links to absolute paths lead elsewhere."""
        return self.root / inside.removeprefix("/")

    def bring_checkout(self, inside: str) -> None:
        """Copy the files of this project as they are now, and none that a checkout doesn't have."""
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True).stdout.decode()
        for name in names.rstrip("\0").split("\0"):
            if (REPOSITORY / name).exists():
                target = self.path(inside) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, target)

    def __enter__(self) -> Self:
        command = ["unshare", "--mount", "sh", "-c", BOOT, f"emitter-{os.getpid()}", "-D", str(self.root), *self._binds]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)  # which systemd-nspawn passes on as a request to power off
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, *command: str, check: bool = True, cwd: str = "/") -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root."""
        namespaces = ("--mount", "--uts", "--ipc", "--pid", "--root", "--wd")
        environ = [f"{name}={value}" for name, value in self._environ.items()]
        result = subprocess.run(
            ["nsenter", f"--target={self._leader()}", *namespaces, "--", "env", "-i", "-C", cwd, *environ, *command],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=600,
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result

    def _leader(self) -> int:
        """Its first process; while it is being made, a helper of systemd-nspawn for a moment."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _wait_until_up(self) -> None:
        deadline, said = time.monotonic() + START_SECONDS, ""
        while said not in {"running", "degraded"}:
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"the machine did not boot ({said or 'no word of it'}):\n{log}")
            time.sleep(0.2)
            said = self.run("systemctl", "is-system-running", check=False).stdout.strip() if self._leader() else ""
