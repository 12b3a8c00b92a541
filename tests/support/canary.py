"""Secrets that are looked for wherever they must not be: in all that a real process says, shows and leaves behind.

canaries = Canaries(server.secret_key, password)
seen = watch(["run"], config, environ, until=batches(2))    # stdout, stderr, arguments, every page it serves
canaries.assert_absent(case, seen.texts)
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import TestCase
from urllib.parse import quote

import psutil
import psycopg

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0  # on a busy machine
PAGES = ("/", "/api/status", "/metrics", "/livez", "/readyz", "/nope")
SERVES = re.compile(rb'"action": ?"serve", ?"url": ?"([^"]+)"')


class Canaries:
    """Some secrets, and every form in which one might show."""

    def __init__(self, *secrets: str) -> None:
        self._forms = {form for secret in secrets for form in forms(secret)}

    def found(self, texts: Mapping[str, bytes]) -> dict[str, str]:
        """Where one of them stands: place -> what is around it."""
        places = {}
        for name, data in texts.items():
            for form in self._forms:
                at = data.find(form)
                if at >= 0:
                    places[name] = data[max(0, at - 200) : at + 80].decode(errors="replace")
        return places

    def assert_absent(self, case: TestCase, texts: Mapping[str, bytes]) -> None:
        places = self.found(texts)
        if places:
            case.fail("\n".join(f"a secret in {name}: ...{around}..." for name, around in places.items()))


def forms(secret: str) -> Iterable[bytes]:
    """A secret as it stands, and as URIs, JSON, SQL, shells and HTTP would have it."""
    yield from (secret.encode(), quote(secret, safe="").encode(), quote(secret).encode(), secret.encode("utf-16-le"))
    yield from (json.dumps(secret)[1:-1].encode(), repr(secret)[1:-1].encode(), secret.replace("'", "''").encode())
    yield secret.replace("\\", "\\\\").replace("'", "\\'").encode()
    for before in range(3):  # of three bytes base64 makes four letters: the inner ones don't hang on what is around
        yield base64.b64encode(b"\0" * before + secret.encode())[4 if before else 0 : -4]


@dataclass
class Seen:
    """What came of a process. `texts` is all of it: place -> bytes."""

    returncode: int
    texts: dict[str, bytes] = field(default_factory=dict)

    @property
    def said(self) -> str:
        return (self.texts["stdout"] + self.texts["stderr"]).decode(errors="replace")


def watch(
    arguments: list[str],
    config: Path,
    environ: Mapping[str, str],
    until: Callable[[bytes], bool] = lambda told: False,
    program: Iterable[str] = ("-m", "emitter"),
) -> Seen:
    """Run a verb until it ends; or, once `until` is true of what it has told, look at its pages and stop it."""
    command = [sys.executable, *program, arguments[0], "-c", str(config), *arguments[1:]]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        seen, deadline, told = Seen(0), time.monotonic() + DEADLINE_SECONDS, b""
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{command} does not end: {told.decode(errors='replace')}")
                told = os.pread(err.fileno(), 2**24, 0)
                seen.texts.update(arguments_of(process.pid))
                if until(told):
                    seen.texts.update(pages(told))
                    process.send_signal(signal.SIGTERM)
                    process.wait(DEADLINE_SECONDS)
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        seen.returncode = process.returncode
        seen.texts["stdout"] = os.pread(out.fileno(), 2**24, 0)
        seen.texts["stderr"] = os.pread(err.fileno(), 2**24, 0)
    return seen


def batches(count: int) -> Callable[[bytes], bool]:
    return lambda told: told.count(b'"action": "batch"') >= count


def arguments_of(pid: int) -> dict[str, bytes]:
    """What anybody on the machine can read of a process and of those it has started."""
    found = {}
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(OSError):
                found[f"arguments of {each.pid}"] = Path(f"/proc/{each.pid}/cmdline").read_bytes()
    return found


def pages(told: bytes) -> dict[str, bytes]:
    """Every page of the process that has told so, with its headers."""
    url, found = SERVES.search(told), {}
    assert url is not None, told
    for page in PAGES:
        try:
            with urllib.request.urlopen(url[1].decode() + page, timeout=10) as reply:
                found[f"page {page}"] = str(reply.headers).encode() + reply.read()
        except urllib.error.HTTPError as error:
            found[f"page {page}"] = str(error.headers).encode() + error.read()
            error.close()
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and its name."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {f"file {path}": str(path).encode() + path.read_bytes() for path in paths}


def database(url: str) -> dict[str, bytes]:
    """All rows of all tables of a Postgres database."""
    found = {}
    with psycopg.connect(url) as connection:
        query = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname !~ '^(pg_|information)'"
        for (name,) in connection.execute(query).fetchall():
            rows = connection.execute(f"SELECT t::text FROM {name} t").fetchall()
            found[f"table {name}"] = "\n".join(row for (row,) in rows).encode()
    return found


def bucket(client: object, name: str) -> dict[str, bytes]:
    """All objects of a bucket, with their headers."""
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):  # type: ignore[attr-defined]
        for entry in page.get("Contents", []):
            reply = client.get_object(Bucket=name, Key=entry["Key"])  # type: ignore[attr-defined]
            found[f"object {entry['Key']}"] = str(reply["Metadata"]).encode() + reply["Body"].read()
    return found
