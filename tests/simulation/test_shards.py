"""Any number of shards, started, killed and counted anew in any order, write what one undisturbed run writes."""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from emitter.config import EmitterConfig
from emitter.errors import OvertakenError, SliceLockedError, StateError, StorageError
from emitter.model import Slice, StepReport
from emitter.run import agenda
from emitter.run.bounded import generate
from emitter.run.completion import LOOK_SECONDS, Completion
from emitter.run.daemon import Daemon
from emitter.run.journal import Journal
from emitter.storage.local import LocalStorage
from emitter.testing import FaultyStorage, ManualClock, SimulatedCrash
from emitter.truth import oracle
from emitter.watch.observer import DaemonStatus, Observer
from emitter.writers.parquet.writer import ParquetWriter
from tests.support.case import Marks, new_folder, tree
from tests.support.reader import contents, figures
from tests.support.shop import ORIGIN, TABLES, crash, due, finish, run, shop, shop_daemon, shop_writer

UNTIL = 900
POINTS = ParquetWriter.crash_points


def seals_ahead(slots: int) -> AbstractContextManager[Any]:
    """So little ahead, but a batch at least, that several changes have room."""
    return mock.patch.multiple(agenda, SEAL_AHEAD_BATCHES=1, SEAL_AHEAD_SLOTS_MAX=slots)


class ShardsCase(unittest.TestCase):
    """An output of its own for each test, and what one undisturbed run writes."""

    undisturbed: ClassVar[Path]
    truth: ClassVar[dict[str, pa.Table]]

    @classmethod
    def setUpClass(cls):
        cls.undisturbed = cls.new_folder()
        run(shop(cls.undisturbed), UNTIL)
        cls.truth = contents(cls.undisturbed)

    @classmethod
    def new_folder(cls) -> Path:
        folder = new_folder()
        cls.addClassCleanup(folder.cleanup)
        return Path(folder.name)

    def setUp(self):
        self.output = self.new_folder()

    def shard(self, index: int, count: int, output: Path | None = None, **changes: Any) -> EmitterConfig:
        return shop(output or self.output, {"shard.index": index, "shard.count": count, **changes})

    def assert_whole(self, *outputs: Path, until: int = UNTIL) -> None:
        """Every row of the undisturbed run is there once, for an independent reader and for ours."""
        found = contents(*(outputs or (self.output,)))
        for table in TABLES:
            self.assertEqual(found[table].num_rows, self.truth[table].num_rows, table)
            self.assertTrue(found[table].equals(self.truth[table]), table)
        for output in outputs or (self.output,):
            verification = oracle.verify(shop(output), None, None if outputs else ORIGIN + until)
            self.assertFalse(verification.is_wrong, verification)
            # Of several outputs each has but a part of the slices, and says so.
            self.assertEqual(verification.ok, len(outputs) <= 1, verification)

    def positions(self, table: str = "orders") -> dict[str, int]:
        progress = shop_writer(shop(self.output)).progress(table)
        return {str(slice): stands.slot - ORIGIN for slice, stands in progress.items()}

    def counts(self) -> list[tuple[int, int]]:
        """The shard counts of the journal, and from where on they hold."""
        journal = Journal.load(LocalStorage(self.output))
        assert journal is not None
        return [(epoch.from_slot - ORIGIN, epoch.inputs.shard_count) for epoch in journal.epochs]


class SameRowsTest(ShardsCase):
    def test_one_shard_generate_four_shards_into_one_output_and_into_four(self):
        generated = self.new_folder()
        generate(shop(generated), None, ORIGIN + UNTIL, clock=ManualClock())
        four = [self.new_folder() for _ in range(4)]
        for index in range(4):
            run(self.shard(index, 4), UNTIL)
            run(self.shard(index, 4, four[index]), UNTIL)
        expected = figures(self.undisturbed)
        for table, (rows, keys, *_) in expected.items():
            self.assertEqual(rows, keys, table)
        self.assertEqual([figures(generated), figures(self.output), figures(*four)], [expected] * 3)
        self.assert_whole(generated)
        self.assert_whole()
        self.assert_whole(*four)

    def test_what_is_expected_is_what_is_there(self):
        expected = oracle.expect(shop(self.undisturbed), None, ORIGIN + UNTIL)["tables"]
        found = figures(self.undisturbed)
        self.assertEqual({table: each["rows"] for table, each in expected.items()}, {t: f[0] for t, f in found.items()})
        for table in ("orders", "order_items", "payments"):
            self.assertEqual(expected[table]["sums"]["amount"], str(found[table][2]), table)

    def test_each_shard_has_its_even_part(self):
        for index in range(4):
            run(self.shard(index, 4), UNTIL)
        rows = [stands.rows for stands in shop_writer(shop(self.output)).progress("orders").values()]
        self.assertEqual(sum(rows), self.truth["orders"].num_rows)
        self.assertGreater(min(rows), sum(rows) / 4 * 0.6)

    def test_shards_at_different_positions_are_each_right_as_far_as_they_are(self):
        for index, until in ((0, 300), (1, 60), (2, 600)):
            run(self.shard(index, 4), until)
        verification = oracle.verify(shop(self.output))
        self.assertFalse(verification.is_wrong, verification)
        orders = {each.table: each for each in verification.tables}["orders"]
        self.assertEqual((verification.ok, set(orders.slices)), (False, {"0-of-4", "1-of-4", "3-of-4"}))  # behind
        self.assertFalse(oracle.verify(shop(self.output), None, ORIGIN + 60).ok)  # shard 3 has done nothing
        run(self.shard(3, 4), 60)
        self.assertTrue(oracle.verify(shop(self.output), None, ORIGIN + 60).ok)
        for index in (2, 3, 0, 1):
            run(self.shard(index, 4), UNTIL)
        self.assert_whole()

    def test_a_partition_is_marked_once_all_slices_and_tables_have_passed_it(self):
        def marks() -> list[str]:
            return sorted(str(path.parent.relative_to(self.output)) for path in self.output.rglob("_SUCCESS"))

        run(self.shard(0, 2), 600)
        self.assertEqual(marks(), [])
        run(self.shard(1, 2), 120)
        self.assertEqual(marks(), [])
        run(self.shard(1, 2), 240)  # the partition ends at 180
        self.assertEqual(marks(), sorted(f"{table}/year=2026/month=01/day=01" for table in TABLES))
        for index in range(2):
            run(self.shard(index, 2), UNTIL)
        self.assertEqual(len(marks()), len(TABLES))

    def test_a_shard_that_others_hold_up_looks_for_them_once_in_a_while(self):
        clock, looks = ManualClock(), []
        progress = ParquetWriter.progress

        def counted(writer: ParquetWriter, table: str) -> Any:
            looks.append(table)
            return progress(writer, table)

        run(self.shard(1, 2), 60)
        with (
            shop_daemon(self.shard(0, 2), until=UNTIL, clock=clock) as daemon,
            mock.patch.object(ParquetWriter, "progress", counted),
        ):
            due_steps = [daemon.step() for _ in range(8)]
            self.assertGreater(due_steps[-1].window.end, ORIGIN + 180)  # where the partition ends
            self.assertEqual(len(looks), len(TABLES))
            run(self.shard(1, 2), 600)
            looks.clear()
            daemon.step()
            self.assertEqual(looks, [])
            clock.advance(LOOK_SECONDS)
            daemon.step()
            daemon.step()
            self.assertEqual(len(looks), len(TABLES))
            self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), len(TABLES))

    def test_who_waits_for_others_sees_them_come_though_it_has_nothing_to_do(self):
        """Each finds the other behind at one edge, and passes the next while it waits."""
        clock, hourly = ManualClock(), {"partition": "hour", "clock.speed": 200, "clock.batch_seconds": 3600}
        with ExitStack() as both:
            a, b = (both.enter_context(shop_daemon(self.shard(i, 2, **hourly), clock=clock)) for i in range(2))
            for seconds, shards in ((1.0, (a, b)), (18.0, (b, a))):
                clock.advance(seconds)
                for shard in shards:
                    due(shard)
            self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), len(TABLES))
            clock.advance(13.0)  # a has waited long enough, and no batch is due for five more seconds
            self.assertIsNone(a.step())
            self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), 2 * len(TABLES))

    def test_a_shard_that_ends_leaves_no_complete_partition_without_its_mark(self):
        run(self.shard(1, 2), 60)
        with shop_daemon(self.shard(0, 2), until=240) as daemon:
            finish(daemon)
            with ExitStack() as other:
                finish(other.enter_context(shop_daemon(self.shard(1, 2), until=240)))
                for mark in self.output.rglob("_SUCCESS"):
                    mark.unlink()  # as if it had been a moment behind
                with mock.patch.object(Completion, "mark"):
                    other.close()
        self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), len(TABLES))

    def test_marks_that_cannot_be_set_at_the_end_are_no_failure(self):
        run(self.shard(1, 2), 60)
        with ExitStack() as stack:
            finish(stack.enter_context(shop_daemon(self.shard(0, 2), until=240)))
            with mock.patch.object(ParquetWriter, "progress", side_effect=StorageError("list", "x", "gone")) as looked:
                stack.close()
        looked.assert_called()


class ChangedCountTest(ShardsCase):
    def setUp(self):
        super().setUp()
        self.enterContext(seals_ahead(600))

    def test_one_two_four_three_one(self):
        for count, until in ((1, 100), (2, 400), (4, 550), (3, 650), (1, UNTIL)):
            for index in range(count):
                run(self.shard(index, count), until)
        self.assertEqual([count for _, count in self.counts()], [1, 2, 4, 3, 1])
        self.assert_whole()

    def check_every_shard_killed(self, points: Sequence[tuple[str, int]], rounds: int) -> None:
        for place in range(rounds):
            with self.subTest(place):
                self.output = self.new_folder()
                reached = []
                for count, until in ((2, 300), (4, 600), (2, 750)):
                    for index in range(count):
                        point = points[(place + 5 * index) % len(points)]
                        reached.append(crash(self.shard(index, count), until, *point))
                self.assertTrue(any(reached))
                for index in range(2):
                    run(self.shard(index, 2), UNTIL)
                self.assert_whole()

    def test_two_four_two_with_every_shard_killed_somewhere(self):
        self.check_every_shard_killed([(point, 1 + 3 * (place % 2)) for place, point in enumerate(POINTS)], rounds=4)

    def test_what_an_old_shard_left_is_done_though_its_count_came_back_before(self):
        run(self.shard(0, 1), 120)
        with shop_daemon(self.shard(0, 1), until=400) as daemon:
            daemon.step()  # seals ahead
        run(self.shard(1, 2), 800)  # shard 0 of 2, to which the rest falls, never runs
        self.assertEqual(len(self.counts()), 2)
        run(self.shard(0, 1), UNTIL)
        self.assertEqual([count for _, count in self.counts()], [1, 2, 1])
        self.assert_whole()

    def test_what_a_count_left_in_two_of_its_stretches_is_done(self):
        for index, count, until in ((0, 2, 60), (1, 2, 120), (3, 4, 240), (1, 2, 360)):
            run(self.shard(index, count), until)
        run(self.shard(0, 1), UNTIL)
        self.assertEqual(self.counts(), [(0, 2), (120, 4), (240, 2), (360, 1)])
        self.assert_whole()

    def test_what_is_left_counts_as_not_finished(self):
        for index in range(2):
            with shop_daemon(self.shard(index, 2)) as daemon:
                daemon.step()
        edge = self.counts()[-1][0]
        run(self.shard(0, 1), 120)
        self.assertGreaterEqual(self.counts()[-1][0], 120 + edge)  # the new count holds only later
        self.assertEqual(self.positions(), {"0-of-2": 120, "1-of-2": 120})
        self.assertTrue(oracle.verify(shop(self.output), None, ORIGIN + 120).ok)

    def test_what_old_shards_still_do_is_left_to_them_until_they_end(self):
        with ExitStack() as old:
            slow = old.enter_context(shop_daemon(self.shard(0, 1)))
            slow.step()
            with shop_daemon(self.shard(0, 2), until=UNTIL) as new, shop_daemon(self.shard(1, 2), until=UNTIL) as other:
                finish(new)
                finish(other)
                self.assertEqual(self.positions(), {"0-of-1": 60, "0-of-2": UNTIL, "1-of-2": UNTIL})
                old.close()
                edge = self.counts()[-1][0]
                finish_later = new.step()
                assert finish_later is not None
                self.assertEqual((finish_later.slice, self.positions()["0-of-1"] > 60), (Slice(), True))
                self.assertEqual(new.finished, self.positions()["0-of-1"] == edge)
                finish(new)
        self.assertEqual(self.positions()["0-of-1"], edge)
        self.assert_whole()

    def test_an_old_shard_ends_where_the_new_count_begins(self):
        with shop_daemon(self.shard(0, 1), until=UNTIL) as old:
            old.step()
            for index in range(2):
                run(self.shard(index, 2), UNTIL)
            with self.assertRaises(OvertakenError) as caught:
                finish(old)
            self.assertEqual(caught.exception.exit_code, 3)
            self.assertIn("2 shards are in force", caught.exception.problem)
        self.assertEqual(self.positions()["0-of-1"], self.counts()[-1][0])
        self.assert_whole()

    def test_an_old_shard_that_starts_again_does_not_bring_its_count_back(self):
        told: list[tuple[int | None, int]] = []

        class Watch(Observer):
            def outdated(self, revision: int | None, newest: int) -> None:
                told.append((revision, newest))

        for index in range(2):
            with shop_daemon(self.shard(index, 2, revision=1)) as old:
                old.step()
        with shop_daemon(self.shard(1, 4, revision=2), until=UNTIL):
            edge = self.counts()[-1][0]
            for revision in (1, None):
                with (
                    shop_daemon(self.shard(0, 2, revision=revision), until=UNTIL, observer=Watch()) as again,
                    self.assertRaises(OvertakenError),
                ):
                    finish(again)
                self.assertEqual(self.positions()["0-of-2"], edge)
        self.assertEqual((self.counts(), told), ([(0, 2), (edge, 4)], [(1, 2), (None, 2)]))
        for index in range(4):
            run(self.shard(index, 4, revision=2), UNTIL)
        self.assert_whole()

    def test_an_older_configuration_goes_on_with_the_newer_rates(self):
        run(self.shard(0, 1, revision=1), 60)
        run(self.shard(0, 1, **{"revision": 2, "ecommerce.orders_per_second": 1.0}), 120)
        run(self.shard(0, 1, revision=1), 600)
        self.assertEqual(self.counts(), [(0, 1), (60, 1)])
        verification = oracle.verify(self.shard(0, 1), None, ORIGIN + 600)
        self.assertTrue(verification.ok, verification)
        self.assertGreater(contents(self.output)["orders"].num_rows, self.truth["orders"].num_rows)

    def test_a_revision_that_stands_for_other_inputs_is_refused(self):
        run(self.shard(0, 1, revision=1), 60)
        before = tree(self.output)
        with self.assertRaises(StateError) as caught:
            run(self.shard(0, 1, **{"revision": 1, "ecommerce.orders_per_second": 1.0}), 120)
        self.assertIn("ecommerce.orders_per_second: stored 0.5, asked for 1.0", caught.exception.problem)
        self.assertEqual(tree(self.output), before)

    def test_what_was_handed_back_is_left_alone(self):
        """A shard that has finished an old slice must not touch it any more: its owner may be at work again."""
        for index in range(2):
            run(self.shard(index, 2), 60)
        with ExitStack() as stack:
            newer = stack.enter_context(shop_daemon(self.shard(0, 1), until=120))
            finish(newer)

            def hook(point: str) -> None:
                if point == "parquet.staged":
                    stack.close()  # the newer one ends in an orderly way while this one commits

            with shop_daemon(self.shard(0, 2), until=UNTIL, hook=hook) as again:
                self.assertEqual({report.attempts for report in finish(again)}, {1})
        run(self.shard(1, 2), UNTIL)
        self.assert_whole()

    def test_an_old_slice_that_has_work_again_is_held_again(self):
        """A table that joins is made from the origin on: also of slices that were done and handed back."""
        few, output, case = ["customers", "products"], self.output, self
        for index in range(4):
            run(self.shard(index, 4, tables=few), 60)
        old: list[Slice] = []

        class Watch(Observer):
            def stepped(self, report: StepReport, status: DaemonStatus) -> None:
                if report.slice.count == 4:
                    old.append(report.slice)
                    with case.assertRaises(SliceLockedError), shop_writer(shop(output)).hold(report.slice):
                        pass

        with shop_daemon(self.shard(0, 2, tables=few), until=UNTIL, observer=Watch()) as daemon:
            daemon.step()
            self.assertEqual(old, [])
            with shop_daemon(self.shard(1, 2), until=UNTIL) as other:
                finish(other)
            finish(daemon)
        self.assertEqual(set(old), {Slice(0, 4), Slice(2, 4)})
        self.assert_whole()

    def test_an_old_slice_that_others_moved_meanwhile_is_gone_on_with_from_there(self):
        """A slice of two stretches was done and handed back; a table joins; a forgotten shard goes on with it first."""

        def config(index: int, count: int, revision: int, tables: Sequence[str] = TABLES[:2], batch: int = 30) -> Any:
            changes = {"revision": revision, "tables": list(tables), "clock.batch_seconds": batch}
            return self.shard(index, count, **changes)

        self.enterContext(seals_ahead(1))
        for revision, count, until in ((1, 2, 60), (2, 4, 120), (3, 2, 300)):
            for index in range(count):
                run(config(index, count, revision), until)
        with shop_daemon(config(0, 3, 4), until=UNTIL) as daemon:
            while (report := daemon.step()) is None or report.slice.count != 3:
                pass  # what the older counts left is done, and handed back
            run(config(1, 3, 5, TABLES), UNTIL)
            with shop_daemon(config(0, 2, 3, batch=20), until=UNTIL) as forgotten:
                while (report := forgotten.step()) is None or report.window.first < ORIGIN + 120:
                    pass
            finish(daemon)
        run(config(2, 3, 5, TABLES), UNTIL)
        self.assertEqual([count for _, count in self.counts()], [2, 4, 2, 3, 3])
        self.assert_whole()

    def test_another_count_moves_no_simulated_time(self):
        clock, live = ManualClock(), {"clock.speed": 1, "clock.batch_seconds": 10}
        for on_restart in ("catch_up", "continue"):
            with self.subTest(on_restart):
                self.output = self.new_folder()
                changes = {**live, "clock.on_restart": on_restart}
                with shop_daemon(self.shard(0, 1, **changes), clock=clock) as daemon:
                    for _ in range(5):
                        clock.advance(10)
                        due(daemon)
                for index in range(4):
                    with shop_daemon(self.shard(index, 4, **changes), clock=clock) as daemon:
                        self.assertEqual(daemon.status().simulated_slot, ORIGIN + 50)
                        self.assertEqual([report.commits for report in due(daemon) if report.commits], [])
                self.assertEqual(self.counts()[-1], (600 + 10, 4))

    def test_each_old_slice_goes_on_live_until_the_new_count_begins(self):
        clock, live = ManualClock(), {"clock.speed": 1, "clock.batch_seconds": 10}
        for index in range(4):
            with shop_daemon(self.shard(index, 4, **live), clock=clock) as daemon:
                if index == 0:
                    clock.advance(10)
                due(daemon)
        with shop_daemon(self.shard(0, 2, **live), clock=clock) as daemon:
            clock.advance(10)
            self.assertEqual({report.slice for report in due(daemon)}, {Slice(0, 4), Slice(2, 4)})
            clock.advance(10)
            self.assertEqual({report.slice for report in due(daemon)}, {Slice(0, 4), Slice(2, 4)})
            self.assertEqual(daemon.status().lag_seconds, 0)


class Fleet:
    """Daemons of an output that overlap as they please: those that are alive, by slice. With revisions, some of them
    have an older configuration than the newest one (`forgotten`), which changes nothing any more.
    """

    def __init__(self, output: Path, *, has_revisions: bool) -> None:
        self._output, self._has_revisions = output, has_revisions
        self._alive: dict[Slice, tuple[ExitStack, Daemon, FaultyStorage]] = {}
        self._revision = 0
        self._ever: list[Slice] = []  # those of all roll-outs

    def newest(self) -> int | None:
        """A revision that is higher than any before it, if there are any."""
        self._revision += 1
        return self._revision if self._has_revisions else None

    def start(self, slice: Slice, tables: Sequence[str], forgotten: bool) -> None:
        if slice in self._alive:
            return
        revision = 0 if forgotten and self._has_revisions and self._revision else self.newest()
        changes = {"shard.index": slice.index, "shard.count": slice.count, "tables": list(tables), "revision": revision}
        config = shop(self._output, changes)
        storage, stack = FaultyStorage(self._output), ExitStack()
        try:
            daemon = stack.enter_context(shop_daemon(config, until=UNTIL, storage=storage))
        except SliceLockedError:  # a newer shard is finishing this slice
            return
        self._alive[slice] = (stack, daemon, storage)

    def step(self, place: int, times: int) -> None:
        for _ in range(times):
            if not self._alive:
                return
            slice = sorted(self._alive, key=str)[place % len(self._alive)]
            stack, daemon, _ = self._alive[slice]
            try:
                if not daemon.finished:
                    daemon.step()
            except OvertakenError:
                stack.close()
                del self._alive[slice]

    def kill(self, place: int, calls: int) -> None:
        """Let one die at one of its next system calls."""
        if not self._alive:
            return
        slice = sorted(self._alive, key=str)[place % len(self._alive)]
        stack, daemon, storage = self._alive.pop(slice)
        storage.fail(SimulatedCrash(), at=1 + calls, times=None, after=bool(calls % 2))
        try:
            with stack:
                while not daemon.finished:
                    daemon.step()
        except (SimulatedCrash, OvertakenError):
            pass

    def stop(self, place: int) -> None:
        """Let one end in an orderly way."""
        if self._alive:
            slice = sorted(self._alive, key=str)[place % len(self._alive)]
            self._alive.pop(slice)[0].close()

    def roll_out(self, count: int, tables: Sequence[str], times: int) -> None:
        """Put another count in force: all that are alive end, and each of the new ones does some steps."""
        self.stop_all()
        for index in range(count):
            self.start(Slice(index, count), tables, forgotten=False)
            self._ever.append(Slice(index, count))
        for place in range(count):
            self.step(place, times)

    def change(self, place: int, tables: Sequence[str]) -> None:
        """Let one start again with other tables."""
        if self._alive:
            slice = sorted(self._alive, key=str)[place % len(self._alive)]
            self._alive.pop(slice)[0].close()
            self.start(slice, tables, forgotten=False)

    def visit(self, which: int, times: int) -> None:
        """A forgotten shard goes on for a while with a slice of some time before."""
        slice = self._ever[which % len(self._ever)] if self._ever else Slice()
        if slice not in self._alive:
            self.start(slice, TABLES, forgotten=True)
            if slice in self._alive:
                self.step(sorted(self._alive, key=str).index(slice), times)
                if slice in self._alive:
                    self._alive.pop(slice)[0].close()

    def stop_all(self) -> None:
        while self._alive:
            self.stop(0)


_SLICES = st.sampled_from([Slice(index, count) for count in (1, 2, 3, 4) for index in range(count)])
_TABLES = st.sampled_from([TABLES, TABLES[:2], TABLES[:4]])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), _SLICES, _TABLES, st.booleans()),
        st.tuples(st.just("step"), st.integers(0, 5), st.integers(1, 6)),
        st.tuples(st.just("kill"), st.integers(0, 5), st.integers(0, 60)),
        st.tuples(st.just("stop"), st.integers(0, 5)),
    ),
    min_size=4,
    max_size=24,
)
ROLLOUTS = st.tuples(
    st.lists(st.tuples(st.just("roll_out"), st.integers(1, 3), _TABLES, st.integers(1, 4)), min_size=2, max_size=5),
    st.lists(
        st.one_of(
            st.tuples(st.just("change"), st.integers(0, 3), _TABLES),
            st.tuples(st.just("visit"), st.integers(0, 12), st.integers(1, 4)),
            st.tuples(st.just("step"), st.integers(0, 3), st.integers(1, 6)),
            st.tuples(st.just("kill"), st.integers(0, 3), st.integers(0, 60)),
        ),
        min_size=2,
        max_size=8,
    ),
).map(lambda parts: [*parts[0], *parts[1]])
_FEW = TABLES[:2]


class AnyFleetTest(ShardsCase):
    def check(self, actions: list[tuple], last_count: int, has_revisions: bool) -> None:
        self.output = self.new_folder()
        fleet, marks = Fleet(self.output, has_revisions=has_revisions), Marks(self.output)
        with seals_ahead(1):
            for action, *what in actions:
                getattr(fleet, action)(*what)
                marks()
            fleet.stop_all()
            revision = fleet.newest()
            for index in [*range(last_count)] * 2:  # what one did not know yet is done in the second round
                run(self.shard(index, last_count, revision=revision), UNTIL)
                marks()
        verification = oracle.verify(shop(self.output), None, ORIGIN + UNTIL)  # many small files: others read them long
        self.assertTrue(verification.ok, verification)
        self.assertEqual([each.table for each in verification.tables], list(TABLES))

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @example(
        actions=[
            ("start", Slice(0, 2), TABLES, False),
            ("step", 0, 3),
            ("start", Slice(1, 3), TABLES, False),
            ("step", 1, 6),
            ("kill", 0, 17),
            ("start", Slice(0, 2), TABLES, False),
            ("step", 0, 6),
        ],
        last_count=1,
        has_revisions=False,
    )
    @example(
        actions=[
            ("roll_out", 2, _FEW, 2),
            ("roll_out", 1, _FEW, 4),
            ("roll_out", 2, _FEW, 2),
            ("roll_out", 3, _FEW, 3),
            ("change", 1, TABLES),
            ("step", 1, 1),
            ("visit", 0, 4),
            ("step", 0, 6),
        ],
        last_count=3,
        has_revisions=True,
    )
    @given(actions=st.one_of(ACTIONS, ROLLOUTS), last_count=st.integers(1, 3), has_revisions=st.booleans())
    def test_whatever_they_did_every_row_is_there_once(self, actions, last_count, has_revisions):
        self.check(actions, last_count, has_revisions)
