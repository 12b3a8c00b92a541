"""The same as in test_kill_formats, over all formats and often: in a soak 200 times and more, 60 of them on S3.
And crash points, each in a process that really ends there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.end_to_end.test_kill_formats import KillCase
from tests.simulation.test_formats import CHANGES
from tests.support.effort import new_seed, some
from tests.support.places import TARGETS, Place, Target
from tests.support.shop import run
from tests.support.slayer import REPOSITORY

EXIT_CRASHED = 137
KILLS = 10  # in one output
OUTPUTS: tuple[tuple[Target, int, int], ...] = tuple(
    # (target, shards, outputs): Parquet on a disk has a suite of its own, with a hundred more.
    (target, shards, 2 if target.storage == "disk" else 1)
    for target in TARGETS
    for shards in (1, 2)
    if str(target) != "parquet-disk"
)


class LongKillFormatsTest(KillCase):
    def test_the_counts_are_what_they_should_be(self):
        kills = sum(KILLS * outputs for _, _, outputs in OUTPUTS)
        on_s3 = sum(KILLS * outputs for target, _, outputs in OUTPUTS if target.storage == "s3")
        self.assertGreaterEqual((kills, on_s3), (200, 60))

    def test_kill_9_at_any_moment_in_every_format(self):
        each = [(target, shards) for target, shards, outputs in OUTPUTS for _ in range(outputs)]
        for target, shards in some(each, new_seed()):
            self.kill_often(target, KILLS, shards)

    def test_crash_points_in_a_process_that_ends_there(self):
        seed = new_seed()
        for target in TARGETS[1:]:
            for point in some(self.place(target).crash_points(), seed):
                with self.subTest(f"{target}: {point}"):
                    place = self.place(target)
                    self.assertEqual(self.drive(place, point), EXIT_CRASHED)
                    run(place.config(**CHANGES), 210)
                    self.assert_exact(place, 210)

    def drive(self, place: Place, point: str) -> int:
        """Run the shop in a process that ends at the third passing of a crash point; its exit code."""
        config, environ = place.write_config(Path(self.enterContext(TemporaryDirectory())), **CHANGES)
        command = [sys.executable, "-m", "tests.support.driver", str(config), "195", point, "3"]
        result = subprocess.run(
            command, cwd=REPOSITORY, env=environ, check=False, capture_output=True, text=True, timeout=120
        )
        self.assertIn(result.returncode, (0, EXIT_CRASHED), result.stderr)
        return result.returncode
