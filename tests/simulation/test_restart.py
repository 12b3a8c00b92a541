"""Stopping and starting again: where simulated time goes on, and that no seam is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from emitter.clock import SLOT_END, text_of
from emitter.config import EmitterConfig
from emitter.errors import (
    DamagedStateError,
    UsageError,
)
from emitter.run.anchor import PATH as ANCHOR_PATH
from emitter.testing import ManualClock
from emitter.truth import inspection
from tests.support.case import DaemonCase, spans
from tests.support.shop import ORIGIN, TABLES, crash, due, finish, run, shop_daemon

HOUR = 3600


class RestartTest(DaemonCase):
    def start(self, config: EmitterConfig) -> Any:
        return shop_daemon(config, clock=self.clock)

    def after_downtime(self, **changes: Any) -> Any:
        """A daemon that starts again on a new output, 300 seconds after it had done 50."""
        self.output = self.new_folder()
        with self.start(self.live(**changes)) as daemon:
            self.clock.advance(50)
            due(daemon)
        self.clock.advance(300)
        return self.start(self.live(**changes))

    def test_downtime_is_caught_up_in_one_batch(self):
        for changes, passed in (({}, 350), ({"clock__speed": 2, "clock__on_restart": "catch_up"}, 700)):
            with self.after_downtime(**changes) as daemon:
                self.assertEqual(daemon.status().simulated_slot, ORIGIN + passed)
                self.assertEqual(daemon.status().lag_seconds, passed - passed // 7)
                self.assertEqual(spans(due(daemon))[-1][1], passed)
            self.assert_undisturbed(passed)

    def test_a_shop_that_stood_still_at_high_speed_does_not_wake_up_far_ahead(self):
        with self.start(self.live(clock__speed=60)) as daemon:
            self.clock.advance(10)
            due(daemon)
        self.clock.advance(3600)
        with self.start(self.live(clock__speed=1)) as daemon:  # catches up: an hour, not sixty
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 600 + 3600)

    def test_a_run_that_starts_now_is_level_with_the_wall_clock_after_other_speeds(self):
        with self.start(self.live(clock__speed=60, clock__start="now")) as daemon:
            begun = daemon.status().reached_slot
            self.clock.advance(10)
            due(daemon)
        self.clock.advance(3600)
        with self.start(self.live(clock__start="now")) as daemon:
            self.assertEqual(daemon.status().simulated_slot, begun + 10 + 3600)

    def test_a_change_after_a_high_speed_has_not_long_to_wait_and_is_announced(self):
        for speed, wait_max in ((3600, 3600), ("max", 3600), (1, 600)):
            with self.subTest(speed):
                self.output = self.new_folder()
                with self.start(self.live(clock__speed=speed)) as daemon:
                    for _ in range(3):
                        self.clock.advance(20 if speed == 1 else 2)
                        daemon.step()
                with self.start(self.live(ecommerce__orders_per_second=0.25, clock__on_restart="continue")) as daemon:
                    status = daemon.status()
                    (ahead,) = status.ahead
                    self.assertEqual(ahead.changes, ("ecommerce.orders_per_second: 0.25, before 0.5",))
                    wait = status.seconds_until(ahead.from_slot)
                    assert wait is not None
                    self.assertTrue(0 < wait <= wait_max, wait)

    def test_downtime_is_left_out_when_continuing(self):
        for changes, done in (({"clock__speed": 2}, 100), ({"clock__on_restart": "continue"}, 50)):
            with self.after_downtime(**changes) as daemon:
                self.assertEqual(daemon.status().simulated_slot, ORIGIN + done)
                self.assertEqual([report for report in due(daemon) if report.commits], [])
                self.clock.advance(10)
                self.assertEqual(spans(due(daemon)), [(done, done + 10 * done // 50)])
            self.assert_undisturbed(done + 10 * done // 50)

    def test_another_speed_holds_from_the_restart_on(self):
        with self.start(self.live()) as daemon:
            self.clock.advance(50)
            due(daemon)
        self.clock.advance(30)
        with self.start(self.live(clock__speed=5, clock__on_restart="catch_up")) as daemon:
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 80)
            self.clock.advance(4)
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 100)
            due(daemon)
        self.assert_undisturbed(100)

    def test_the_wall_clock_an_hour_forward_is_downtime(self):
        with self.start(self.live()) as daemon:
            self.clock.advance(50)
            due(daemon)
            self.clock.jump_wall(HOUR)
            self.assertEqual(daemon.status().lag_seconds, HOUR)
            self.assertEqual(spans(due(daemon)), [(50, 50 + HOUR)])
        self.assert_undisturbed(50 + HOUR)

    def test_the_wall_clock_an_hour_forward_is_nothing_when_continuing(self):
        with self.start(self.live(clock__on_restart="continue")) as daemon:
            self.clock.advance(50)
            due(daemon)
            self.clock.jump_wall(HOUR)
            self.assertIsNone(daemon.step())
            self.clock.advance(10)
            self.assertEqual(spans(due(daemon)), [(50, 60)])

    def test_the_wall_clock_an_hour_back_is_ignored(self):
        for on_restart in ("catch_up", "continue"):
            self.output = self.new_folder()
            config = self.live(clock__on_restart=on_restart)
            with self.start(config) as daemon:
                self.clock.advance(50)
                due(daemon)
                self.clock.jump_wall(-HOUR)
                self.assertIsNone(daemon.step())
                self.clock.advance(10)
                self.assertEqual(spans(due(daemon)), [(50, 60)])
            with self.start(config) as daemon:  # still an hour back
                self.assertEqual(daemon.status().simulated_slot, ORIGIN + 60)
                self.assertEqual([report for report in due(daemon) if report.commits], [])
                self.clock.advance(10)
                self.assertEqual(spans(due(daemon)), [(60, 70)])
            self.assert_undisturbed(70)

    def test_now_is_resolved_once(self):
        config = self.live(clock__start="now")
        with self.start(config) as daemon:
            origin = daemon.status().reached_slot
            self.assertEqual(text_of(origin), "2026-01-01T00:00:00Z")
            self.clock.advance(25.5)
            due(daemon)
        self.clock.advance(HOUR)
        with self.start(config) as daemon:
            self.assertEqual(self.journal().origin_slot, origin)
            self.assertEqual(daemon.status().simulated_slot, origin + HOUR + 25.5)
            due(daemon)
        self.assert_verified(config)

    def test_a_clock_that_is_out_of_all_reason_is_refused(self):
        for year, seconds in ((1970, 86_400), (2088, 3_723_840_000)):
            self.clock = ManualClock(seconds)
            error = self.assert_refused(UsageError, self.live(clock__start="now"))
            self.assertIn(f"this machine's clock says {year}-", error.problem)
            self.assertIn("clock", error.hint)
            with self.assertRaises(UsageError):
                inspection.check(self.live(clock__start="now"), clock=self.clock)
            inspection.check(self.live(), clock=self.clock)

    def test_beyond_the_last_id_there_is_nothing_left_to_do(self):
        config = self.config(
            clock__start="2087-12-31", clock__batch_seconds=2_678_400, ecommerce__orders_per_second=0.001
        )
        for _ in range(2):
            with self.start(config) as daemon:
                finish(daemon)
                self.assertIsNone(daemon.step())
                self.assertEqual(daemon.status().reached_slot, SLOT_END)

    def test_after_history_it_goes_on_from_its_end(self):
        run(self.config(), 500)  # further than time has come
        with self.start(self.live()) as daemon:
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 500)
            self.clock.advance(10)
            self.assertEqual(spans(due(daemon))[-1], (500, 510))
        self.assert_undisturbed(510)

    def test_after_more_history_it_goes_on_from_its_end_too(self):
        with self.start(self.live()) as daemon:
            self.clock.advance(50)
            due(daemon)
        run(self.config(), 500)
        with self.start(self.live()) as daemon:
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 500)
        self.assert_undisturbed(500)

    def test_a_batch_that_some_tables_had_done_before_a_crash_is_no_new_one(self):
        self.assertTrue(crash(self.config(), 120, "parquet.progress", 2))
        reports = run(self.config(), 120)
        self.assertEqual(
            [(report.tables, report.ends_batch) for report in reports], [(TABLES[2:], False), (TABLES, True)]
        )

    def test_tables_that_had_no_rows_lately_are_looked_through_in_one_step(self):
        run(self.config(clock__batch_seconds=10), 600)
        reports = run(self.config(clock__batch_seconds=10), 620)
        looks, news = spans(reports)[:-2], spans(reports)[-2:]
        self.assertEqual(news, [(600, 610), (610, 620)])
        self.assertLessEqual(len(looks), 2)  # customers and products, which stand at slots of their own
        self.assertGreater(looks[-1][1] - looks[0][0], 60)
        self.assert_undisturbed(620)

    def test_after_history_a_run_that_starts_now_follows_the_wall_clock(self):
        config = self.live(clock__start="now")
        self.clock.jump_wall(0.25)
        with shop_daemon(replace(config, clock=replace(config.clock, speed="max")), clock=self.clock) as daemon:
            origin = daemon.status().reached_slot
            while daemon.status().reached_slot < origin + 50:
                daemon.step()
        self.clock.advance(100)
        with self.start(config) as daemon:
            self.assertEqual(daemon.status().simulated_slot, origin + 100.25)
            due(daemon)
        self.assert_verified(config)

    def test_without_its_anchor_it_goes_on_from_what_the_tables_hold(self):
        with self.start(self.live()) as daemon:
            self.clock.advance(50)
            due(daemon)
        (self.output / ANCHOR_PATH).write_bytes(b'{"slot"')
        self.assertIn("delete it", self.assert_refused(DamagedStateError, self.live()).hint)
        (self.output / ANCHOR_PATH).unlink()
        with self.start(self.live()) as daemon:
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 50)

    def test_every_stop_and_start_leaves_no_seam(self):
        for until in (7, 61, 62, 180, 181, 240):
            run(self.config(), until)
        self.assert_undisturbed(240)
