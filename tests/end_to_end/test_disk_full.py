"""A disk without room in the middle of a batch, in a real process: it backs off, ends with 4, and goes on later.

A limit on the size of files stands for the full disk here, as it needs no rights; `system_disk_full.py` fills one with
each format.
"""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
from pathlib import Path

from emitter.clock import text_of
from emitter.truth import oracle
from tests.simulation.test_formats import CHANGES, FormatCase
from tests.support.killer import REPOSITORY, emitter
from tests.support.places import TARGETS, Target
from tests.support.shop import ORIGIN

UNTIL = 300
FILE_BYTES_MAX = {"parquet": 3000, "iceberg": 18_000}
"""By format. What does not fit: the first files of customers, the metadata of a table after some batches."""


class TooFewDescriptorsTest(FormatCase):
    def test_whatever_runs_out_of_them_it_is_said_and_ends_with_4(self):
        """Parquet in several processes: their pool; Delta: its library, which panics."""
        for target, verb, limit in (
            (Target("parquet"), ("generate", f"--to={text_of(ORIGIN + UNTIL)}", "--jobs=2"), 10),
            (Target("delta"), ("run", "--no-live", "--batches=1"), 12),
        ):
            with self.subTest(str(target)):
                folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
                path, environ = self.place(target).write_config(folder, **CHANGES)

                def prepare(limit: int = limit) -> None:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

                ended = subprocess.run(
                    emitter(*verb, config=path), env=environ, cwd=REPOSITORY, capture_output=True, text=True,
                    check=False, preexec_fn=prepare,
                )  # fmt: skip
                self.assertEqual(ended.returncode, 4, ended.stderr)
                self.assertIn("ulimit -n", ended.stderr)


class DiskFullTest(FormatCase):
    def test_a_file_does_not_fit(self):
        for target in TARGETS:
            if target.storage == "disk" and target.format in FILE_BYTES_MAX:
                with self.subTest(str(target)):
                    self.fill(target, FILE_BYTES_MAX[target.format])

    def fill(self, target: Target, limit: int) -> None:
        def prepare() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        place = self.place(target)
        changes = {**CHANGES, "output__retry_attempts_max": 2, "output__retry_wait_seconds_max": 0.1}
        path, environ = place.write_config(Path(self.enterContext(tempfile.TemporaryDirectory())), **changes)
        command = emitter("run", "--no-live", f"--until={text_of(ORIGIN + UNTIL)}", config=path)

        def result(**more: object) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, cwd=REPOSITORY, env=environ, check=False, capture_output=True, text=True, timeout=120, **more
            )

        full = result(preexec_fn=prepare)
        self.assertEqual(full.returncode, 4, full.stderr)
        last = json.loads(full.stderr.splitlines()[-1])
        self.assertIn("could not (in 3 attempts)", last["error"])
        self.assertTrue(last["hint"])
        self.assertNotIn("Traceback", full.stderr)
        verification = oracle.verify(place.config(**changes))
        self.assertTrue(verification.ok, verification)
        self.assertFalse(oracle.verify(place.config(**changes), None, ORIGIN + UNTIL).ok)
        rest = result()
        self.assertEqual(rest.returncode, 0, rest.stderr)
        self.assert_exact(place, UNTIL)
