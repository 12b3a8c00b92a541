"""Of all who could look after an output one does, and another takes over where that one is gone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import unittest

from emitter.clock import Clock, SystemClock
from emitter.errors import SliceLockedError, StorageError
from emitter.model import Slice
from emitter.run.lease import BEAT_SECONDS, LOOK_SECONDS, STILL_SECONDS
from emitter.storage.local import LocalStorage
from emitter.testing import ManualClock, MemoryStorage
from emitter.upkeep.schedule import _Caretaker
from emitter.upkeep.turn import KEEPER, ROUND, Turn, taken
from tests.support.killer import REPOSITORY

_HOLD = (
    "import sys; from emitter.clock import SystemClock; from emitter.storage.local import LocalStorage;"
    "from emitter.upkeep.turn import ROUND, Turn;"
    "turn = Turn(LocalStorage(sys.argv[1]), ROUND, SystemClock());"
    "print(turn.take(), flush=True); sys.stdin.read()"
)


class LockTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.turn = Turn(LocalStorage(self.folder), ROUND, SystemClock())

    def test_a_live_process_keeps_others_away_and_says_who_it_is_and_a_killed_one_does_not(self) -> None:
        command = [sys.executable, "-c", _HOLD, self.folder]
        with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            self.assertEqual(other.stdout.readline(), b"True\n")
            with self.assertRaises(SliceLockedError) as caught:
                self.turn.take()
            self.assertIn(f"held by process {other.pid}", caught.exception.problem)
            self.assertNotIn("slice", str(caught.exception))
            other.kill()
        self.assertTrue(self.turn.take())

    def test_it_is_had_until_it_is_let_go(self) -> None:
        other = Turn(LocalStorage(self.folder), ROUND, SystemClock())
        self.assertTrue(self.turn.take())
        self.assertTrue(self.turn.take())
        self.assertFalse(taken(other, SystemClock(), threading.Event()))
        self.turn.let_go()
        self.assertFalse(self.turn.keep())
        self.assertTrue(other.take())


class LeaseTest(unittest.TestCase):
    def setUp(self) -> None:
        self.storage, self.here, self.there = MemoryStorage(), ManualClock(), ManualClock()
        self.storage.has_locks = False  # type: ignore[misc]
        self.held, self.wanted = self.turn(self.here), self.turn(self.there)

    def turn(self, clock: Clock) -> Turn:
        return Turn(self.storage, ROUND, clock)

    def test_one_that_moves_is_left_alone(self) -> None:
        self.assertTrue(self.held.take())
        self.assertFalse(self.wanted.take())
        self.here.advance(BEAT_SECONDS)
        self.assertTrue(self.held.keep())
        with self.assertRaises(SliceLockedError):
            self.wanted.take()

    def test_a_dead_one_is_replaced_once_it_has_stood_still_and_hears_of_it(self) -> None:
        self.held.take()
        self.assertTrue(taken(self.wanted, self.there, threading.Event()))
        self.assertGreaterEqual(self.there.monotonic_seconds(), STILL_SECONDS)
        self.assertLessEqual(self.there.monotonic_seconds(), STILL_SECONDS + 2 * LOOK_SECONDS)
        self.here.advance(BEAT_SECONDS)
        self.assertFalse(self.held.keep())

    def test_who_was_killed_in_the_middle_of_a_round_is_waited_for_once(self) -> None:
        def caretaker(clock: Clock) -> _Caretaker:
            return _Caretaker(Turn(self.storage, KEEPER, clock), self.turn(clock), clock)

        self.assertTrue(caretaker(self.here).take(threading.Event()))
        self.assertTrue(caretaker(self.there).take(threading.Event()))
        self.assertGreaterEqual(self.there.monotonic_seconds(), STILL_SECONDS)
        self.assertLessEqual(self.there.monotonic_seconds(), STILL_SECONDS + 2 * LOOK_SECONDS)

    def test_who_writes_the_slice_of_the_one_that_had_it_waits_for_nothing(self) -> None:
        def caretaker(clock: Clock, slice: Slice) -> _Caretaker:
            return _Caretaker(*(Turn(self.storage, name, clock, slice) for name in (KEEPER, ROUND)), clock)

        self.assertTrue(caretaker(self.here, Slice(0, 2)).take(threading.Event()))
        self.assertTrue(caretaker(self.there, Slice(0, 2)).take(threading.Event()))
        self.assertEqual(self.there.monotonic_seconds(), 0)
        self.assertTrue(caretaker(self.there, Slice(1, 2)).take(threading.Event()))
        self.assertGreaterEqual(self.there.monotonic_seconds(), STILL_SECONDS)

    def test_one_that_was_let_go_is_free_at_once(self) -> None:
        self.held.take()
        self.held.let_go()
        self.assertTrue(self.wanted.take())

    def test_a_stop_ends_the_wait(self) -> None:
        self.held.take()
        stop = threading.Event()
        stop.set()
        self.assertFalse(taken(self.wanted, self.there, stop))
        self.assertEqual(self.there.monotonic_seconds(), 0)

    def test_storage_that_fails_for_a_moment_loses_nothing(self) -> None:
        self.held.take()
        self.here.advance(BEAT_SECONDS)
        read = self.storage.read

        def fail(path: str) -> bytes:
            raise StorageError("read", path, "no answer")

        self.storage.read = fail  # type: ignore[method-assign]
        self.assertTrue(self.held.keep())
        self.storage.read = read  # type: ignore[method-assign]
        self.assertTrue(self.held.keep())
        self.assertFalse(self.wanted.take())


if __name__ == "__main__":
    unittest.main()
