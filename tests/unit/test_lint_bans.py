"""The linter refuses every clock and every randomness outside the modules that own them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROJECT = Path(__file__).parents[2]

CLOCKS = (
    "import time",
    "from time import sleep",
    "import time\n\ntime.time()",
    "import time\n\ntime.time_ns()",
    "import time\n\ntime.monotonic()",
    "import time\n\ntime.monotonic_ns()",
    "import time\n\ntime.perf_counter()",
    "import time\n\ntime.perf_counter_ns()",
    "import time\n\ntime.sleep(1)",
    "import datetime\n\ndatetime.datetime.now(datetime.UTC)",
    "import datetime as dt\n\ndt.datetime.now(dt.UTC)",
    "from datetime import UTC, datetime\n\ndatetime.now(UTC)",
    "from datetime import datetime\n\ndatetime.utcnow()",
    "from datetime import datetime\n\ndatetime.today()",
    "from datetime import date\n\ndate.today()",
)
RANDOMNESS = (
    "import random",
    "from random import shuffle",
    "import random\n\nrandom.random()",
    "import secrets",
    "from secrets import token_hex",
    "import os\n\nos.urandom(8)",
    "import uuid\n\nuuid.uuid1()",
    "import uuid\n\nuuid.uuid4()",
    "from uuid import uuid4",
    "import numpy\n\nnumpy.random.default_rng(1)",
    "import numpy as np\n\nnp.random.default_rng(1)",
    "from numpy.random import default_rng",
    "from numpy import random",
)
ALLOWED = (
    "from datetime import UTC, datetime, timedelta\n\ndatetime.fromtimestamp(0, UTC) + timedelta(seconds=1)",
    "from datetime import time\n\ntime(12, 30)",
    "import uuid\n\nuuid.UUID(int=1)",
    "import numpy as np\n\nnp.arange(3)",
)


def banned(source: str, filename: str) -> set[str]:
    """The messages of the bans that fire on `source` if it stood in `filename`."""
    options = ["--no-cache", "--output-format=concise", f"--stdin-filename={filename}"]
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *options, "-"],
        input=source,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
    )
    if ruff.returncode not in (0, 1):
        raise AssertionError(ruff.stderr)
    return set(re.findall(r": TID251 `[\w.]+` is banned: (.*)", ruff.stdout))


class BansTest(unittest.TestCase):
    def test_no_other_module_reads_a_clock(self) -> None:
        for source in CLOCKS:
            with self.subTest(source):
                self.assertEqual(banned(source, "emitter/x.py"), {"use emitter.clock"})

    def test_no_other_module_draws_at_random(self) -> None:
        for source in RANDOMNESS:
            with self.subTest(source):
                self.assertEqual(banned(source, "emitter/generators/x.py"), {"use emitter.randomness"})

    def test_what_depends_on_nothing_is_allowed(self) -> None:
        for source in ALLOWED:
            with self.subTest(source):
                self.assertEqual(banned(source, "emitter/x.py"), set())

    def test_each_owner_uses_only_what_it_owns(self) -> None:
        for owner in ("clock", "randomness"):
            with self.subTest(owner):
                source = (PROJECT / f"emitter/{owner}.py").read_text(encoding="utf-8")
                self.assertLessEqual(banned(source, "emitter/x.py"), {f"use emitter.{owner}"})

    def test_no_module_waives_a_ban(self) -> None:
        waiver = re.compile(r"(?im)#\s*(ruff:\s*)?noqa(\s*$|.*TID)")
        modules = sorted((PROJECT / "emitter").rglob("*.py"))
        self.assertEqual([path for path in modules if waiver.search(path.read_text(encoding="utf-8"))], [])


class FilesTest(unittest.TestCase):
    def test_what_is_looked_at_is_the_projects_own_and_nothing_that_lies_beside_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            shutil.copy(PROJECT / "pyproject.toml", root)
            own = ("emitter/a.py", "emitter/b/c.py", "tests/unit/d.py", "bench/e.py")
            for name in (*own, "try.py", "notebook.ipynb", "scratch/f.py", "env/lib/python3/site-packages/g.py"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text("import os", encoding="utf-8")
            command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--show-files", "."]
            shown = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True).stdout.split()
        self.assertEqual({str(Path(path).relative_to(root)) for path in shown}, {"pyproject.toml", *own})


if __name__ == "__main__":
    unittest.main()
