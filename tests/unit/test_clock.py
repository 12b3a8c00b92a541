"""Simulated time: how fast it runs, what downtime is, and that it never falls."""

from __future__ import annotations

import math
import threading
import unittest
from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import example, given, settings
from hypothesis import strategies as st

from emitter.clock import (
    EPOCH_UNIX_SECONDS,
    Anchor,
    SimulatedTime,
    SystemClock,
    parse_time,
    slot_of,
    text_of,
    time_of,
)
from emitter.testing import ManualClock

HOUR = 3600.0


def simulated(
    clock: ManualClock, speed: float = 1.0, *, slot: float = 1000.0, catch_up: bool = True, anchor: Anchor | None = None
) -> SimulatedTime:
    """Anchored at this very moment, unless an anchor is given."""
    return SimulatedTime(clock, anchor or Anchor(slot, clock.wall_seconds(), speed), speed, catch_up=catch_up)


class SlotsTest(unittest.TestCase):
    def test_a_slot_is_a_whole_second_since_2020(self):
        self.assertEqual(slot_of(datetime(2020, 1, 1, tzinfo=UTC)), 0)
        self.assertEqual(slot_of(datetime(2020, 1, 2, 0, 0, 0, 999_999, tzinfo=UTC)), 86_400)
        self.assertEqual(slot_of(datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))), 0)
        self.assertEqual(slot_of(datetime.fromisoformat("2020-01-01T00:00:07")), 7)  # without a zone it is UTC
        self.assertEqual(EPOCH_UNIX_SECONDS, 1_577_836_800)

    def test_text_and_back(self):
        for slot in (0, 1, 189_388_800, 2_145_916_799):
            self.assertEqual(slot_of(time_of(slot)), slot)
            self.assertEqual(slot_of(parse_time(text_of(slot))), slot)
        self.assertEqual(text_of(189_388_800), "2026-01-01T00:00:00Z")

    def test_times_are_read_as_utc(self):
        noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
        for value in (
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00",
            " 2026-01-31 12:00 ",
            "2026-01-31T13:00:00+01:00",
            "20260131T120000Z",
            datetime.fromisoformat("2026-01-31T12:00:00"),
            datetime(2026, 1, 31, 4, tzinfo=timezone(timedelta(hours=-8))),
        ):
            with self.subTest(value):
                self.assertEqual(parse_time(value), noon)
                self.assertEqual(parse_time(value).tzinfo, UTC)
        midnight = datetime(2026, 1, 31, tzinfo=UTC)
        self.assertEqual([parse_time("2026-01-31"), parse_time(date(2026, 1, 31))], [midnight, midnight])

    def test_what_is_no_time_is_refused(self):
        for value in (
            *("", "now", "soon", "2026-13-01", "2026-02-30", "12:00", 1_767_225_600, 1.5, None, True),
            "2026-01-01T00:00:00.5Z",  # not a whole second
            "2019-12-31T23:59:59Z",
            "2088-01-01",
            "2020-01-01T00:30:00+01:00",  # in UTC it is still 2019
            "0001-01-01T00:00:00+23:00",
        ):
            with self.subTest(value), self.assertRaises(ValueError):
                parse_time(value)


class SystemClockTest(unittest.TestCase):
    def test_waiting_ends_when_the_event_is_set(self):
        event, clock = threading.Event(), SystemClock()
        self.assertFalse(clock.wait(event, 0.0))
        event.set()
        self.assertTrue(clock.wait(event, 3600.0))

    def test_the_machines_clocks_are_told(self):
        clock = SystemClock()
        self.assertGreater(clock.wall_seconds(), datetime(2026, 1, 1, tzinfo=UTC).timestamp())
        before = clock.monotonic_seconds()
        self.assertGreaterEqual(clock.monotonic_seconds(), before)


class SimulatedTimeTest(unittest.TestCase):
    def setUp(self):
        self.clock = ManualClock()

    def test_it_runs_at_its_speed(self):
        for speed in (0.25, 1.0, 60.0, 1_000_000.0):
            time = simulated(self.clock, speed)
            self.assertEqual(time.now(), 1000.0)
            self.clock.advance(8)
            self.assertAlmostEqual(time.now(), 1000.0 + 8 * speed, places=6)

    def test_another_speed_holds_from_now_on(self):
        time = simulated(self.clock, 60.0)
        self.clock.advance(10)
        time.change_speed(2.0)
        self.assertAlmostEqual(time.now(), 1600.0)
        self.clock.advance(10)
        self.assertAlmostEqual(time.now(), 1620.0)

    def test_downtime_counts_when_catching_up_at_the_speed_of_then(self):
        anchor = Anchor(1000.5, self.clock.wall_seconds(), 2.0)
        self.clock.jump_wall(HOUR)  # nobody was there to see it pass
        time = SimulatedTime(self.clock, anchor, 5.0, catch_up=True)
        self.assertAlmostEqual(time.now(), 1000.5 + 2 * HOUR)
        self.clock.advance(1)
        self.assertAlmostEqual(time.now(), 1005.5 + 2 * HOUR)

    def test_downtime_counts_for_nothing_when_continuing(self):
        anchor = Anchor(1000.5, self.clock.wall_seconds(), 2.0)
        self.clock.jump_wall(HOUR)
        time = SimulatedTime(self.clock, anchor, 5.0, catch_up=False)
        self.assertAlmostEqual(time.now(), 1000.5)
        self.clock.advance(1)
        self.assertAlmostEqual(time.now(), 1005.5)

    def test_a_clock_set_back_before_a_start_is_no_negative_downtime(self):
        anchor = Anchor(1000.0, self.clock.wall_seconds(), 2.0)
        self.clock.jump_wall(-HOUR)
        for catch_up in (True, False):
            self.assertAlmostEqual(SimulatedTime(self.clock, anchor, 2.0, catch_up=catch_up).now(), 1000.0)

    def test_a_wall_clock_an_hour_forward_is_downtime(self):
        time = simulated(self.clock, 3.0)
        self.clock.advance(1)
        self.clock.jump_wall(HOUR)
        self.assertAlmostEqual(time.now(), 1003.0 + 3 * HOUR)
        self.clock.advance(1)
        self.assertAlmostEqual(time.now(), 1006.0 + 3 * HOUR)

    def test_a_wall_clock_an_hour_forward_is_nothing_when_continuing(self):
        time = simulated(self.clock, 3.0, catch_up=False)
        self.clock.advance(1)
        self.clock.jump_wall(HOUR)
        self.assertAlmostEqual(time.now(), 1003.0)

    def test_a_wall_clock_an_hour_back_is_ignored(self):
        for catch_up in (True, False):
            time = simulated(self.clock, 3.0, catch_up=catch_up)
            self.clock.advance(1)
            self.assertAlmostEqual(time.now(), 1003.0)
            self.clock.jump_wall(-HOUR)
            self.assertAlmostEqual(time.now(), 1003.0)
            self.clock.advance(1)
            self.assertAlmostEqual(time.now(), 1006.0)  # and goes on, it does not wait for the hour to come again

    def test_a_wall_clock_back_and_forth_gains_nothing(self):
        time = simulated(self.clock)
        for jump in (-HOUR, HOUR, -HOUR, HOUR):
            self.clock.jump_wall(jump)
            self.assertAlmostEqual(time.now(), 1000.0)

    def test_a_speed_change_keeps_the_jumps_before_it(self):
        time = simulated(self.clock, 2.0)
        self.clock.jump_wall(HOUR)
        time.change_speed(4.0)
        self.clock.jump_wall(-HOUR)
        self.clock.advance(1)
        self.assertAlmostEqual(time.now(), 1004.0 + 2 * HOUR)

    def test_it_can_be_raised_and_never_lowered(self):
        time = simulated(self.clock)
        self.assertTrue(time.raise_to(1500.0))
        self.assertFalse(time.raise_to(1500.0))
        self.assertFalse(time.raise_to(1200.0))
        self.assertAlmostEqual(time.now(), 1500.0)
        self.clock.advance(2)
        self.assertAlmostEqual(time.now(), 1502.0)

    def test_how_long_until_a_slot(self):
        time = simulated(self.clock, 4.0)
        self.assertAlmostEqual(time.seconds_until(1002.0), 0.5)
        self.clock.advance(0.5)
        self.assertEqual(time.seconds_until(1002.0), 0.0)
        self.assertEqual(time.seconds_until(1.0), 0.0)

    def test_an_anchor_goes_on_where_it_was_taken_at_any_speed(self):
        time = simulated(self.clock, 60.0)
        self.clock.advance(12.25)
        self.clock.jump_wall(-HOUR)
        taken = Anchor.from_json(time.anchor().to_json())
        self.assertEqual(taken, time.anchor())
        for speed in (0.5, 60.0, 3600.0):
            for catch_up in (True, False):
                again = SimulatedTime(self.clock, taken, speed, catch_up=catch_up)
                self.assertAlmostEqual(again.now(), time.now(), places=6)
                self.assertEqual(again.speed, speed)

    def test_what_is_no_anchor_is_refused(self):
        good = {"slot": 1.5, "wall_seconds": 2.5, "speed": 3.5}
        self.assertEqual(Anchor.from_json(good), Anchor(1.5, 2.5, 3.5))
        wrong = [{**good, name: bad} for name in good for bad in (None, "x", math.nan, math.inf)]
        for value in (*wrong, {**good, "speed": 0}, {}, [], None, 7, "slot"):
            with self.subTest(value), self.assertRaises((KeyError, TypeError, ValueError)):
                Anchor.from_json(value)


_SECONDS = st.floats(0, 100_000, allow_nan=False)
_MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), _SECONDS),
        st.tuples(st.just("jump"), st.floats(-100_000, 100_000)),
        st.tuples(st.just("speed"), st.floats(0.01, 100_000)),
        st.tuples(st.just("raise"), st.floats(-100_000, 100_000)),
        st.tuples(st.just("restart"), st.floats(0.01, 100_000)),
    ),
    max_size=30,
)


class AnySequenceTest(unittest.TestCase):
    @settings(max_examples=300, deadline=None)
    @example(moves=[("jump", -HOUR), ("advance", 10.0), ("jump", HOUR)], catch_up=True)
    @given(moves=_MOVES, catch_up=st.booleans())
    def test_simulated_time_never_falls(self, moves, catch_up):
        clock = ManualClock()
        time = simulated(clock, catch_up=catch_up)
        last = time.now()
        for move, amount in moves:
            if move == "advance":
                clock.advance(amount)
            elif move == "jump":
                clock.jump_wall(amount)
            elif move == "speed":
                time.change_speed(amount)
            elif move == "raise":
                time.raise_to(last + amount)
            else:
                time = SimulatedTime(clock, time.anchor(), amount, catch_up=catch_up)
            now = time.now()
            self.assertGreaterEqual(now, last - 1e-9 * abs(last))
            last = now

    @settings(max_examples=300, deadline=None)
    @example(moves=[("speed", 4288.0), ("advance", 0.8), ("speed", 1.0)], catch_up=False)
    @given(moves=_MOVES, catch_up=st.booleans())
    def test_only_time_that_passed_counts_and_what_the_wall_clock_ran_ahead(self, moves, catch_up):
        clock = ManualClock()
        time = simulated(clock, catch_up=catch_up)
        expected, speed, fastest = 1000.0, 1.0, 1.0
        lead = furthest = 0.0  # of the wall clock before monotonic time
        for move, amount in moves:
            if move == "advance":
                clock.advance(amount)
                expected += speed * amount
            elif move == "jump":
                clock.jump_wall(amount)
                lead += amount
                if catch_up:
                    expected += speed * max(0.0, lead - furthest)
                    furthest = max(furthest, lead)
            elif move == "speed":
                time.change_speed(amount)
                speed, fastest = amount, max(amount, fastest)
            # A time of the wall clock has steps of 2.4e-7 s; at a high speed that is much, and stays.
            self.assertAlmostEqual(time.now(), expected, delta=1e-4 + 1e-9 * abs(expected) + 1e-4 * fastest)
