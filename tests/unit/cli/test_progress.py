"""Away from a terminal, progress is a log line now and then."""

from __future__ import annotations

import contextlib
import io
import json
import unittest

from emitter.cli import progress
from emitter.config import LogConfig
from emitter.testing import ManualClock
from tests.unit.watch.test_logs import restore_logging


class LinesTest(unittest.TestCase):
    def test_a_line_every_few_seconds_says_how_far_it_is(self) -> None:
        restore_logging(self)
        clock, out = ManualClock(), io.StringIO()
        with contextlib.redirect_stderr(out), progress.shown("generate", LogConfig(), clock) as tell:
            for done in range(0, 101, 10):
                tell(done, 100, done * 1000)
                clock.advance(1.0)
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        self.assertEqual([(line["percent"], line["rows"]) for line in lines], [(50.0, 50_000), (100.0, 100_000)])
        self.assertEqual({(line["action"], line["verb"]) for line in lines}, {("progress", "generate")})


if __name__ == "__main__":
    unittest.main()
