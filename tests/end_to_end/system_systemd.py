"""A real systemd runs the service on a clean Debian, installed and driven by the commands that the README gives."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.support import postgres, s3_server
from tests.support.machine import REPOSITORY, UV_CACHE, Machine
from tests.support.proxy import HttpProxy
from tests.support.wire_faults import Hold

PATIENCE_SECONDS = 90
CHECKOUT = "/srv/emitter"
EMITTER = "/opt/emitter/bin/emitter"
CONFIG = "/etc/emitter/emitter.yaml"
STATE = "/var/lib/private/emitter"
UNITS = ("emitter.service", "emitter@.service")
FORMATS = ("parquet", "delta", "iceberg", "ducklake")
EXPOSURE_MAX = 20  # of 100
SHOP = """
clock: {start: 2026-01-01, speed: 60, batch_seconds: 60}
output: {uri: /var/lib/emitter/shop}
ecommerce: {customers: 200, products: 50, orders_per_second: 5}
"""
CHAPTER = (REPOSITORY / "README.md").read_text().partition("### systemd\n")[2].partition("\n### ")[0]
BLOCKS = [
    re.findall(r"^\$ (.*)", block, re.MULTILINE) for block in re.findall(r"```console\n(.*?)```", CHAPTER, re.DOTALL)
]
# Where systemd and its journal keep what is theirs; the rest of the file system is looked at.
NOT_OURS = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log/journal", "/var/lib/systemd", UV_CACHE, STATE)


@cache
def installed() -> Machine:
    """The one machine of this module, with emitter installed as the README says."""
    machine = Machine(Path(unittest.enterModuleContext(tempfile.TemporaryDirectory())))
    machine.bring_checkout(CHECKOUT)
    unittest.enterModuleContext(machine)
    machine.run("sh", "-c", BLOCKS[0][0], cwd=CHECKOUT)
    return machine


def setUpModule() -> None:
    installed()  # where it fails, it fails once


class SystemdCase(unittest.TestCase):
    def setUp(self) -> None:
        self.machine = installed()
        self.since = self.run_("date", "+@%s.%N").strip()
        self.variables(EMITTER_SERVER__PORT="0")  # the network is the host's, where the default may be taken
        self.configure(SHOP)
        self.addCleanup(self.clean)

    def clean(self) -> None:
        self.run_("systemctl", "stop", "emitter", "emitter@0", "emitter@1")
        self.run_("systemctl", "reset-failed")
        drop_in = "/etc/systemd/system/emitter.service.d"
        self.run_("sh", "-c", f"rm -rf {STATE}/* {drop_in} /etc/credstore /etc/emitter/*.env; systemctl daemon-reload")

    def read_aloud(self, command: str) -> str:
        """Run a command of the README as it stands there; what it prints."""
        return self.machine.run("sh", "-c", command, cwd=CHECKOUT).stdout

    def run_(self, *command: str) -> str:
        return self.machine.run(*command).stdout

    def start(self, *units: str) -> None:
        started = self.machine.run("systemctl", "start", *(units or ("emitter",)), check=False)
        self.assertEqual(started.returncode, 0, self.journal(*units)[-3000:])

    def configure(self, text: str) -> None:
        self.machine.path(CONFIG).write_text(text)

    def variables(self, name: str = "emitter", **values: object) -> None:
        lines = "".join(f"{key}={value}\n" for key, value in values.items())
        self.machine.path(f"/etc/emitter/{name}.env").write_text(lines)

    def drop_in(self, text: str) -> None:
        path = self.machine.path("/etc/systemd/system/emitter.service.d/test.conf")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[Service]\n{text}\n")
        self.run_("systemctl", "daemon-reload")

    def secret(self, name: str, text: str) -> None:
        folder = self.machine.path("/etc/credstore")
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / name).write_text(text)

    def show(self, name: str, unit: str = "emitter") -> str:
        return self.run_("systemctl", "show", "--property", name, "--value", unit).strip()

    def journal(self, *units: str) -> str:
        named = [f"--unit={unit}" for unit in units or ("emitter",)]
        return self.run_("journalctl", "--quiet", "--output=cat", f"--since={self.since}", *named)

    def logged(self, action: str, *units: str) -> list[dict[str, object]]:
        """The log lines of an action, oldest first."""
        lines = [json.loads(line) for line in self.journal(*units).splitlines() if line.startswith("{")]
        return [line for line in lines if line["action"] == action]

    def batches(self, *units: str) -> int:
        return len(self.logged("batch", *units))

    def until[T](self, what: str, look: Callable[[], T]) -> T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := look()):
            if time.monotonic() > deadline:
                status = self.machine.run("systemctl", "status", "--no-pager", "emitter", check=False).stdout
                self.fail(f"{what} was waited for {PATIENCE_SECONDS} s:\n{status}\n{self.journal()[-3000:]}")
            time.sleep(0.2)
        return found

    def more_batches(self, *units: str, count: int = 2) -> None:
        goal = self.batches(*units) + count
        self.until(f"{count} more batches", lambda: self.batches(*units) >= goal)

    def assert_whole(self, **environ: str) -> None:
        """All that the tables say they have is there, once."""
        settings = [f"{key}={value}" for key, value in environ.items()]
        said = self.run_("env", *settings, EMITTER, "verify", "-c", CONFIG)
        self.assertRegex(said, r"All [1-9][0-9,]* rows are there, each once\.")

    def stop_and_verify(self, **environ: str) -> None:
        self.run_("systemctl", "stop", "emitter")
        self.assertEqual(self.show("Result"), "success")
        self.assert_whole(**environ)


class InstallationTest(SystemdCase):
    def test_the_readme_works_word_for_word(self) -> None:
        self.machine.path(CONFIG).unlink()  # as on a clean machine
        service, shards = BLOCKS
        self.assertLessEqual(len(service), 10)
        said = {command.partition("#")[0].strip(): self.read_aloud(command) for command in service[:-1]}
        self.assertIn('Status: "At ', said["systemctl status emitter"])
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertTrue(self.until("the reload", lambda: self.logged("reload")))
        self.more_batches(count=1)  # of ten seconds each
        self.read_aloud(service[-1])
        self.assertEqual((self.show("ActiveState"), self.show("Result")), ("inactive", "success"))
        self.assert_whole()
        for command in shards:
            self.read_aloud(command)
        self.addCleanup(self.run_, "systemctl", "disable", "emitter", "emitter@0", "emitter@1")
        self.assertEqual([self.show("ActiveState", f"emitter@{index}") for index in (0, 1)], ["active"] * 2)
        self.more_batches("emitter@0", "emitter@1", count=1)
        self.assert_whole()

    def test_systemd_has_nothing_to_say_about_the_units(self) -> None:
        for unit in UNITS:
            path = f"/etc/systemd/system/{unit}"
            with self.subTest(unit):
                result = self.machine.run("systemd-analyze", "verify", path)
                self.assertEqual(result.stdout + result.stderr, "")  # an unknown key is a line here, and no failure
                self.run_("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", path)

    def test_nor_has_the_systemd_of_this_host(self) -> None:
        """Which in Debian 12 is the oldest that they are for."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for unit in UNITS:
            with self.subTest(unit):
                text = (REPOSITORY / "deploy/systemd" / unit).read_text()
                (folder / unit).write_text(text.replace(EMITTER, "/bin/true"))  # which is executable here
                result = subprocess.run(
                    ["systemd-analyze", "verify", str(folder / unit)], check=True, capture_output=True, text=True
                )
                said = (result.stdout + result.stderr).splitlines()
                self.assertEqual(
                    [line for line in said if "emitter" in line], []
                )  # the host's own units are its affair

    def test_every_format_works_in_the_sandbox_and_writes_nowhere_else(self) -> None:
        stamp = "/run/before"
        self.run_("touch", stamp)
        for name in FORMATS:
            with self.subTest(name):
                self.variables(EMITTER_SERVER__PORT=0, EMITTER_OUTPUT__FORMAT=name)
                before = self.batches()
                self.start()
                self.until("three batches", lambda before=before: self.batches() > before + 2)
                self.stop_and_verify(EMITTER_OUTPUT__FORMAT=name)
                self.run_("sh", "-c", f"rm -r {STATE}/*")
        unseen = [word for path in NOT_OURS for word in ("-path", path, "-prune", "-o")]
        written = self.run_("find", "/", *unseen, "-type", "f", "-newer", stamp, "-print").splitlines()
        self.assertEqual(written, ["/etc/emitter/emitter.env"])


class RunningTest(SystemdCase):
    def test_a_start_waits_until_it_has_recovered(self) -> None:
        self.start()
        self.assertEqual(len(self.logged("start")), 1)  # the line that says so is there already
        self.until("a status line", lambda: "rows/s" in self.show("StatusText"))
        self.assertRegex(self.show("StatusText"), r"^At 2026-01-01T\d\d:\d\d:00Z, lag \d+ s, [\d,]+ rows/s$")
        self.stop_and_verify()

    def test_a_reload_is_taken_over_and_a_wrong_one_refused(self) -> None:
        self.start()
        main = self.show("MainPID")
        self.configure(SHOP.replace("speed: 60", "speed: 120"))
        self.run_("systemctl", "reload", "emitter")
        (line,) = self.until("the reload", lambda: self.logged("reload"))
        self.assertEqual(line["applied"], ["clock.speed"])
        self.configure(SHOP.replace("speed: 60", "sped: 60"))
        refused = self.machine.run("systemctl", "reload", "emitter", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("clock.sped", self.journal())
        self.more_batches()
        self.assertEqual((self.show("ActiveState"), self.show("MainPID")), ("active", main))
        self.configure(SHOP)
        self.stop_and_verify()

    def test_a_killed_process_is_started_again_and_goes_on(self) -> None:
        self.drop_in("RestartSec=1")
        self.start()
        self.more_batches()
        self.run_("systemctl", "kill", "--signal=KILL", "emitter")
        self.until("a restart", lambda: len(self.logged("start")) == 2)
        self.more_batches()
        self.assertEqual((self.show("ActiveState"), self.show("NRestarts")), ("active", "1"))
        self.stop_and_verify()

    def test_a_wait_for_another_attempt_may_be_longer_than_the_watchdog(self) -> None:
        watchdog_seconds = 4
        self.drop_in(f"WatchdogSec={watchdog_seconds}")
        self.start()
        self.more_batches()
        self.run_("chmod", "0", f"{STATE}/shop")
        waits = lambda: [float(str(line["wait_seconds"])) for line in self.logged("retry")]  # noqa: E731
        self.until("a long wait and its end", lambda: any(wait > watchdog_seconds + 1 for wait in waits()[:-1]))
        self.assertIn("Waiting to try again", self.show("StatusText"))
        self.run_("chmod", "700", f"{STATE}/shop")
        self.more_batches()
        self.assertEqual((self.show("ActiveState"), self.show("NRestarts")), ("active", "0"))
        self.stop_and_verify()

    def test_a_wrong_configuration_fails_once_and_says_why(self) -> None:
        self.drop_in("RestartSec=100ms")
        self.configure(SHOP.replace("speed: 60", "speed: fast"))
        started = self.machine.run("systemctl", "start", "emitter", check=False)
        self.assertNotEqual(started.returncode, 0)
        self.assertIn("clock.speed", self.journal())
        self.assertEqual([self.show(name) for name in ("ActiveState", "ExecMainStatus")], ["failed", "2"])
        self.assertEqual(self.show("NRestarts"), "0")  # where one was to come, it would be activating, not failed
        self.configure(SHOP)
        self.start()
        self.more_batches()

    def test_two_shards_write_one_output(self) -> None:
        self.variables(EMITTER_SHARD__COUNT=2)
        port = postgres.free_port()
        self.variables("1", EMITTER_SERVER__PORT=port)
        self.start("emitter@0", "emitter@1")
        for index in (0, 1):
            self.more_batches(f"emitter@{index}")
        self.assertEqual([line["url"] for line in self.logged("serve", "emitter@1")], [f"http://127.0.0.1:{port}"])
        self.assertEqual({line["slice"] for line in self.logged("start", "emitter@*")}, {"0-of-2", "1-of-2"})
        self.run_("systemctl", "stop", "emitter@0", "emitter@1")
        self.assert_whole(EMITTER_SHARD__COUNT="2")
        self.start("emitter@0")
        self.start()  # of the whole there is one, or shards, never both
        self.assertEqual([self.show("ActiveState", unit) for unit in ("emitter", "emitter@0")], ["active", "inactive"])


class RemoteTest(SystemdCase):
    """With storage that can be made to hang, and secrets to get at it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = s3_server.shared()
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        keys = f"aws_access_key_id = {self.server.access_key}\naws_secret_access_key = {self.server.secret_key}\n"
        self.secret("emitter.aws", f"[default]\n{keys}")
        self.environ = {"AWS_SHARED_CREDENTIALS_FILE": "/etc/credstore/emitter.aws"}
        self.configure_bucket()

    def configure_bucket(self) -> None:
        """Write to an empty bucket."""
        s3 = f"{{endpoint_url: {self.proxy.endpoint_url}, region: {self.server.region}}}"
        output = f"{{uri: s3://{self.server.new_bucket()}/shop, s3: {s3}}}"
        self.configure(SHOP.replace("{uri: /var/lib/emitter/shop}", output))

    def hold_a_commit(self) -> Hold:
        hold = Hold(client_waits=True)
        self.addCleanup(hold.release)
        self.proxy.inject(hold, method="PUT", path="/_emitter/progress/")
        hold.wait()
        return hold

    def assert_nowhere(self, secret: str) -> None:
        """Not where anybody but root and the service itself can look, nor in the log."""
        seen = self.run_("systemctl", "show", "emitter") + self.run_("systemctl", "status", "--no-pager", "emitter")
        processes = self.run_("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/$(systemctl show -P MainPID emitter)/environ")
        self.assertIn("AWS_SHARED_CREDENTIALS_FILE", processes)
        self.assertNotIn(secret, seen + processes + self.run_("journalctl", "--quiet", "--output=json"))

    def test_a_commit_that_hangs_trips_the_watchdog_and_is_made_again(self) -> None:
        self.drop_in("WatchdogSec=20\nRestartSec=1")  # more than an opening takes, which follows on the standby
        self.start()
        self.more_batches()
        hold = self.hold_a_commit()
        self.until("the watchdog", lambda: "Watchdog timeout" in self.journal())
        self.until("a restart", lambda: self.logged("standby"))
        hold.release()  # the commit of a process that is dead lands late
        self.until("the lease of the dead one to end", lambda: len(self.logged("start")) == 2)
        self.more_batches()
        self.assertEqual((self.show("ActiveState"), self.show("NRestarts")), ("active", "1"))
        self.assertIn("in _try_step", self.journal())  # where it stood
        self.assert_nowhere(self.server.secret_key)
        self.stop_and_verify(**self.environ)

    def test_a_reload_finds_the_secrets_too(self) -> None:
        self.start()
        self.run_("systemctl", "reload", "emitter")
        self.until("the reload", lambda: self.logged("reload"))

    def test_a_stop_in_the_middle_of_a_commit_lets_it_finish(self) -> None:
        self.start()
        self.more_batches()
        hold = self.hold_a_commit()
        self.run_("systemctl", "stop", "--no-block", "emitter")
        self.until("the stop", lambda: self.show("ActiveState") == "deactivating")
        hold.release()
        self.until("the end", lambda: self.show("ActiveState") == "inactive")
        self.assertEqual((self.show("Result"), self.show("ExecMainStatus")), ("success", "0"))
        self.assert_whole(**self.environ)

    def test_a_catalogue_on_postgres_takes_its_password_from_a_credential(self) -> None:
        server = postgres.shared()
        host, port = server.address
        for name, scheme in (("iceberg", "postgresql"), ("ducklake", "postgres")):
            with self.subTest(name):
                self.configure_bucket()
                database = server.new_database()
                password = re.findall(r":([^:@/]+)@", server.url(database))[0]
                self.secret("emitter.pgpass", f"{host}:{port}:*:{postgres.USER}:{password}\n")
                uri = f"{scheme}://{postgres.USER}@{host}:{port}/{database}"
                self.variables(EMITTER_OUTPUT__FORMAT=name, EMITTER_OUTPUT__CATALOG__URI=uri, EMITTER_SERVER__PORT=0)
                before = self.batches()
                self.start()
                self.until("three batches", lambda before=before: self.batches() > before + 2)
                self.assert_nowhere(password)
                self.run_("systemctl", "stop", "emitter")


if __name__ == "__main__":
    unittest.main()
