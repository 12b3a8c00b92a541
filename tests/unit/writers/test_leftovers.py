"""What a kill leaves in an output is found once it is old, and nothing else is."""

from __future__ import annotations

import os
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

from emitter.storage.local import LocalStorage
from emitter.testing import FaultyStorage, ManualClock, SimulatedCrash
from emitter.writers.leftovers import Leftovers

OLD_SECONDS = 3_600


class LeftoversTest(unittest.TestCase):
    def setUp(self) -> None:
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory())) / "out"
        self.root.mkdir()
        self.storage, self.clock = LocalStorage(self.root), ManualClock()
        self.leftovers = Leftovers(self.storage, OLD_SECONDS, self.clock)

    def killed(self, write: Callable[[LocalStorage], object]) -> Path:
        """What is left where the process dies before what was written has its name."""
        before = set(self.root.rglob("*"))
        storage = FaultyStorage(self.root)
        storage.fail(SimulatedCrash(), times=None, only=("rename", "link", "remove"))
        with self.assertRaises(SimulatedCrash):
            write(storage)
        (left,) = (path for path in set(self.root.rglob("*")) - before if path.is_file())
        return left

    def age(self, path: Path, seconds: float) -> None:
        written = self.clock.wall_seconds() - seconds
        os.utime(path, (written, written))

    def found(self, table: str) -> list[Path]:
        return sorted(self.root / file.path for file in self.leftovers.find(table))

    def test_what_a_kill_leaves_of_any_write_is_found_once_it_is_old(self) -> None:
        kinds: list[Callable[[LocalStorage], object]] = [
            lambda storage: storage.write("orders/year=2026/month=01/a.parquet", b"12"),
            lambda storage: storage.replace("orders/b", b"12"),
            lambda storage: storage.put_if_absent("orders/c", b"12"),
            lambda storage: storage.replace_version("orders/d", b"12", None),
        ]
        for kind in kinds:
            left = self.killed(kind)
            self.age(left, OLD_SECONDS - 1)
            self.assertEqual(self.found("orders"), [])
            self.age(left, OLD_SECONDS)
            self.assertEqual(self.found("orders"), [left])
            done = self.leftovers.remove(self.leftovers.find("orders"))
            self.assertEqual((done.files_removed, done.bytes_removed), (1, 2))
            self.assertFalse(left.exists())

    def test_each_is_found_with_one_table(self) -> None:
        lefts = {
            place: self.killed(lambda storage, place=place: storage.write(f"{place}/x", b""))  # type: ignore[misc]
            for place in ("orders/year=2026", "payments/_staging", "_emitter/journal", "_emitter/progress/payments")
        }
        lefts["check"] = self.killed(lambda storage: storage.check())
        for left in lefts.values():
            self.age(left, OLD_SECONDS)
        own = lefts.pop("payments/_staging")
        self.assertEqual(self.found("orders"), sorted(lefts.values()))
        self.assertEqual(self.found("payments"), [own])

    def test_nothing_but_temporary_files_is_found(self) -> None:
        for name in ("a.parquet", ".a.parquet.crc", ".a.tmp", "a.parquet.1-2-3.tmp", "_SUCCESS", ".hidden/a.parquet"):
            self.storage.write(f"orders/{name}", b"")
        for path in self.root.rglob("*"):
            self.age(path, 10 * OLD_SECONDS)
        self.assertEqual(self.found("orders"), [])

    def test_folders_that_are_links_are_left_alone(self) -> None:
        left = self.killed(lambda storage: storage.write("elsewhere/x", b""))
        self.age(left, OLD_SECONDS)
        (self.root / "orders").mkdir()
        (self.root / "orders" / "year=2026").symlink_to(left.parent)
        self.assertEqual(self.found("orders"), [])
        self.assertEqual(self.found("elsewhere"), [left])

    def test_a_table_that_is_absent_has_none(self) -> None:
        self.assertEqual(self.found("orders"), [])


if __name__ == "__main__":
    unittest.main()
