"""The process beside the daemon, as the daemon sees it: it is begun, watched, ended, and begun anew."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection

from emitter.clock import Clock
from emitter.model import ChoreReport, RoundOutcome, RoundReport
from emitter.run.beside import LOOK_SECONDS, Beside
from emitter.upkeep.child import Order, serve
from emitter.upkeep.opened import MakeWriter

ROUNDS_MAX = 1_000  # then it is ended, and another begun: which costs as much as a second of work
_FULL = 0.5  # of the memory that it may have: it is ended after a round, so that the next is not cut off


class UpkeepProcess:
    """One at a time, from the first round on. `run` belongs to one thread, `end` may be called from any.

    `make_writer`, `clock` and `begin`, which the process calls first, go there, so they must be picklable.
    """

    def __init__(self, make_writer: MakeWriter, clock: Clock, begin: Callable[[], None] | None) -> None:
        self._clock = clock
        self._beside = Beside("emitter-upkeep", serve, make_writer, clock, begin)
        self._rounds = self._chores = 0

    def run(self, order: Order, tell: Callable[[ChoreReport], None], look: Callable[[], None]) -> RoundReport:
        """Have a round done. `tell` gets the reports of its chores as they end, and `look` is called now and then."""
        begin_seconds, self._chores = self._clock.monotonic_seconds(), 0
        kept = order.config.maintenance

        def ended(outcome: RoundOutcome, problem: str) -> RoundReport:
            self._beside.drop()
            seconds = self._clock.monotonic_seconds() - begin_seconds
            return RoundReport(outcome, seconds, self._chores, problem=problem)

        try:
            pipe = self._sent(order)
            while True:
                try:
                    if report := self._next(pipe, tell):
                        if self._is_spent(order):
                            self._beside.drop()
                        return report
                except (EOFError, OSError):
                    if self._chores or not self._rounds:
                        how = self._beside.how_it_ended()
                        return ended("killed", f"the process of upkeep ended by itself, {how}")
                    self._beside.drop()  # it was killed since its last round, which is seen only now: nothing is lost
                    pipe = self._sent(order)
                look()
                seconds = self._clock.monotonic_seconds() - begin_seconds
                if limit := self._beside.exceeded(seconds, kept.round_seconds_max, kept.memory_mib_max, "maintenance"):
                    return ended("killed", f"a round of upkeep took more than {limit}, and was ended")
        except OSError as error:
            return ended("failed", f"the process of upkeep could not be started: {error.strerror or error}")

    def _sent(self, order: Order) -> Connection:
        """The pipe on which the reports of an order come."""
        if not self._beside.is_alive:
            self._rounds = 0
        pipe = self._beside.pipe()
        pipe.send(order)
        return pipe

    def _next(self, pipe: Connection, tell: Callable[[ChoreReport], None]) -> RoundReport | None:
        """Wait a little for what it says; the report of the round, if that is it."""
        if not pipe.poll(LOOK_SECONDS):
            return None
        message = pipe.recv()
        if isinstance(message, RoundReport):
            self._rounds += 1
            return message
        self._chores += 1
        tell(message)
        return None

    def _is_spent(self, order: Order) -> bool:
        is_full = self._beside.resident_mib() > _FULL * order.config.maintenance.memory_mib_max
        return self._rounds >= ROUNDS_MAX or is_full

    def end(self) -> None:
        """End it at once, whatever it does, for good."""
        self._beside.end()

    def renew(self) -> None:
        """Have another process for the next round."""
        self._beside.drop()

    def close(self) -> None:
        """To be called when nobody runs a round any more."""
        self._beside.end()
        self._beside.drop()
