"""What tests of the daemon begin with: an output of their own, a clock in hand, and how to compare."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from emitter.config import EmitterConfig
from emitter.errors import EmitterError
from emitter.model import StepReport
from emitter.run.journal import Journal
from emitter.storage.local import LocalStorage
from emitter.testing import ManualClock
from emitter.truth import oracle
from tests.support.reader import contents
from tests.support.shop import ORIGIN, TABLES, run, shop, shop_daemon

LIVE = {"clock.speed": 1, "clock.batch_seconds": 10}


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where there is one: nobody pulls a plug here, and a sync costs nothing there."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK | os.X_OK) else None)


def spans(reports: list[StepReport]) -> list[tuple[int, int]]:
    """The windows of some steps, in seconds from the origin."""
    return [(report.window.first - ORIGIN, report.window.end - ORIGIN) for report in reports]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but the locks, which are there for good and hold nothing."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@cache
def undisturbed(until: int, changes_json: str) -> dict[str, pa.Table]:
    """All rows that one run without a stop writes up to so many seconds from the origin."""
    changes = {key.replace("__", "."): value for key, value in json.loads(changes_json).items()}
    with new_folder() as folder:
        run(shop(Path(folder), changes), until)
        return contents(Path(folder))


class Marks:
    """Looks that no file comes into a partition that bears a mark of being complete: call it as often as you like."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._files: dict[Path, set[str]] = {}

    def __call__(self, *_: object) -> None:
        marked = [path.parent for path in self._output.rglob("_SUCCESS")]
        now = {folder: {path.name for path in folder.iterdir()} for folder in marked}
        for folder in now.keys() & self._files.keys():
            assert now[folder] == self._files[folder], (
                f"{folder} is marked, and had {now[folder] ^ self._files[folder]}"
            )
        self._files = now

    def of(self, table: str) -> list[str]:
        """The marked partitions of a table."""
        folders = (path.parent for path in (self._output / table).rglob("_SUCCESS"))
        return sorted(str(folder.relative_to(self._output / table)) for folder in folders)


class DaemonCase(unittest.TestCase):
    def setUp(self):
        self.output = self.new_folder()
        self.clock = ManualClock()

    def new_folder(self) -> Path:
        folder = new_folder()
        self.addCleanup(folder.cleanup)
        return Path(folder.name)

    def config(self, **changes: Any) -> EmitterConfig:
        return shop(self.output, {key.replace("__", "."): value for key, value in changes.items()})

    def live(self, **changes: Any) -> EmitterConfig:
        return shop(self.output, {**LIVE, **{key.replace("__", "."): value for key, value in changes.items()}})

    def journal(self) -> Journal:
        journal = Journal.load(LocalStorage(self.output))
        assert journal is not None
        return journal

    def assert_verified(self, config: EmitterConfig, until: int | None = None) -> None:
        verification = oracle.verify(config, None, None if until is None else ORIGIN + until)
        self.assertTrue(verification.ok, verification)
        self.assertGreater(sum(table.rows_found for table in verification.tables), 0)

    def assert_undisturbed(self, until: int, **changes: Any) -> None:
        """The output holds what one run without a stop writes."""
        expected, found = undisturbed(until, json.dumps(changes, sort_keys=True)), contents(self.output)
        for table in TABLES:
            self.assertTrue(found[table].equals(expected[table]), table)

    def assert_refused(self, kind: type[EmitterError], config: EmitterConfig, exit_code: int = 2) -> EmitterError:
        """It does not start, and leaves everything as it is."""
        before = tree(self.output)
        with self.assertRaises(kind) as caught, shop_daemon(config, clock=self.clock):
            self.fail("it started")
        self.assertEqual(caught.exception.exit_code, exit_code)
        self.assertEqual(tree(self.output), before)
        return caught.exception
