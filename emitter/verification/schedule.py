"""When a running daemon's tables are verified: a thread waits, a process compares, and no batch or stop waits for them.

One process a verification: it comes seldom, and its memory is given back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Self

from emitter.clock import Clock
from emitter.config import EmitterConfig
from emitter.errors import EmitterError
from emitter.model import VerificationOutcome, VerificationReport
from emitter.run.assembly import configured_writer
from emitter.run.beside import LOOK_SECONDS, Beside
from emitter.upkeep.turn import VERIFIER, Turn, taken
from emitter.verification.child import serve
from emitter.watch.observer import Observer

FIRST_SECONDS = 120  # after a start, where none is due before: also who is started again and again is verified
_END_SECONDS_MAX = 1.0  # a thread that hangs in a call to storage ends with the process


class VerificationSchedule:
    """Verifies the tables of a configuration while the context lasts, which begins once the daemon has: of all shards
    one does, for all. `begin` is called first by the process that works, so it must be picklable.
    """

    def __init__(self, config: EmitterConfig, clock: Clock, begin: Callable[[], None] | None = None) -> None:
        self._config, self._clock = config, clock
        self._beside = Beside("emitter-verification", serve, clock, begin)
        self._reports: SimpleQueue[VerificationReport] = SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="emitter-verification", daemon=True)
        self._ended_seconds: float | None = None  # the last one; None: there was none
        self._begin_seconds = 0.0

    def __enter__(self) -> Self:
        self._begin_seconds = self._clock.monotonic_seconds()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(_END_SECONDS_MAX)

    def end(self) -> None:
        """End one under way at once, and begin no other. May be called from any thread."""
        self._stop.set()
        self._beside.end()

    def follow(self, config: EmitterConfig) -> None:
        """Go by another configuration from the next one on."""
        self._config = config

    def pass_on(self, observer: Observer) -> None:
        """Tell of what has ended since. To be called in the daemon's thread."""
        with suppress(Empty):
            while True:
                observer.verified(self._reports.get_nowait())

    def _work(self) -> None:
        """The thread."""
        writer = configured_writer(self._config)
        turn = Turn(writer.storage, VERIFIER, self._clock)
        try:
            while not self._clock.wait(self._stop, LOOK_SECONDS):
                config = self._config
                if not config.verification.enabled:
                    turn.let_go()
                elif self._clock.monotonic_seconds() < self._due_seconds(config):
                    turn.keep()
                else:
                    self._put(self._verified(config, turn))
                    self._ended_seconds = self._clock.monotonic_seconds()
            turn.let_go()
        finally:
            self._beside.drop()
            writer.close()

    def _due_seconds(self, config: EmitterConfig) -> float:
        interval_seconds = config.verification.interval_seconds
        if self._ended_seconds is None:
            return self._begin_seconds + min(FIRST_SECONDS, interval_seconds)
        return self._ended_seconds + interval_seconds

    def _verified(self, config: EmitterConfig, turn: Turn) -> VerificationReport:
        try:
            if not taken(turn, self._clock, self._stop):
                return VerificationReport("skipped")
            return self._compared(config, turn)
        except EmitterError as error:  # of the storage that holds the locks
            return VerificationReport("failed", problem=error.problem)

    def _compared(self, config: EmitterConfig, turn: Turn) -> VerificationReport:
        """Have a process compare."""
        kept, begin_seconds = config.verification, self._clock.monotonic_seconds()

        def ended(outcome: VerificationOutcome, problem: str) -> VerificationReport:
            return VerificationReport(outcome, self._clock.monotonic_seconds() - begin_seconds, problem=problem)

        try:
            pipe = self._beside.pipe()
            pipe.send(config)
        except OSError as error:
            return ended("failed", f"the process of verification could not be started: {error.strerror or error}")
        try:
            while not pipe.poll(LOOK_SECONDS):
                turn.keep()
                seconds = self._clock.monotonic_seconds() - begin_seconds
                if limit := self._beside.exceeded(seconds, kept.round_seconds_max, kept.memory_mib_max, "verification"):
                    return ended("killed", f"a verification took more than {limit}, and was ended")
            report: VerificationReport = pipe.recv()
            return report
        except (EOFError, OSError):
            return ended("killed", f"the process of verification ended by itself, {self._beside.how_it_ended()}")
        finally:
            self._beside.drop()

    def _put(self, report: VerificationReport) -> None:
        if not self._stop.is_set():  # what a stop ends has not failed
            self._reports.put(report)
