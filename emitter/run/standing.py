"""What a daemon tells of where it stands."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from emitter.clock import Clock
from emitter.generators.base import GeneratorBase
from emitter.model import Window
from emitter.run.agenda import Agenda
from emitter.run.duties import Duties
from emitter.watch.daycurve import DAY_SECONDS, day_curve
from emitter.watch.observer import DaemonStatus, DayCurve
from emitter.writers.base import TableWriter

_RATE_WINDOW_SECONDS = 60
_PACE_STEPS = 20


class _Pace:
    """How quickly what is behind becomes less, over the last steps."""

    def __init__(self) -> None:
        self._behind: deque[tuple[float, float]] = deque(maxlen=_PACE_STEPS)  # real time, simulated seconds behind

    def add(self, now_seconds: float, lag_seconds: float) -> None:
        self._behind.append((now_seconds, lag_seconds))

    def seconds_until_level(self) -> float | None:
        """Real seconds that it will take; None where nobody knows, or nothing is behind."""
        if len(self._behind) < 2:
            return None
        (begin, lag_then), (end, lag) = self._behind[0], self._behind[-1]
        gained = lag_then - lag
        return lag * (end - begin) / gained if lag > 0 and gained > 0 else None


class Standing:
    """A `DaemonStatus`, made anew after each step; `now` may be asked for by any thread."""

    def __init__(self, agenda: Agenda, duties: Duties, writer: TableWriter, clock: Clock) -> None:
        self._agenda, self._duties, self._writer, self._clock = agenda, duties, writer, clock
        self._last_step_wall_seconds: float | None = None
        self._curve: tuple[GeneratorBase, DayCurve] | None = None
        self._pace = _Pace()
        self.refresh()

    def stepped(self) -> None:
        """A step has just finished."""
        self._last_step_wall_seconds = self._clock.wall_seconds()
        self.refresh()
        self._pace.add(self._clock.monotonic_seconds(), self.now().lag_seconds)

    def refresh(self) -> None:
        """Take down how things stand."""
        agenda, reached = self._agenda, self._agenda.reached_slot
        settings, journal, generator = agenda.settings, agenda.journal, agenda.generator
        inputs = journal.inputs_at(reached)
        expected = generator.expected_rows(Window(reached + 1, reached + 1 + _RATE_WINDOW_SECONDS))
        per_shard_second = _RATE_WINDOW_SECONDS * inputs.shard_count
        self._status = DaemonStatus(
            run_id=journal.run_id,
            domain=generator.name,
            slice=settings.slice,
            tables=inputs.tables,
            reached_slot=reached,
            simulated_slot=float(reached),
            lag_seconds=0.0,
            debt_rows=0.0,
            rows_per_second={table: expected[table] / per_shard_second for table in inputs.tables},
            speed=settings.speed,
            batch_seconds=settings.batch_seconds,
            last_step_wall_seconds=self._last_step_wall_seconds,
            output_uri=self._writer.storage.uri,
            format=self._writer.format_name,
            curve=self._day_curve(reached),
            written=self._duties.written(),
            table_lag_seconds=self._duties.lags_seconds(),
            left_to_others=tuple(map(str, self._duties.untaken())),
            ahead=journal.ahead(reached),
        )

    def now(self) -> DaemonStatus:
        """Where the daemon stands at this moment."""
        status, time = self._status, self._agenda.time
        if time is None:
            return status
        now = time.now()
        lag = float(max(0, int(now) - status.reached_slot))
        return replace(
            status,
            simulated_slot=now,
            lag_seconds=lag,
            debt_rows=lag * sum(status.rows_per_second.values()),
            level_in_seconds=self._pace.seconds_until_level(),
        )

    def _day_curve(self, slot: int) -> DayCurve:
        """The curve of the day that a slot is in, made once while the inputs stay."""
        generator = self._agenda.generator
        if self._curve is not None:
            of, curve = self._curve
            if of is generator and 0 <= slot - curve.first_slot < DAY_SECONDS:
                return curve
        self._curve = generator, day_curve(generator, slot)
        return self._curve[1]
