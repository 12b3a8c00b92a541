"""Turns at a catalogue: one after the other, but nobody waits long."""

from __future__ import annotations

import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from emitter.clock import SystemClock
from emitter.storage.local import LocalStorage
from emitter.writers.ducklake import turns
from emitter.writers.ducklake.turns import Turns


class TurnsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def turns(self) -> Turns:
        return Turns(LocalStorage(self.folder), SystemClock())

    def test_who_comes_second_has_his_turn_after_the_first(self):
        order: list[str] = []
        begun, looked = threading.Event(), threading.Event()

        def second() -> None:
            begun.wait()
            waiting = self.turns()
            wait = waiting._clock.wait
            with (
                patch.object(waiting._clock, "wait", lambda *asked: (looked.set(), wait(*asked))),
                waiting.take(),
            ):
                order.append("second")

        with ThreadPoolExecutor(1) as pool, patch.object(turns, "_LOOKS_MAX", 1_000_000):
            ended = pool.submit(second)
            with self.turns().take():
                begun.set()
                looked.wait()
                order.append("first")
            ended.result()
        self.assertEqual(order, ["first", "second"])

    def test_who_waits_in_vain_goes_on_without(self):
        with patch.object(turns, "_LOOKS_MAX", 3), self.turns().take(), self.turns().take():
            pass

    def test_a_catalogue_in_postgres_needs_none(self):
        with Turns(None, SystemClock()).take(), Turns(None, SystemClock()).take():
            pass
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
