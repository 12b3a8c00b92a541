"""A line that tells how far it is, where somebody watches, and that never stops the work."""

from __future__ import annotations

import errno
import io
import unittest
from typing import Any

from emitter.testing import ManualClock
from emitter.watch.progressbar import progress_bar


class Screen(io.StringIO):
    def __init__(self, *, watched: bool = True) -> None:
        super().__init__()
        self.watched = watched

    def isatty(self) -> bool:
        return self.watched


class Full(Screen):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class ProgressBarTest(unittest.TestCase):
    def shown(self, stream: Any, wanted: bool | None = None, seconds: float = 0.7) -> None:
        clock = ManualClock()
        with progress_bar("verify", wanted, clock, stream) as tell:
            for done in range(5):
                tell(done, 4, 1000 * done)
                clock.advance(seconds)

    def test_it_is_written_over_and_wiped_in_the_end(self) -> None:
        screen = Screen()
        self.shown(screen)
        self.assertTrue(screen.getvalue().endswith("\r"))  # what comes between is written over it, not behind it
        first, *_, last, blank = [line for line in screen.getvalue().split("\r") if line]
        self.assertEqual(first, "verify: 50 %, 2,000 rows, about 1 s left")
        self.assertEqual(last.rstrip(), "verify: 100 %, 4,000 rows, about 0 s left")
        self.assertEqual(blank.strip(), "")
        self.assertGreaterEqual(len(blank), len(last.rstrip()))

    def test_what_is_short_or_not_watched_or_not_wanted_shows_nothing(self) -> None:
        for screen, wanted, seconds in (
            (Screen(), None, 0.1),
            (Screen(watched=False), None, 0.7),
            (Screen(), False, 0.7),
        ):
            self.shown(screen, wanted, seconds)
            self.assertEqual(screen.getvalue(), "")

    def test_asked_for_it_is_shown_anywhere(self) -> None:
        screen = Screen(watched=False)
        self.shown(screen, True)
        self.assertIn("verify: 50 %", screen.getvalue())

    def test_a_screen_that_cannot_be_written_is_left_alone(self) -> None:
        closed = Screen()
        closed.close()
        self.shown(closed, True)
        self.shown(closed)
        self.shown(Full(), True)


if __name__ == "__main__":
    unittest.main()
