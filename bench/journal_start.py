"""What a start reads of the journal after a simulated year at speed 1: 52,560 seals and a dozen changes of rates.

On a local disk and on the tests' S3 server; with indexes as this release writes them, and without any, as the first
start after an upgrade finds it.

    .venv/bin/python bench/journal_start.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' S3 server

from emitter.clock import SystemClock
from emitter.model import Inputs
from emitter.run.journal import Journal, make_identity
from emitter.settings.connections import S3Config
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.testing import MemoryStorage
from tests.support import s3_server

ORIGIN, SEAL_SECONDS, SEALS = 189_388_800, 600, 52_560
TURNS = 3


def main() -> None:
    objects = year()
    entries = sum("index" not in path for path in objects)
    print(f"{entries:,} entries, {len(objects) - entries} indexes")
    with tempfile.TemporaryDirectory() as folder:
        disk = LocalStorage(folder)
        measure("disk", disk, objects, lambda path, data: write(Path(folder) / path, data))
    server = s3_server.shared()
    with patch.dict(os.environ, server.environ()):
        client, bucket = server.client(), server.new_bucket()
        storage = ObjectStorage(
            f"s3://{bucket}/lake", S3Access(S3Config(endpoint_url=server.endpoint_url, region=server.region))
        )
        measure(
            "S3", storage, objects, lambda path, data: client.put_object(Bucket=bucket, Key=f"lake/{path}", Body=data)
        )


class Objects(MemoryStorage):
    """Looks for no folders in the way, as that takes longer with each object."""

    def write(self, path: str, data: bytes) -> None:
        self.objects[path] = data


def year() -> dict[str, bytes]:
    """The objects of its journal."""
    storage = Objects()
    identity = make_identity(
        seed=7, domain="ecommerce", content_version=1, origin_slot=ORIGIN, partition="day", options={"customers": 50}
    )
    journal = Journal.create(storage, identity)
    for number in range(SEALS):
        if number % (SEALS // 12) == 0:
            journal.change(Inputs({"orders_per_second": 10.0 + number}, 1, ("customers", "orders")))
        journal.seal(ORIGIN + (number + 1) * SEAL_SECONDS)
    return storage.objects


def measure(name: str, storage: Storage, objects: dict[str, bytes], put: Callable[[str, bytes], object]) -> None:
    clock = SystemClock()

    def seconds() -> float:
        begin = clock.monotonic_seconds()
        journal = Journal.load(storage)
        assert journal is not None and journal.sealed_slot == ORIGIN + SEALS * SEAL_SECONDS
        return clock.monotonic_seconds() - begin

    def put_all(index: bool) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: put(*item), [item for item in objects.items() if ("index" in item[0]) is index]))

    put_all(False)
    without = seconds()
    put_all(True)
    times = sorted(seconds() for _ in range(TURNS))
    print(f"{name:5} with indexes {times[TURNS // 2]:6.2f} s, without {without:6.2f} s", flush=True)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    main()
