"""Outputs that the release before has written go on with this one; `tests/data/README.md` tells how they were made.

They know themselves as `/proc/self/cwd/<name>`, so each is unpacked to a folder that is then the working directory.
"""

from __future__ import annotations

import contextlib
import tarfile
import threading
import unittest
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from emitter.clock import SystemClock
from emitter.config import EmitterConfig
from emitter.run.anchor import load_anchor
from emitter.storage.local import LocalStorage
from emitter.testing import ManualClock
from emitter.truth import inspection, oracle
from emitter.upkeep.once import maintain
from emitter.upkeep.opened import opened
from emitter.upkeep.rounds import Round
from emitter.writers.upkeep import TASKS, UpkeepPolicy
from tests.support.case import new_folder
from tests.support.places import Place, Target
from tests.support.shop import ORIGIN, TABLES, due, run, shop_daemon

ARCHIVE = Path(__file__).parent.parent / "data" / "release_2026_11_23.tar.xz"
HERE = Path("/proc/self/cwd")
AHEAD, BEHIND = 240, 180  # how far its two shards are, in seconds from the origin
UNTIL, LATER, END = 300, 360, 420


@unittest.skipUnless(HERE.exists(), "the outputs know themselves by a path that only Linux has")
class ReleaseBeforeTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Path(self.enterContext(new_folder()))
        self.enterContext(contextlib.chdir(self.folder))

    def unpack(self, name: str, format: str = "parquet") -> Place:
        with tarfile.open(ARCHIVE) as archive:
            members = [member for member in archive if member.name.startswith(f"./{name}/")]
            archive.extractall(self.folder, members, filter="data")
        return Place(Target(format), {"output.format": format, "output.uri": str(HERE / name)})

    def shard(self, place: Place, index: int = 0, count: int = 2, **changes: Any) -> EmitterConfig:
        given = {"ecommerce__orders_per_second": 0.5, "shard__index": index, "shard__count": count, **changes}
        return place.config(**given)

    def assert_exact(self, place: Place, config: EmitterConfig, until: int) -> None:
        """Every row is there once, for another reader and for our own; and the output knows how far it is."""
        expected = oracle.expect(config, None, ORIGIN + until)["tables"]
        catalog = f"sqlite:///{place.uri}/{place.target.format}.sqlite"  # where it is unless another is configured
        found = Place(place.target, {**place.changes, "output.catalog.uri": catalog}).digests()
        self.assertEqual(found, {name: (expected[name]["rows"], expected[name]["digest"]) for name in TABLES})
        verification = oracle.verify(config)
        self.assertTrue(verification.ok, verification)
        self.assertEqual({table.to_slot for table in verification.tables}, {ORIGIN + until})
        for table in inspection.status(config, clock=ManualClock()):
            self.assertEqual((table.rows, table.slot), (expected[table.table]["rows"], ORIGIN + until), table)

    def assert_goes_on(self, place: Place) -> None:
        """Its shards go on, one after the other, then with another rate, then as one."""
        slices = inspection.status(self.shard(place))[2].slices
        self.assertEqual((slices["0-of-2"], slices["1-of-2"]), (ORIGIN + AHEAD, ORIGIN + BEHIND))
        for index in (0, 1):
            run(self.shard(place, index), UNTIL)
        for index in (1, 0):
            run(self.shard(place, index, ecommerce__orders_per_second=1), LATER)
        one = self.shard(place, count=1, ecommerce__orders_per_second=1)
        run(one, END)
        self.assert_exact(place, one, END)

    def test_delta_goes_on(self):
        self.assert_goes_on(self.unpack("delta", "delta"))

    def test_delta_is_looked_after(self):
        place = self.unpack("delta", "delta")
        one = self.shard(place, count=1, ecommerce__orders_per_second=1)
        for index in (0, 1):
            run(self.shard(place, index), UNTIL)
        for until in (LATER, END):
            reports = maintain(one, TASKS, clock=SystemClock(), stop=threading.Event(), on_work=lambda *_: None)
            self.assertEqual([report.problem for report in reports if report.problem], [])
            run(one, until, clock=ManualClock())
        self.assert_exact(place, one, END)
        for name in TABLES:
            kept = DeltaTable(f"{place.uri}/{name}").metadata().configuration["delta.logRetentionDuration"]
            self.assertEqual(kept, "interval 3600 seconds")

    def test_iceberg_goes_on(self):
        self.assert_goes_on(self.unpack("iceberg", "iceberg"))

    def test_iceberg_is_looked_after(self):
        place = self.unpack("iceberg", "iceberg")
        self.look_after(self.shard(place))
        self.assert_goes_on(place)
        one = self.shard(place, count=1, ecommerce__orders_per_second=1)
        self.assertGreater(self.look_after(one), 2)
        self.assert_exact(place, one, END)

    def look_after(self, config: EmitterConfig) -> int:
        """A round, and how many files it has put together."""
        with opened(config, SystemClock()) as ours:
            upkeep = ours.writer.upkeep(UpkeepPolicy(small_files_min=2))
            reports = list(Round(upkeep, ours.tables, SystemClock(), threading.Event()).run(TASKS))
        self.assertEqual([report.problem for report in reports if report.problem], [])
        return sum(report.files_removed for report in reports if report.task == "compact")

    def test_ducklake_goes_on(self):
        self.assert_goes_on(self.unpack("ducklake", "ducklake"))

    def test_ducklake_is_compacted_and_goes_on(self):
        place = self.unpack("ducklake", "ducklake")
        with opened(self.shard(place), SystemClock()) as ours:
            upkeep = ours.writer.upkeep(UpkeepPolicy(small_files_min=2))
            reports = list(Round(upkeep, ours.tables, SystemClock(), threading.Event()).run(TASKS))
        self.assertEqual([report.problem for report in reports if report.problem], [])
        self.assertGreater(sum(report.files_removed for report in reports), 2)
        self.assert_goes_on(place)

    def test_parquet_goes_on_and_marks_what_is_complete(self):
        self.assert_goes_on(self.unpack("parquet"))
        for table in TABLES:
            self.assertTrue(Path(f"parquet/{table}/year=2026/month=01/day=01/_SUCCESS").exists(), table)

    def test_hourly_parquet_goes_on_from_its_anchor(self):
        place = self.unpack("hourly")
        anchor = load_anchor(LocalStorage(place.uri))
        assert anchor is not None
        clock = ManualClock(anchor.wall_seconds + 0.2)
        for index in (0, 1):
            live = self.shard(place, index, partition="hour", clock__speed=600, clock__on_restart="catch_up")
            with shop_daemon(live, clock=clock) as daemon:
                due(daemon)
        reached = int(anchor.slot + 120) // 60 * 60 - ORIGIN
        self.assert_exact(place, self.shard(place, partition="hour"), reached)

    def test_what_it_had_begun_to_commit_when_it_died_is_finished(self):
        place = self.unpack("crashed")
        run(self.shard(place, 1), AHEAD)
        self.assert_exact(place, self.shard(place), AHEAD)

    def test_other_shards_may_take_over_what_it_had_begun_to_commit(self):
        place = self.unpack("crashed")
        run(self.shard(place, 0), UNTIL)
        one = self.shard(place, count=1)
        run(one, LATER)
        self.assert_exact(place, one, LATER)

    def test_one_shard_may_go_on_with_this_release_while_the_other_still_runs_the_one_before(self):
        place = self.unpack("parquet")
        run(self.shard(place, 0), UNTIL)
        self.unpack("caught-up")  # what the other shard has done meanwhile
        for path in Path("caught-up").rglob("*"):
            if path.match("*-1of2-*.parquet") or path.name == "1-of-2.json":
                path.replace(Path("parquet", *path.parts[1:]))
        run(self.shard(place, 1), UNTIL)
        self.assert_exact(place, self.shard(place), UNTIL)
