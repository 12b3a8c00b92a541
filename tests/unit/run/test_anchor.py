"""The anchor of simulated time, as it is kept beside the journal."""

from __future__ import annotations

import json
import unittest

from emitter.clock import Anchor
from emitter.errors import DamagedStateError, StorageError, StorageNotFoundError
from emitter.run.anchor import PATH, load_anchor, store_anchor
from emitter.testing import MemoryStorage

ANCHOR = Anchor(189_388_800.25, 1_767_225_600.5, 60.0)


class AnchorTest(unittest.TestCase):
    def setUp(self):
        self.storage = MemoryStorage()

    def test_there_is_none_at_first(self):
        self.assertIsNone(load_anchor(self.storage))

    def test_the_last_one_kept_is_found(self):
        store_anchor(self.storage, Anchor(1.0, 2.0, 3.0))
        store_anchor(self.storage, ANCHOR)
        self.assertEqual(load_anchor(self.storage), ANCHOR)

    def test_a_damaged_one_is_told_with_a_way_out(self):
        store_anchor(self.storage, ANCHOR)
        whole = self.storage.objects[PATH]
        broken = json.dumps({**json.loads(whole), "speed": None}).encode()
        for data in (b"", whole[:-10], b"null", b"[]", b"{}", b"\xff\xfe", broken, whole.replace(b"60.0", b"NaN")):
            with self.subTest(data):
                self.storage.objects[PATH] = data
                with self.assertRaises(DamagedStateError) as caught:
                    load_anchor(self.storage)
                self.assertIn(PATH, caught.exception.problem)
                self.assertIn("delete it", caught.exception.hint)

    def test_storage_that_fails_does_not_mean_that_there_is_none(self):
        class Failing(MemoryStorage):
            def read(self, path):
                raise StorageError("read", path, "the disk is gone")

        with self.assertRaises(StorageError) as caught:
            load_anchor(Failing())
        self.assertNotIsInstance(caught.exception, StorageNotFoundError)
