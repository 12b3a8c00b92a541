"""The memory limit is the lowest one on the way up from the process's own group."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from emitter.watch.cgroup import memory_limit_bytes


class MemoryLimitTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.root, self.own = folder / "cgroup", folder / "own"
        (self.root / "system.slice" / "emitter.service").mkdir(parents=True)
        self.own.write_text("0::/system.slice/emitter.service\n")

    def limit(self, group: str, value: str) -> None:
        (self.root / group / "memory.max").write_text(f"{value}\n")

    def found(self) -> int | None:
        return memory_limit_bytes(self.root, self.own)

    def test_that_of_the_own_group(self) -> None:
        self.limit("system.slice/emitter.service", "536870912")
        self.assertEqual(self.found(), 536870912)

    def test_that_of_a_group_above_where_it_is_lower(self) -> None:
        self.limit("system.slice/emitter.service", "536870912")
        self.limit("system.slice", "268435456")
        self.assertEqual(self.found(), 268435456)

    def test_that_of_the_root_which_is_all_that_a_container_sees(self) -> None:
        self.own.write_text("0::/\n")
        self.limit(".", "1073741824")
        self.assertEqual(self.found(), 1073741824)

    def test_none_is_known_without_a_limit(self) -> None:
        self.limit("system.slice/emitter.service", "max")
        self.assertIsNone(self.found())

    def test_none_is_known_without_cgroup_v2(self) -> None:
        self.limit(".", "1073741824")
        self.own.write_text("4:memory:/docker/0123\n1:cpu:/\n")
        self.assertIsNone(self.found())

    def test_none_is_known_where_there_are_no_groups(self) -> None:
        self.own.unlink()
        self.assertIsNone(self.found())


if __name__ == "__main__":
    unittest.main()
