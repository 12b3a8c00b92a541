"""`emitter maintain`: what it does, tells and refuses."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import unittest
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from emitter.cli.upkeepprinting import print_maintained
from emitter.clock import SystemClock
from emitter.config import EmitterConfig
from emitter.model import ChoreReport
from emitter.storage.local import LocalStorage
from emitter.upkeep.opened import opened
from emitter.upkeep.turn import ROUND, Turn
from tests.support.case import tree
from tests.support.scripted_upkeep import scripted_writer
from tests.unit.cli.cli_case import END, PROJECT, CliCase, config_file, invoke

_OPENED = "emitter.upkeep.once.opened"


class MaintainTest(CliCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.output = Path(self.folder) / "shop"
        self.config = config_file(self.folder)

    def begin(self) -> None:
        self.assert_exit(0, invoke("generate", "-c", self.config, "--to", END, "--jobs", "1"))

    def scripted(self, script: str) -> None:
        """Let the upkeep of the output go by a script."""

        def make_writer(config: EmitterConfig) -> object:
            return scripted_writer(script, config)

        def scripted_opened(config: EmitterConfig, clock: SystemClock, _: object) -> object:
            return opened(config, clock, make_writer)  # type: ignore[arg-type]

        self.enterContext(mock.patch(_OPENED, scripted_opened))

    def test_it_tells_by_piece_and_in_all_what_it_did(self) -> None:
        self.begin()
        self.scripted("work")
        result = invoke("maintain", "-c", self.config)
        self.assert_exit(0, result)
        lines = [line.split() for line in result.stdout.splitlines()]
        self.assertEqual(lines[0], ["task", "table", "partition", "files", "bytes", "seconds"])
        self.assertEqual(lines[1][:6], ["compact", "customers", "year=2026", "60", "→", "1"])
        self.assertEqual(lines[6][:5], ["in", "all", "300", "→", "5"])
        self.assertRegex(result.stdout.splitlines()[-1], r"^Done in \d+\.\d s\.$")
        self.assertLessEqual(max(map(len, result.stdout.splitlines())), 80)

    def test_a_dry_run_tells_the_same_and_changes_nothing_and_needs_no_turn(self) -> None:
        self.begin()
        self.scripted("work")
        before = tree(self.output)
        turn = Turn(LocalStorage(self.output), ROUND, SystemClock())
        self.assertTrue(turn.take())
        result = invoke("maintain", "-c", self.config, "--dry-run")
        turn.let_go()
        self.assert_exit(0, result)
        self.assertIn("300 → 5", result.stdout)
        self.assertTrue(result.stdout.endswith("Nothing was changed.\n"))
        self.assertFalse((self.output.with_suffix(".begun")).exists())
        self.assertEqual(tree(self.output), before)

    def test_json_holds_every_piece(self) -> None:
        self.begin()
        self.scripted("work")
        did = json.loads(invoke("maintain", "-c", self.config, "--json").stdout)
        self.assertEqual((len(did), did[0]["files_removed"]), (5, 60))
        self.assertEqual(set(did[0]), set(asdict(ChoreReport("compact", "orders"))))
        would = json.loads(invoke("maintain", "-c", self.config, "--json", "--dry-run").stdout)
        self.assertEqual((len(would), would[0]["files_after"]), (5, 1))

    def test_only_the_task_that_was_asked_for_is_done_also_where_upkeep_is_off(self) -> None:
        self.begin()
        self.scripted("work")
        off = ("-c", self.config, "--set", "maintenance.enabled=false")
        self.assertIn("Nothing to do", invoke("maintain", *off, "--task", "vacuum").stdout)
        self.assertIn("300 → 5", invoke("maintain", *off, "--task", "vacuum", "--task", "compact").stdout)

    def test_what_fails_is_named_and_ends_in_4(self) -> None:
        self.begin()
        self.scripted("fail")
        result = invoke("maintain", "-c", self.config)
        self.assert_exit(4, result)
        self.assertIn("✗ compact orders year=2026: could not write orders: disk full", result.stdout)
        self.assertIn("5 of 5 failed", result.stdout)

    def test_another_process_at_it_is_named_and_ends_in_3(self) -> None:
        self.begin()
        hold = (
            "import sys; from emitter.clock import SystemClock; from emitter.storage.local import LocalStorage;"
            "from emitter.upkeep.turn import ROUND, Turn; turn = Turn(LocalStorage(sys.argv[1]), ROUND, SystemClock());"
            "print(turn.take(), flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", hold, str(self.output)]
        with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            result = invoke("maintain", "-c", self.config)
            other.kill()
        self.assert_exit(3, result)
        self.assertIn(f"held by process {other.pid}", result.stderr)

    def test_an_output_that_was_never_begun_and_a_task_that_nobody_knows_end_in_2(self) -> None:
        for dry in ((), ("--dry-run",)):
            result = invoke("maintain", "-c", self.config, *dry)
            self.assert_exit(2, result)
            self.assertIn("there is no journal", result.stderr)
        self.assertFalse(self.output.exists())
        result = invoke("maintain", "-c", self.config, "--task", "vaccum")
        self.assert_exit(2, result)
        self.assertIn("did you mean vacuum?", result.stderr)

    def test_conflicts_are_shown_where_there_were_any(self) -> None:
        for conflicts, is_shown in ((0, False), (2, True)):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                print_maintained([ChoreReport("compact", "orders", "", 1.0, 9, 1, 90, 50, conflicts)], 1, stopped=False)
            self.assertEqual("conflicts" in out.getvalue(), is_shown)


if __name__ == "__main__":
    unittest.main()
