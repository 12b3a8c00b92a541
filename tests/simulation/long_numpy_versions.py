"""Content is the same on another numpy: the golden cases, made again with the oldest that is allowed.

Needs uv (on PATH, or where `make setup` puts it) and a package index. Without them it fails: what was not compared is
not known to be equal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
import unittest
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.golden.regenerate import current

ROOT = Path(__file__).parents[2]
# What content is made with, besides numpy, and what the package `tests` imports: as they are here.
OTHERS = ("pyarrow", "pydantic", "tzdata", "hypothesis")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """The standard output of a command that must succeed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def find_uv() -> str:
    """A uv that runs: under pyenv one on PATH may be a shim that fails."""
    for candidate in ("uv", str(ROOT / ".uv" / "bin" / "uv")):
        try:
            run(candidate, "--version")
        except (OSError, AssertionError):
            continue
        return candidate
    raise AssertionError("no uv that runs, neither on PATH nor in .uv/: run make setup")


def numpy_requirement() -> str:
    """As pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (requirement,) = (each for each in project["dependencies"] if each.startswith("numpy>"))
    return str(requirement)


class NumpyVersionTests(unittest.TestCase):
    def test_the_oldest_numpy_that_is_allowed_makes_the_same_rows(self) -> None:
        uv = find_uv()
        with tempfile.TemporaryDirectory() as folder:
            python = Path(folder) / "venv" / "bin" / "python"
            run(uv, "venv", "--quiet", "--no-project", "--python", sys.executable, Path(folder) / "venv")
            pins = [f"{name}=={version(name)}" for name in OTHERS]
            install = (uv, "pip", "install", "--quiet", "--python", python, "--only-binary", ":all:")
            run(*install, "--resolution", "lowest-direct", numpy_requirement(), *pins)
            older = run(python, "-c", "import numpy; print(numpy.__version__)").strip()
            self.assertNotEqual(older, np.__version__, "both are the same: there is nothing to compare")
            made = json.loads(run(python, "-m", "tests.golden.regenerate", "--print", cwd=ROOT))
        self.assertEqual(made, current(), f"numpy {older} and {np.__version__}")


if __name__ == "__main__":
    unittest.main()
