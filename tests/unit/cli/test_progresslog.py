"""At a terminal, progress is one line written anew; elsewhere a log line now and then."""

from __future__ import annotations

import contextlib
import io
import json
import unittest

from emitter.cli import progresslog
from emitter.config import LogConfig
from emitter.testing import ManualClock
from tests.unit.watch.test_logs import restore_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ShownTest(unittest.TestCase):
    def test_a_line_every_few_seconds_says_how_far_it_is(self) -> None:
        restore_logging(self)
        clock, out = ManualClock(), io.StringIO()
        with contextlib.redirect_stderr(out), progresslog.shown("generate", LogConfig(), clock) as tell:
            for done in range(0, 101, 10):
                tell(done, 100, done * 1000)
                clock.advance(1.0)
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        self.assertEqual([(line["percent"], line["rows"]) for line in lines], [(50.0, 50_000), (100.0, 100_000)])
        self.assertEqual({(line["action"], line["verb"]) for line in lines}, {("progress", "generate")})

    def test_at_a_terminal_generate_draws_a_bar(self) -> None:
        restore_logging(self)
        for log, is_drawn in ((LogConfig(), True), (LogConfig(format="json"), False)):
            clock, out = ManualClock(), Terminal()
            with contextlib.redirect_stderr(out), progresslog.shown("generate", log, clock) as tell:
                clock.advance(2.0)
                tell(10, 100, 1000)
            self.assertEqual("\rgenerate: 10 %, 1,000 rows" in out.getvalue(), is_drawn, out.getvalue())


if __name__ == "__main__":
    unittest.main()
