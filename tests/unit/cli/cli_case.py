"""What the tests of the command line share: a small run, and a call within this process."""

from __future__ import annotations

import os
import unittest
from pathlib import Path

from typer.testing import CliRunner, Result

from emitter.cli.main import app
from tests.unit.watch.test_logs import restore_logging

PROJECT = Path(__file__).parents[3]
CONFIG = """
clock: {start: 2026-01-01, speed: 100, batch_seconds: 10}
server: {port: 0}
ecommerce: {customers: 20, products: 10, orders_per_second: 5}
"""
END = "2026-01-01T00:10:00Z"


def config_file(folder: str, text: str = CONFIG) -> str:
    path = Path(folder) / "emitter.yaml"
    path.write_text(f"{text}\noutput: {{uri: {folder}/shop}}\n", encoding="utf-8")
    return str(path)


def invoke(*arguments: str, width: int = 80) -> Result:
    """Run the command line in this process."""
    environment = {name: None for name in os.environ if name.startswith("EMITTER_")}
    return CliRunner().invoke(app, arguments, env=environment | {"COLUMNS": str(width), "NO_COLOR": "1"})


class CliCase(unittest.TestCase):
    def setUp(self) -> None:
        restore_logging(self)

    def assert_exit(self, code: int, result: Result) -> None:
        if result.exit_code != code:
            self.fail(f"exit code {result.exit_code}\n{result.output}\n{result.exception!r}")
