"""A lease moves while its holder lives, and is free once it was let go or has stood still."""

from __future__ import annotations

import unittest

from emitter.errors import OvertakenError, SliceLockedError, StorageError
from emitter.model import Slice
from emitter.run.lease import BEAT_SECONDS, STILL_SECONDS, Lease
from emitter.testing import ManualClock, MemoryStorage

PATH = "_emitter/leases/1-of-2.json"


class LeaseTest(unittest.TestCase):
    def setUp(self) -> None:
        self.storage, self.here, self.there = MemoryStorage(), ManualClock(), ManualClock()
        self.held, self.wanted = self.lease(self.here), self.lease(self.there)

    def lease(self, clock: ManualClock) -> Lease:
        return Lease(self.storage, Slice(1, 2), clock)

    def test_it_is_free_before_anybody_takes_it_and_after_it_was_let_go(self) -> None:
        self.assertTrue(self.wanted.is_free())
        self.held.take()
        self.assertFalse(self.wanted.is_free())
        self.held.let_go()
        self.assertTrue(self.wanted.is_free())

    def test_only_a_whole_while_without_a_beat_frees_it(self) -> None:
        self.held.take()
        self.assertFalse(self.wanted.is_free())
        self.there.advance(STILL_SECONDS - 1)
        self.here.advance(BEAT_SECONDS)
        self.held.beat()
        self.wanted.check_still()  # it has not been seen to move yet
        self.there.advance(1)
        self.assertFalse(self.wanted.is_free())
        with self.assertRaises(SliceLockedError):
            self.wanted.check_still()
        self.there.advance(STILL_SECONDS)
        self.assertTrue(self.wanted.is_free())

    def test_it_is_written_only_when_a_beat_is_due(self) -> None:
        self.held.take()
        before = self.storage.read(PATH)
        self.held.beat()
        self.assertEqual(self.storage.read(PATH), before)
        self.here.advance(BEAT_SECONDS)
        self.held.beat()
        self.assertNotEqual(self.storage.read(PATH), before)

    def test_who_has_lost_it_hears_of_it_and_lets_go_of_nothing(self) -> None:
        self.held.take()
        self.wanted.take()
        self.here.advance(BEAT_SECONDS)
        with self.assertRaises(OvertakenError):
            self.held.beat()
        self.held.let_go()
        self.assertEqual((self.held.is_ours(), self.wanted.is_ours()), (False, True))

    def test_one_that_cannot_be_read_is_somebodys(self) -> None:
        for data in (b"", b"[]", b"{}", b"\xff"):
            self.storage.objects[PATH] = data
            self.assertFalse(self.lease(self.there).is_free())

    def test_one_that_is_gone_is_not_made_again_in_an_output_that_was_removed(self) -> None:
        self.held.take()
        self.storage.objects.clear()
        self.here.advance(BEAT_SECONDS)
        self.held.beat()
        self.held.let_go()
        self.assertEqual(self.storage.objects, {})

    def test_storage_that_fails_is_no_reason_not_to_end(self) -> None:
        self.held.take()

        def fail(path: str) -> bytes:
            raise StorageError("read", path, "no answer")

        self.storage.read = fail  # type: ignore[method-assign]
        self.held.let_go()


if __name__ == "__main__":
    unittest.main()
