"""The daemon over real Parquet, with a clock that is moved by hand: what it makes when."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from emitter.model import CommitReport, StepReport, Window
from emitter.watch.observer import DaemonStatus, Observer
from tests.support.case import DaemonCase, spans, tree
from tests.support.reader import figures, paths, rows_of
from tests.support.shop import ORIGIN, TABLES, due, finish, run, shop_daemon

HOUR = 3600


class BatchesTest(DaemonCase):
    def test_batches_end_at_the_multiples_of_their_length_since_2020(self):
        for seconds in (1, 7, 60, 100):
            self.output = self.new_folder()
            reports = run(self.config(clock__batch_seconds=seconds), 205)
            ends = [report.window.end for report in reports]
            self.assertEqual([end for end in ends[:-1] if end % seconds], [], seconds)
            self.assertEqual(ends[-1], ORIGIN + 205)
            self.assertEqual([report.window.first for report in reports], [ORIGIN, *ends[:-1]])
            self.assertTrue(all(report.ends_batch for report in reports))
            self.assert_undisturbed(205)

    def test_only_slots_that_have_ended_are_made(self):
        with shop_daemon(self.live(), clock=self.clock) as daemon:
            self.assertIsNone(daemon.step())
            self.assertEqual(daemon.seconds_until_due(), 1.0)
            self.clock.advance(0.75)
            self.assertIsNone(daemon.step())
            self.assertEqual(daemon.seconds_until_due(), 0.25)
            self.clock.advance(0.25)
            self.assertEqual(daemon.seconds_until_due(), 0.0)
            self.assertEqual(spans(due(daemon)), [(0, 1)])
            self.assertEqual(daemon.seconds_until_due(), 9.0)

    def test_the_first_second_is_a_batch_by_itself_so_that_the_tables_are_there_at_once(self):
        with shop_daemon(self.live(), clock=self.clock) as daemon:
            self.clock.advance(1)
            first = daemon.step()
            self.assertEqual((first.rows["customers"], first.ends_batch), (50, True))
            self.clock.advance(20)
            self.assertEqual(spans(due(daemon)), [(1, 20)])
        self.assert_undisturbed(20)

    def test_batches_that_were_missed_are_made_in_one(self):
        with shop_daemon(self.live(), clock=self.clock) as daemon:
            self.clock.advance(95)
            self.assertEqual(spans(due(daemon)), [(0, 90)])
            self.clock.advance(5)
            self.assertEqual(spans(due(daemon)), [(90, 100)])
        self.assert_undisturbed(100)

    def test_what_was_missed_is_cut_by_rows_but_at_batches(self):
        with shop_daemon(self.live(clock__batch_rows_max=100), clock=self.clock) as daemon:
            self.clock.advance(600)
            reports = due(daemon)
        self.assertGreater(len(reports), 5)
        self.assertEqual([end % 10 for _, end in spans(reports)], [0] * len(reports))
        self.assertGreater(max(report.window.seconds for report in reports), 10)
        self.assertTrue(all(report.ends_batch for report in reports))
        self.assert_undisturbed(600)

    def test_a_batch_of_too_many_rows_is_cut_into_parts(self):
        reports = run(self.config(clock__batch_rows_max=40), 300)
        self.assertGreater(len(reports), 10)
        self.assertEqual(
            [end for (_, end), r in zip(spans(reports), reports, strict=True) if r.ends_batch], list(range(60, 301, 60))
        )
        self.assert_undisturbed(300)

    def test_a_single_slot_is_never_cut(self):
        reports = run(self.config(clock__batch_rows_max=1), 20)
        self.assertEqual({report.window.seconds for report in reports}, {1})
        self.assert_undisturbed(20)

    def test_it_ends_in_the_middle_of_a_batch_and_goes_on_from_there(self):
        with shop_daemon(self.config(), until=130, clock=self.clock) as daemon:
            self.assertFalse(daemon.finished)
            reports = finish(daemon)
            self.assertIsNone(daemon.step())
            self.assertEqual((daemon.status().reached_slot, daemon.seconds_until_due()), (ORIGIN + 130, 0.0))
        self.assertEqual(spans(reports), [(0, 60), (60, 120), (120, 130)])
        self.assertTrue(reports[-1].ends_batch)
        self.assert_verified(self.config(), 130)
        self.assertEqual(spans(run(self.config(), 200))[-2:], [(130, 180), (180, 200)])
        self.assert_undisturbed(200)

    def test_an_end_that_is_reached_already_is_no_work(self):
        run(self.config(), 120)
        before = tree(self.output)
        for until in (120, 60, 0):
            reports = run(self.config(), until)  # tables that had no rows last are looked at again
            self.assertEqual([report.commits for report in reports if report.commits or report.rows], [])
        self.assertEqual(tree(self.output), before)

    def test_at_speed_max_it_never_waits(self):
        before = self.clock.wall_seconds()
        with shop_daemon(self.config(), until=HOUR, clock=self.clock) as daemon:
            self.assertEqual(daemon.seconds_until_due(), 0.0)
            daemon.step()
            self.assertEqual(daemon.seconds_until_due(), 0.0)
            self.assertEqual((daemon.status().lag_seconds, daemon.status().speed), (0.0, None))
        self.assertEqual(self.clock.wall_seconds(), before)

    def test_a_faster_clock_makes_more(self):
        with shop_daemon(self.live(clock__speed=60), clock=self.clock) as daemon:
            self.clock.advance(2)
            self.assertEqual(spans(due(daemon)), [(0, 120)])

    def test_parents_are_committed_before_children(self):
        seen: list[str] = []

        class Watch(Observer):
            def committed(self, report: CommitReport) -> None:
                seen.append(report.table)

        run(self.config(), 60, observer=Watch())
        self.assertEqual(seen, list(TABLES))

    def test_a_stop_lets_the_step_under_way_finish(self):
        with shop_daemon(self.config(), until=300) as daemon:
            daemon.request_stop()
            self.assertEqual(spans([report for report in [daemon.step()] if report]), [(0, 60)])
        self.assert_verified(self.config(), 60)


class EmptyTest(DaemonCase):
    def test_a_table_without_rows_in_a_batch_lags_and_nothing_is_lost(self):
        rare = {"ecommerce__orders_per_second": 0.01}
        reports = run(self.config(**rare, clock__batch_seconds=10), 900)
        without = [report for report in reports if not report.rows]
        self.assertGreater(len(without), 30)
        self.assertEqual({report.commits for report in without if report.window.end % 86_400}, {()})
        self.assertGreater(figures(self.output)["orders"][0], 0)
        self.assert_verified(self.config(**rare), 900)
        self.assert_undisturbed(900, **rare)
        # Started again, it makes sure of what lags, and goes on.
        self.assertEqual(spans(run(self.config(**rare), 960))[-1], (900, 960))
        self.assert_undisturbed(960, **rare)

    def test_no_orders_at_all(self):
        nothing = {"ecommerce__orders_per_second": 0}
        run(self.config(**nothing), 400)
        self.assertEqual([rows for rows, *_ in figures(self.output).values()], [50, 20, 0, 0, 0])
        self.assert_verified(self.config(**nothing), 400)
        marked = sorted(path.parts[-5] for path in self.output.rglob("_SUCCESS"))
        self.assertEqual(marked, sorted(TABLES))  # readers learn that there was nothing

    def test_partitions_are_marked_when_every_table_has_passed_them(self):
        with shop_daemon(self.config(), until=400) as daemon:
            while not daemon.finished:
                daemon.step()
                marks = list(self.output.rglob("_SUCCESS"))
                passed = daemon.status().reached_slot >= ORIGIN + 180
                self.assertEqual(len(marks), len(TABLES) if passed else 0)
        self.assertEqual({path.parent.name for path in self.output.rglob("_SUCCESS")}, {"day=01"})

    def test_a_table_that_was_taken_away_does_not_keep_partitions_open(self):
        rare = {"ecommerce__orders_per_second": 0.01}
        run(self.config(**rare, clock__batch_seconds=10), 50)
        run(self.config(**rare, clock__batch_seconds=10, tables=["customers"]), 400)
        marked = {path.parts[-5] for path in self.output.rglob("_SUCCESS")}
        self.assertEqual(marked, {"customers"})  # the others have not filled theirs: they may come back


class StatusTest(DaemonCase):
    def test_where_it_stands(self):
        with shop_daemon(self.live(clock__speed=2, shard__count=2), clock=self.clock) as daemon:
            status = daemon.status()
            self.assertEqual((status.reached_slot, status.simulated_slot, status.lag_seconds), (ORIGIN, ORIGIN, 0))
            self.assertIsNone(status.last_step_wall_seconds)
            self.assertEqual((status.run_id, str(status.slice)), (self.journal().run_id, "0-of-2"))
            self.assertEqual((status.output_uri, status.format, status.speed), (str(self.output), "parquet", 2))
            self.clock.advance(15)
            status = daemon.status()
            self.assertEqual((status.simulated_slot, status.lag_seconds), (ORIGIN + 30, 30))
            self.assertAlmostEqual(status.debt_rows, 30 * sum(status.rows_per_second.values()))
            self.assertAlmostEqual(status.rows_per_second["orders"], 0.25, delta=0.2)
            (report,) = due(daemon)
            self.assertEqual((report.lag_seconds, report.debt_rows), (0, 0))
            status = daemon.status()
            self.assertEqual((status.reached_slot, status.lag_seconds, status.debt_rows), (ORIGIN + 30, 0, 0))
            self.assertEqual(status.last_step_wall_seconds, self.clock.wall_seconds())
            self.assertEqual({table: found.rows for table, found in status.written.items()}, report.rows)

    def test_what_is_written_is_told_over_restarts_and_of_older_slices_too(self):
        for index in (0, 1):
            run(self.config(shard__count=2, shard__index=index), 120)
        run(self.config(), 3000)
        with shop_daemon(self.config(), until=4000) as daemon:
            written = daemon.status().written
            self.assertEqual({table: (found.rows, found.files) for table, found in written.items()},
                             {table: (rows_of(table, self.output).num_rows, len(paths(self.output, table)))
                              for table in TABLES})  # fmt: skip

    def test_the_curve_is_that_of_the_day_and_of_the_inputs_in_force(self):
        with shop_daemon(self.config(), until=400) as daemon:
            first = daemon.status().curve
            self.assertEqual([second for second, _ in first.points], [86_221, 86_400])  # three minutes before midnight
            while daemon.status().reached_slot < ORIGIN + 180:
                daemon.step()
            second = daemon.status().curve
            self.assertEqual((second.first_slot, second.points[0][0]), (ORIGIN + 180, 0))
            daemon.step()
            self.assertIs(daemon.status().curve, second)
            finish(daemon)
        with shop_daemon(self.config(ecommerce__orders_per_second=5), until=1000) as daemon:
            rates = dict(daemon.status().curve.points)
        self.assertGreater(rates[12 * 3600], 5 * dict(second.points)[12 * 3600])

    def test_the_curve_follows_what_another_shard_changes(self):
        with shop_daemon(self.config(shard__count=2), until=4000) as first:
            while first.status().reached_slot < ORIGIN + 180:
                first.step()
            before = dict(first.status().curve.points)
            with shop_daemon(self.config(shard__count=2, shard__index=1, ecommerce__orders_per_second=5)):
                pass
            finish(first)
            after = dict(first.status().curve.points)
        self.assertEqual(after[0], before[0])
        self.assertGreater(after[12 * 3600], 5 * before[12 * 3600])

    def test_what_watches_is_told_in_order(self):
        told: list[Any] = []

        class Watch(Observer):
            def started(self, status: DaemonStatus) -> None:
                told.append(("started", status.reached_slot))

            def committed(self, report: CommitReport) -> None:
                told.append(("committed", report.table, report.outcome, report.rows))

            def stepped(self, report: StepReport, status: DaemonStatus) -> None:
                told.append(("stepped", report.window, status.reached_slot))

        (report,) = run(self.config(), 60, observer=Watch())
        self.assertEqual(told[0], ("started", ORIGIN))
        self.assertEqual(told[-1], ("stepped", Window(ORIGIN, ORIGIN + 60), ORIGIN + 60))
        self.assertEqual(told[1:-1], [("committed", table, "ok", report.rows[table]) for table in TABLES])
        self.assertEqual(report.rows, {table: rows for table, (rows, *_) in figures(self.output).items()})

    def test_a_long_batch_tells_of_each_file_as_it_is_staged(self):
        told: list[tuple[str, int]] = []

        class Watch(Observer):
            def generated(self, table: str, rows: int) -> None:
                told.append((table, rows))

        (report,) = run(self.config(output__file_rows_target=5), 60, observer=Watch())
        files = {commit.table: commit.files for commit in report.commits}
        self.assertGreater(files["customers"], 5)
        self.assertEqual(Counter(table for table, _ in told), files)
        self.assertEqual(
            {table: sum(rows for told_of, rows in told if told_of == table) for table in files}, report.rows
        )

    def test_progress_objects_tell_rows_files_and_bytes(self):
        run(self.config(output__file_rows_target=5), 130)
        for table in TABLES:
            stands = json.loads((self.output / "_emitter/progress" / table / "0-of-1.json").read_bytes())
            files = paths(self.output, table)
            self.assertEqual(
                (stands["rows"], stands["files"], stands["bytes"]),
                (rows_of(table, self.output).num_rows, len(files), sum(path.stat().st_size for path in files)),
            )
