"""What a start reads of the journal: little of a long one, and never what is damaged or gone."""

from __future__ import annotations

import json
import unittest

from emitter.errors import DamagedStateError, StorageError
from emitter.run.entries import INDEX_ENTRIES
from emitter.run.journal import Journal
from emitter.testing import MemoryStorage
from tests.unit.run.journal_case import IDENTITY, ORIGIN, begun, entry_path, inputs, loaded


class DamageTest(unittest.TestCase):
    def setUp(self):
        self.storage = MemoryStorage()
        journal = begun(self.storage)
        journal.seal(ORIGIN + 100)
        journal.change(inputs(2.0))
        journal.seal(ORIGIN + 200)

    def refused(self, number: int) -> None:
        with self.assertRaises(DamagedStateError) as caught:
            Journal.load(self.storage)
        self.assertIn(f"{number:010d}.json", caught.exception.problem)
        self.assertIn("restore", caught.exception.hint)

    def test_an_entry_cut_short_anywhere_is_refused(self):
        for number in range(5):
            whole = self.storage.objects[entry_path(number)]
            for length in range(len(whole) - 1):  # without its last newline it is still whole
                self.storage.objects[entry_path(number)] = whole[:length]
                self.refused(number)
            self.storage.objects[entry_path(number)] = whole
        self.assertEqual(loaded(self.storage).sealed_slot, ORIGIN + 200)

    def test_what_is_no_entry_is_refused(self):
        for number in range(5):
            whole = self.storage.objects[entry_path(number)]
            for wrong in ("null", "[]", "7", "{}", '{"kind":"seal"}', '{"kind":"change"}', '{"kind":"x"}', "\xff"):
                with self.subTest(number=number, wrong=wrong):
                    self.storage.objects[entry_path(number)] = wrong.encode("latin-1")
                    self.refused(number)
            self.storage.objects[entry_path(number)] = whole

    def test_fields_of_another_kind_are_refused(self):
        for number, key, wrong in (
            (0, "identity", []),
            (0, "identity", {**IDENTITY, "origin": "yesterday"}),
            (0, "identity", {**IDENTITY, "journal_format": 2}),
            (1, "from_slot", "x"),
            (1, "inputs", None),
            (1, "revision", "x"),
            (1, "inputs", {"options": {}, "shard_count": 1}),
            (2, "to_slot", None),
            (2, "to_slot", "x"),
        ):
            with self.subTest(number=number, key=key, wrong=wrong):
                whole = self.storage.objects[entry_path(number)]
                self.storage.objects[entry_path(number)] = json.dumps({**json.loads(whole), key: wrong}).encode()
                self.refused(number)
                self.storage.objects[entry_path(number)] = whole

    def test_a_change_of_what_was_sealed_before_it_is_refused(self):
        entry = json.loads(self.storage.objects[entry_path(3)])
        self.storage.objects[entry_path(3)] = json.dumps({**entry, "from_slot": ORIGIN + 99}).encode()
        self.refused(3)

    def test_an_entry_that_is_gone_is_missed(self):
        for number in range(4):
            gone = self.storage.objects.pop(entry_path(number))
            self.refused(number)
            self.storage.objects[entry_path(number)] = gone

    def test_storage_that_fails_does_not_mean_an_end(self):
        class Failing(MemoryStorage):
            def read(self, path):
                if path == entry_path(3):
                    raise StorageError("read", path, "the disk is gone")
                return super().read(path)

        storage = Failing()
        storage.objects = self.storage.objects
        with self.assertRaises(StorageError):
            Journal.load(storage)


class CountingStorage(MemoryStorage):
    """Knows what was read, from an object store."""

    has_locks = False

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        return super().read(path)


class IndexTest(unittest.TestCase):
    """What a start reads is bounded, and never believed without the entries that it stands for."""

    def setUp(self):
        self.storage = CountingStorage()
        journal = begun(self.storage)
        for number in range(2, 3 * INDEX_ENTRIES + 50):
            if number in (40, 300):
                journal.change(inputs(float(number)), number)
            else:
                journal.seal(journal.sealed_slot + 10)

    def state(self, journal: Journal) -> tuple:
        return journal.epochs, journal.revision, journal.sealed_slot, journal.tables(), journal.run_id

    def whole(self) -> tuple:
        """What all entries say."""
        storage = MemoryStorage()
        storage.objects = {path: data for path, data in self.storage.objects.items() if "index" not in path}
        return self.state(loaded(storage))

    def indexes(self) -> dict[str, bytes]:
        return {path: data for path, data in self.storage.objects.items() if "index" in path}

    def test_a_start_reads_the_changes_and_the_newest_entries(self):
        self.storage.reads.clear()
        journal = loaded(self.storage)
        self.assertEqual(self.state(journal), self.whole())
        self.assertLess(len(self.storage.reads), 60)
        self.assertEqual(len(self.indexes()), 3)
        journal.seal(journal.sealed_slot + 10)
        self.assertEqual(self.state(loaded(self.storage)), self.state(journal))

    def test_every_process_makes_the_same(self):
        made, later = self.indexes(), MemoryStorage()
        later.objects = {path: data for path, data in self.storage.objects.items() if path not in list(made)[-1:]}
        for journal in (loaded(later), loaded(later)):  # the newest one is missing: the next to append makes it
            journal.seal(journal.sealed_slot + 10)
        self.assertEqual({path: data for path, data in later.objects.items() if "index" in path}, made)

    def test_an_output_of_an_older_release_gets_one_with_its_next_seal(self):
        for path in self.indexes():
            del self.storage.objects[path]
        before = self.whole()
        journal = loaded(self.storage)
        self.assertEqual(self.state(journal), before)
        self.assertEqual(self.indexes(), {})  # reading writes nothing
        journal.seal(journal.sealed_slot + 10)
        self.assertEqual(len(self.indexes()), 1)
        self.storage.reads.clear()
        self.assertEqual(self.state(loaded(self.storage)), self.whole())
        self.assertLess(len(self.storage.reads), 60)

    def test_one_that_does_not_hold_is_passed_over(self):
        expected, objects = self.whole(), self.storage.objects
        path, data = max(self.indexes().items())
        value = json.loads(data)
        for wrong in (
            b"",
            b"null",
            b"[]",
            data[:30],
            json.dumps({**value, "index_format": 2}).encode(),
            json.dumps({**value, "last": value["last"] - 1}).encode(),
            json.dumps({**value, "last": 10**9}).encode(),
            json.dumps({**value, "last_digest": "0" * 64}).encode(),
            json.dumps({**value, "changes": [1, 41, 300]}).encode(),
            json.dumps({**value, "changes": None}).encode(),
        ):
            with self.subTest(wrong[-60:]):
                objects[path] = wrong
                self.assertEqual(self.state(loaded(self.storage)), expected)

    def test_a_log_that_was_set_back_takes_its_own_way(self):
        """Restored from a copy, but the indexes of what came after are still there."""
        for path in [path for path in self.storage.objects if "index" not in path and path > entry_path(600)]:
            del self.storage.objects[path]
        before = self.indexes()
        journal = loaded(self.storage)
        self.assertEqual(self.state(journal), self.whole())
        journal.change(inputs(7.0), 400)
        for number in range(250):
            journal.seal(journal.sealed_slot + 5)
            if number % 10 == 0:
                self.assertEqual(self.state(loaded(self.storage)), self.state(journal))
        self.assertEqual(self.state(journal), self.whole())
        self.assertNotEqual(self.indexes(), before)

    def test_entries_that_are_gone_or_damaged_are_still_missed(self):
        for number in (0, 40, 300, max(3 * INDEX_ENTRIES + 20, 1)):
            with self.subTest(number):
                whole = self.storage.objects.pop(entry_path(number))
                with self.assertRaises(DamagedStateError):
                    loaded(self.storage)
                self.storage.objects[entry_path(number)] = whole


if __name__ == "__main__":
    unittest.main()
