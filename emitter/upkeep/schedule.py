"""When the tables are looked after, and by whom: beside the daemon, in a thread that waits for a process that works.

The thread is woken by the ticks of APScheduler, which hold no state. Nothing here is ever waited for by a batch or a
stop: what a round has to tell is put down, and the daemon's thread passes it on to the observers between two steps.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Self, override

from emitter.clock import Clock
from emitter.config import EmitterConfig, MaintenanceConfig
from emitter.errors import EmitterError
from emitter.model import TASKS, ChoreReport, RoundReport, Slice, StepReport, Task
from emitter.run.assembly import configured_policy, configured_writer
from emitter.run.schedule import Ticks
from emitter.upkeep.child import Order
from emitter.upkeep.opened import MakeWriter
from emitter.upkeep.process import UpkeepProcess
from emitter.upkeep.turn import KEEPER, ROUND, Turn, taken
from emitter.watch.observer import DaemonStatus, Observer

_log = logging.getLogger("emitter.upkeep")

SHARE = 0.1  # of real time, for the tasks that batches bring
FIRST_SECONDS = 15  # after a start, where a round is not due before: also who is started again and again has one
_END_SECONDS_MAX = 1.0  # a thread that hangs in a call to storage ends with the process


class UpkeepSchedule(Observer):
    """Looks after the tables of a configuration while the context lasts, which begins once the daemon has.

    `begin` is called first by the process that works. Both it and `make_writer` must be picklable.
    """

    def __init__(
        self,
        config: EmitterConfig,
        clock: Clock,
        begin: Callable[[], None] | None = None,
        make_writer: MakeWriter = configured_writer,
    ) -> None:
        self._config, self._clock, self._make_writer = config, clock, make_writer
        self._process = UpkeepProcess(make_writer, clock, begin)
        self._reports: SimpleQueue[ChoreReport | RoundReport] = SimpleQueue()
        self._stop = threading.Event()
        self._ticks = Ticks()
        self._thread = threading.Thread(target=self._work, name="emitter-upkeep", daemon=True)
        self._due = Due()

    def __enter__(self) -> Self:
        self._due.begin(self._clock.monotonic_seconds(), self._config.maintenance)
        self._ticks.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(_END_SECONDS_MAX)
        self._ticks.__exit__()

    def end(self) -> None:
        """End a round under way at once, and begin no other. May be called from any thread."""
        self._stop.set()
        self._process.end()
        self._ticks.wake.set()

    def follow(self, config: EmitterConfig) -> None:
        """Go by another configuration from the next round on."""
        self._config = config
        self._due.follow(self._clock.monotonic_seconds(), config.maintenance)

    def pass_on(self, observer: Observer) -> None:
        """Tell of what has ended since. To be called in the daemon's thread."""
        while True:
            try:
                report = self._reports.get_nowait()
            except Empty:
                return
            if isinstance(report, RoundReport):
                observer.round_ended(report)
            else:
                observer.maintained(report)

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        self._due.batches += report.ends_batch

    def _work(self) -> None:
        """The thread."""
        writer = self._make_writer(self._config)
        try:
            self._due.tasks = writer.upkeep(configured_policy(self._config)).tasks
            if not self._due.tasks:
                return
            slice = Slice(self._config.shard.index, self._config.shard.count)
            keeper = Turn(writer.storage, KEEPER, self._clock, slice)
            caretaker = _Caretaker(keeper, Turn(writer.storage, ROUND, self._clock, slice), self._clock)
            while not self._stop.is_set():
                self._clock.wait(self._ticks.wake, 1.0)
                self._ticks.wake.clear()
                self._look(caretaker)
            caretaker.let_go()
        finally:
            self._process.close()
            writer.close()

    def _look(self, caretaker: _Caretaker) -> None:
        """See whether a round is due, and have it done if it is this process's turn."""
        kept, begin_seconds = self._config.maintenance, self._clock.monotonic_seconds()
        try:
            if self._stop.is_set():
                return
            tasks = self._due.at(begin_seconds) if kept.enabled else ()
            if not tasks:
                caretaker.keep()
                return
            batches = self._due.batches
            report = self._round(caretaker, tasks)
        except EmitterError as error:  # of the storage that holds the locks
            report = RoundReport("failed", problem=error.problem)
        except Exception as error:  # noqa: BLE001 (a fault of ours fails a round, and the next one comes all the same)
            _log.exception("a round of upkeep ended in a fault")
            self._process.renew()
            report = RoundReport("failed", problem=f"a fault of upkeep: {type(error).__name__}: {error}")
        self._put(report)
        end_seconds = self._clock.monotonic_seconds()
        task_seconds = report.task_seconds or dict.fromkeys(tasks, end_seconds - begin_seconds)
        self._due.ended({task: task_seconds.get(task, 0.0) for task in tasks}, batches, end_seconds, kept)

    def _round(self, caretaker: _Caretaker, tasks: Sequence[Task]) -> RoundReport:
        if not caretaker.take(self._stop):
            return RoundReport("skipped")
        try:
            return self._process.run(Order(self._config, tuple(tasks)), self._put, caretaker.keep)
        finally:
            caretaker.end_round()

    def _put(self, report: ChoreReport | RoundReport) -> None:
        if not self._stop.is_set():  # what a stop ends has not failed
            self._reports.put(report)


@dataclass(slots=True)
class _Wait:
    """What a task waits for."""

    time_seconds: float = math.inf
    batches: int = 0
    rested_seconds: float = -math.inf
    took_seconds: float = 0.0  # the last time


class Due:
    """Which of the `tasks` are due: each after so much real time, or after so many `batches`, but then not before
    it has rested. So what is quickly done, and keeps commits short, need not wait for what takes long.
    """

    def __init__(self, tasks: Sequence[Task] = TASKS) -> None:
        self.tasks = tasks
        self.batches = 0  # in all
        self._waits = {task: _Wait() for task in TASKS}

    def begin(self, now_seconds: float, kept: MaintenanceConfig) -> None:
        """Count from now on."""
        for wait in self._waits.values():
            wait.time_seconds = now_seconds + min(FIRST_SECONDS, kept.interval_seconds)
            wait.batches = self.batches + kept.interval_batches

    def follow(self, now_seconds: float, kept: MaintenanceConfig) -> None:
        """Go by other intervals."""
        for wait in self._waits.values():
            wait.time_seconds = min(wait.time_seconds, now_seconds + kept.interval_seconds)
            wait.batches = min(wait.batches, self.batches + kept.interval_batches)

    def ended(
        self, task_seconds: Mapping[Task, float], batches: int, end_seconds: float, kept: MaintenanceConfig
    ) -> None:
        """These tasks were done or skipped, which took so long each, and began after so many batches.

        Each has the same part of the time, or as much more as it takes longer than the others.
        """
        for task, seconds in task_seconds.items():
            self._waits[task].took_seconds = seconds
        all_seconds = sum(self._waits[task].took_seconds for task in self.tasks)
        for task, seconds in task_seconds.items():
            wait = self._waits[task]
            wait.time_seconds = end_seconds + kept.interval_seconds
            wait.batches = batches + kept.interval_batches
            wait.rested_seconds = end_seconds + min(len(self.tasks) * seconds, all_seconds) / SHARE - seconds

    def at(self, now_seconds: float) -> Sequence[Task]:
        """Those that are due now."""
        return [task for task in self.tasks if self._is_due(self._waits[task], now_seconds)]

    def _is_due(self, wait: _Wait, now_seconds: float) -> bool:
        are_many = self.batches >= wait.batches and now_seconds >= wait.rested_seconds
        return are_many or now_seconds >= wait.time_seconds


class _Caretaker:
    """Whether it is for this process to look after the tables, and at this moment."""

    def __init__(self, keeper: Turn, round: Turn, clock: Clock) -> None:
        self._keeper, self._round_turn, self._clock = keeper, round, clock

    def take(self, stop: threading.Event) -> bool:
        """Whether a round may begin."""
        self._round_turn.watch()  # who was killed in the middle of a round had both
        return taken(self._keeper, self._clock, stop) and taken(self._round_turn, self._clock, stop)

    def keep(self) -> None:
        """To be called every few seconds: where storage has no locks, others take who is silent for dead."""
        self._keeper.keep()
        self._round_turn.keep()

    def end_round(self) -> None:
        self._round_turn.let_go()

    def let_go(self) -> None:
        self._round_turn.let_go()
        self._keeper.let_go()
