"""The progress of a Delta table: what the newest commits say of it, and what takes the library."""

from __future__ import annotations

import unittest

from emitter.errors import DamagedStateError
from emitter.writers.delta.history import LoggedCommit
from emitter.writers.delta.progress import recent_first


class RecentFirstTest(unittest.TestCase):
    """Versions up to 20; what is not in `moved` moved nothing."""

    def setUp(self) -> None:
        self.moved: dict[int, dict[str, int]] = {}
        self.gone: set[int] = set()
        self.damaged: set[int] = set()
        self.read: list[int] = []
        self.asked: list[str] = []
        self.checkpoint = -1

    def number(self, *names: str) -> list[int | None]:
        def read(version: int) -> LoggedCommit | None:
            self.read.append(version)
            if version in self.damaged:
                raise DamagedStateError(str(version), hint="none")
            return None if version in self.gone else LoggedCommit(moved=self.moved.get(version, {}))

        def otherwise(name: str) -> int | None:
            self.asked.append(name)
            return {"old": 7}.get(name)

        return list(map(recent_first(read, 20, self.checkpoint, otherwise), names))

    def test_the_newest_number_of_a_name_counts_and_each_commit_is_read_once(self):
        self.moved = {20: {"a": 5}, 19: {"a": 4, "b": 3}, 18: {"b": 2}}
        self.assertEqual(self.number("b", "a", "b"), [3, 5, 3])
        self.assertEqual((self.read, self.asked), ([20, 19], []))

    def test_what_the_newest_did_not_move_the_library_finds(self):
        self.moved = {20: {"a": 5}, 0: {"old": 1}}
        self.assertEqual(self.number("old", "a", "none"), [7, 5, None])
        self.assertEqual((self.read, self.asked), (list(range(20, 4, -1)), ["old", "none"]))

    def test_what_stands_behind_the_checkpoint_is_in_no_version(self):
        self.moved, self.checkpoint = {20: {"a": 5}, 18: {"old": 99}}, 18
        self.assertEqual(self.number("old", "a"), [7, 5])
        self.assertEqual(self.read, [20, 19])

    def test_behind_what_is_gone_or_damaged_nothing_counts(self):
        for gone, damaged in (({19}, set()), (set(), {19})):
            with self.subTest(gone=gone, damaged=damaged):
                self.setUp()
                self.moved, self.gone, self.damaged = {20: {"a": 5}, 18: {"old": 1}}, gone, damaged
                self.assertEqual(self.number("old", "a", "old"), [7, 5, 7])
                self.assertEqual(self.read, [20, 19])


if __name__ == "__main__":
    unittest.main()
