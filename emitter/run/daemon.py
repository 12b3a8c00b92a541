"""Where clock, generator, encoder and writer meet. `step` does one piece of what is due.

Nothing is remembered that the tables and the journal don't say: a step looks for the tables that are furthest behind,
makes their rows again from there, and commits them. So recovery, catching up, history and live are one path.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from emitter.clock import SLOT_END, Clock, SimulatedTime, text_of
from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    EmitterError,
    OvertakenError,
    SliceLockedError,
    StorageError,
    StorageGaveUpError,
)
from emitter.generators.base import GeneratorBase
from emitter.model import CommitReport, Slice, StepReport, TableProgress, Window
from emitter.randomness import Stream
from emitter.run.anchor import store_anchor
from emitter.run.journal import RUN_FOLDER
from emitter.run.ledger import Ledger
from emitter.run.opening import Settings, open_journal, open_tables, start_time
from emitter.run.pipeline import LocalStager, Request, Stager
from emitter.run.plan import assignments, complete_slot, layouts, tables_at
from emitter.watch.daycurve import DAY_SECONDS, day_curve
from emitter.watch.observer import DaemonStatus, DayCurve, Observer
from emitter.writers.base import TableWriter

SEAL_AHEAD_SECONDS = 600  # of real time: how long a change of inputs may have to wait, and how seldom seals are written
SEAL_AHEAD_BATCHES = 9
SEAL_AHEAD_SHARE = 20
LEAVE_SECONDS = 30  # for how long an older slice that others have moved is left to them
RETRYABLE = (StorageError, CommitConflictError, CommitUnknownError)
_FIRST_RETRY_SECONDS = 0.25
_RATE_WINDOW_SECONDS = 60


class Daemon:
    """One shard of a run. Use it as a context manager: entering takes the slice's lock and recovers.

    `step` and `change` belong to one thread; `status` and `request_stop` may be called from any. `until_slot` is where
    it ends; `stager` (default: one for this process) is closed with the daemon.
    """

    def __init__(
        self,
        generator: GeneratorBase,
        writer: TableWriter,
        settings: Settings,
        *,
        clock: Clock,
        observer: Observer | None = None,
        until_slot: int | None = None,
        stager: Stager | None = None,
    ) -> None:
        self._generator, self._writer, self._settings, self._clock = generator, writer, settings, clock
        self._observer = observer or Observer()
        self._until = SLOT_END if until_slot is None else until_slot
        self._stager = stager or LocalStager(writer, clock)
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._ledgers: list[Ledger] = []
        self._holds: dict[Slice, ExitStack] = {}
        self._left_until_seconds: dict[Slice, float] = {}
        self._progress: defaultdict[Slice, dict[str, TableProgress | None]] = defaultdict(dict)
        self._time: SimulatedTime | None = None
        self._curve: DayCurve | None = None
        self._finished_edge = 0
        self._is_unsettled = False  # a step has failed, and nobody knows yet what became of it
        self._is_anchor_due = False

    def take(self) -> None:
        """Take the slice's lock ahead of entering, if the run has begun at all; writes nothing where it has not. Raises
        SliceLockedError. Only to be followed by entering, or by the end of the process.
        """
        if self._writer.storage.list(RUN_FOLDER):
            self._take_own()

    def _take_own(self) -> None:
        if self._settings.slice not in self._holds:
            self._hold(self._settings.slice)

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:  # leave nothing behind of what was staged ahead
                self._stager.reset()
                self._recover_held()
                self._keep_anchor()

    @property
    def finished(self) -> bool:
        """Whether everything up to the end that was asked for is done."""
        return self._status.reached_slot >= self._until

    def request_stop(self) -> None:
        """Let a wait for another attempt end. A step under way finishes."""
        self._stop.set()

    def seconds_until_due(self) -> float:
        """Real seconds until `step` has something to do; 0 if it has."""
        if self._time is None or self.finished:
            return 0.0
        batch = self._settings.batch_seconds
        return self._time.seconds_until(min((self._status.reached_slot // batch + 1) * batch, self._until))

    def status(self) -> DaemonStatus:
        """Where the daemon stands now."""
        status = self._status
        if self._time is None:
            return status
        now = self._time.now()
        lag = float(max(0, int(now) - status.reached_slot))
        return replace(
            status, simulated_slot=now, lag_seconds=lag, debt_rows=lag * sum(status.rows_per_second.values())
        )

    def change(
        self, *, speed: float | None, batch_seconds: int, batch_rows_max: int, compression: str, file_rows_target: int
    ) -> None:
        """Go on at another speed (None for max stays None), with other batches and other files."""
        if self._time is not None and speed is not None and speed != self._time.speed:
            self._time.change_speed(speed)
            self._is_anchor_due = True  # by the next step, which knows how to go on where storage fails
        self._settings = replace(
            self._settings, speed=speed, batch_seconds=batch_seconds, batch_rows_max=batch_rows_max
        )
        self._writer.options = replace(self._writer.options, compression=compression, file_rows_target=file_rows_target)
        self._refresh_status()

    def step(self) -> StepReport | None:
        """Do the next piece of what is due, and see it durable; None where nothing is due.

        Raises StorageGaveUpError after as many attempts as are set, SliceLockedError and OvertakenError where another
        writer is at work, StateError where the output is not as this run left it.
        """
        attempts_max = self._settings.retry_attempts_max + 1
        for attempt in range(1, attempts_max + 1):
            try:
                if self._is_unsettled:
                    self._stager.reset()
                    self._recover_held()
                self._is_unsettled = True
                report = self._try_step(attempt)
                self._is_unsettled = False
                return report
            except RETRYABLE as error:
                stopping = attempt > 1 and self._stop.is_set()
                if attempt == attempts_max or stopping:
                    raise _gave_up(error, attempt, self._writer.storage.uri, stopping=stopping) from error
                wait_seconds = self._retry_seconds(attempt)
                self._observer.waiting_to_retry(error, attempt, attempts_max, wait_seconds)
                self._clock.wait(self._stop, wait_seconds)
        raise AssertionError("the last attempt returns or raises")

    def _try_step(self, attempt: int) -> StepReport | None:
        begin = self._clock.monotonic_seconds()
        if self._is_anchor_due:
            self._keep_anchor()
        work = self._next_work()
        if work is None:
            if attempt > 1:  # what seemed to have failed is done after all
                self._settle()
            return None
        ledger, window, tables = work
        following = self._following(ledger, window, tables)
        request = Request(ledger.slice, window, tables)
        staged = self._stager.stage(request, following, self._observer.generated)
        staged.check()
        staged_seconds = self._clock.monotonic_seconds()
        reports: list[CommitReport] = []
        try:
            for report in ledger.commit(ledger.commits(staged, tables)):
                reports.append(report)
                self._observer.committed(report)
        except OvertakenError as error:
            if ledger.assignment.is_own:
                raise
            self._leave(ledger)
            raise CommitConflictError(error.problem, hint=error.hint) from error
        is_news = ledger.done(window, tables)
        commit_seconds = self._clock.monotonic_seconds() - staged_seconds
        self._settle()
        total_seconds = self._clock.monotonic_seconds() - begin
        status = self.status()
        step = StepReport(
            slice=ledger.slice,
            window=window,
            tables=tables,
            rows=staged.rows,
            commits=tuple(reports),
            stage_seconds={**staged.stage_seconds, "commit": commit_seconds, "total": total_seconds},
            attempts=attempt,
            ends_batch=is_news and self._ends_batch(window.end, ledger),
            lag_seconds=status.lag_seconds,
            debt_rows=status.debt_rows,
        )
        self._observer.stepped(step, status)
        return step

    def _settle(self) -> None:
        self._finish_partitions()
        self._refresh_status(stepped=True)

    # What is due

    def _next_work(self) -> tuple[Ledger, Window, tuple[str, ...]] | None:
        """A ledger and what it does next, which is sealed; None where nothing is due."""
        while True:
            work = self._due_work()
            if work is None or work[1].end <= self._journal.sealed_slot:
                return work
            self._journal.seal(self._seal_ahead(work[1].end))
            self._keep_anchor()
            self._follow_journal()  # others may have put other inputs in force just before

    def _due_work(self) -> tuple[Ledger, Window, tuple[str, ...]] | None:
        """The first assignment, in order of time, in which something is due. What older shards still hold is left to
        them for now.
        """
        taken = [ledger for ledger in self._ledgers if self._is_taken(ledger) or self._take_over(ledger)]
        unfinished = [ledger for ledger in taken if not ledger.is_done]
        for slice in self._holds.keys() - {ledger.slice for ledger in unfinished} - {self._settings.slice}:
            self._holds.pop(slice).close()  # done with: others may want it
        if not unfinished:
            in_force = layouts(self._journal.epochs)[-1]
            raise OvertakenError(
                f"slice {self._settings.slice} is done: from {text_of(in_force.first)} on"
                f" {in_force.shard_count} shards are in force",
                hint="start with the shard.count that is in force; with another, and a higher revision, to change it",
            )
        for ledger in unfinished:
            window, tables = ledger.next_work()
            due = self._cut(window, tables, ledger.slice)
            if due is not None:
                return ledger, due, tables
        return None

    def _take_over(self, ledger: Ledger) -> bool:
        if self._clock.monotonic_seconds() < self._left_until_seconds.get(ledger.slice, -math.inf):
            return False
        if ledger.slice not in self._holds:
            try:
                self._hold(ledger.slice)
            except SliceLockedError:
                return False
        return self._recover(ledger)

    def _hold(self, slice: Slice) -> None:
        hold = self._stack.enter_context(ExitStack())
        hold.enter_context(self._writer.hold(slice))
        self._holds[slice] = hold

    def _recover_held(self) -> None:
        """Recover what is ours to touch: an old slice that was done may be at work again, in other hands."""
        for ledger in self._ledgers:
            if ledger.is_open and ledger.slice in self._holds:
                self._recover(ledger)

    def _recover(self, ledger: Ledger) -> bool:
        """Whether it is ours to bring, as it still or now is."""
        try:
            for report in ledger.recover():
                self._observer.committed(report)
        except OvertakenError:
            if ledger.assignment.is_own:
                raise
            self._leave(ledger)
            return False
        return True

    def _leave(self, ledger: Ledger) -> None:
        """Let others have an older slice for a while: where storage has no locks, its shard may still be at work."""
        ledger.is_open = False
        self._left_until_seconds[ledger.slice] = self._clock.monotonic_seconds() + LEAVE_SECONDS
        self._holds.pop(ledger.slice).close()

    def _is_taken(self, ledger: Ledger) -> bool:
        """Whether its work is ours; an old slice that was done may have work again, where a table joins."""
        return ledger.is_open and (ledger.is_done or ledger.slice in self._holds)

    def _cut(self, window: Window, tables: tuple[str, ...], slice: Slice) -> Window | None:
        """The part of a window to do now: ended slots only, whole batches, no more rows than allowed."""
        batch, rows_max = self._settings.batch_seconds, self._settings.batch_rows_max
        hard_end = min(window.end, self._until)
        if hard_end <= window.first:
            return None
        end = min((window.first // batch + 1) * batch, hard_end)
        if self._time is not None:
            due = int(self._time.now())
            if end > due:
                return None
            end = min(max(end, due // batch * batch), hard_end)  # behind: all whole batches that are due, in one
        seconds = end - window.first
        while seconds > 1:
            expected = self._generator.expected_rows(Window(window.first, window.first + seconds))
            rows = sum(expected[table] for table in tables) / slice.count
            if rows <= rows_max:
                break
            seconds = max(1, min(seconds - 1, math.floor(seconds * rows_max / rows)))
            if seconds > batch:
                seconds = (window.first + seconds) // batch * batch - window.first
        return Window(window.first, window.first + seconds)

    def _following(self, ledger: Ledger, window: Window, tables: tuple[str, ...]) -> Iterator[Window]:
        """The windows that will come after this one, as far as that is known: they may be staged ahead."""
        end = ledger.assignment.end
        while window.end < end and tables == tables_at(self._journal.epochs, window.end):
            cut = self._cut(Window(window.end, end), tables, ledger.slice)
            if cut is None or cut.end > self._journal.sealed_slot:
                return
            window = cut
            yield window

    def _ends_batch(self, end: int, ledger: Ledger) -> bool:
        return end % self._settings.batch_seconds == 0 or end in (self._until, ledger.assignment.end)

    def _seal_ahead(self, end: int) -> int:
        seconds = self._settings.batch_seconds * SEAL_AHEAD_BATCHES
        if self._time is not None:
            seconds = max(seconds, math.ceil(self._time.speed * SEAL_AHEAD_SECONDS))
        else:  # at speed max by a share of what is there: the journal grows with its logarithm
            seconds = max(seconds, (end - self._journal.origin_slot) // SEAL_AHEAD_SHARE)
        return max(end, min(end + seconds, self._until))

    # Opening, following, telling

    def _open(self) -> None:
        settings = self._settings
        self._stack.callback(self._writer.close)
        self._stack.callback(self._stager.close)
        self._writer.check()
        self._take_own()
        self._journal, self._generator = open_journal(
            self._generator, self._writer, settings, self._clock, self._until, self._observer
        )
        self._follow_journal()
        self._last_step_wall_seconds: float | None = None
        for ledger in self._ledgers:
            self._take_over(ledger)
        furthest = self._furthest_slot()
        if settings.speed is not None:
            self._time = start_time(self._writer, settings, self._clock, settings.speed, furthest)
            self._keep_anchor()
        self._finish_partitions()  # the last run may have ended just before
        self._refresh_status()
        self._observer.started(self.status())

    def _follow_journal(self) -> None:
        """Take over the inputs in force: the rows that follow from them, and what this shard has to bring how far."""
        epochs = self._journal.epochs
        if epochs != self._generator.epochs:
            self._generator = self._generator.rebuilt(self._journal.origin_slot, epochs)
            self._curve = None
        open_tables(self._generator, self._writer, self._journal.run_id, self._journal.tables())
        self._stager.follow(self._generator)
        known = {(ledger.slice, ledger.assignment.first): ledger for ledger in self._ledgers}
        self._ledgers = [
            known.get((assignment.slice, assignment.first)) or Ledger(self._writer, self._progress[assignment.slice])
            for assignment in assignments(epochs, self._settings.slice)
        ]
        for ledger, assignment in zip(self._ledgers, assignments(epochs, self._settings.slice), strict=True):
            ledger.follow(assignment, epochs)

    def _furthest_slot(self) -> int:
        """Nothing from it on is done, by any shard: up to here time has passed. Raises DamagedStateError where the
        journal doesn't know of it.
        """
        progress = {
            table: {slice: stands.slot for slice, stands in self._writer.progress(table).items()}
            for table in self._journal.tables()
        }
        if self._journal.refresh():  # whoever got further has sealed it before
            self._follow_journal()
        self._journal.check_progress(progress)
        return max([self._journal.origin_slot, *(slot for slots in progress.values() for slot in slots.values())])

    def _keep_anchor(self) -> None:
        if self._time is not None:
            store_anchor(self._writer.storage, self._time.anchor())
        self._is_anchor_due = False

    def _finish_partitions(self) -> None:
        """Let readers know which partitions are complete, once all slices and tables have passed their end."""
        spec, journal = self._writer.options.partition, self._journal
        reached = self._reached_slot()
        if not self._writer.marks_partitions or spec.start(reached) <= self._finished_edge:
            return
        begin = self._clock.monotonic_seconds()
        try:
            progress = {
                table: {slice: stands.slot for slice, stands in self._writer.progress(table).items()}
                for table in journal.tables()
            }
            complete = complete_slot(journal.epochs, progress)
            self._writer.finish_partitions(journal.tables(), journal.origin_slot, complete)
        except EmitterError:
            self._observer.maintenance_failed("finish_partitions")
            raise
        self._finished_edge = spec.start(complete)
        self._observer.maintained("finish_partitions", self._clock.monotonic_seconds() - begin)

    def _reached_slot(self) -> int:
        """Everything that falls to this shard before it is done."""
        taken = [ledger for ledger in self._ledgers if self._is_taken(ledger)]
        done = taken[-1].assignment.end if taken else self._journal.sealed_slot
        return min((ledger.reached_slot for ledger in taken if not ledger.is_done), default=done)

    def _refresh_status(self, *, stepped: bool = False) -> None:
        reached = self._reached_slot()
        settings, journal = self._settings, self._journal
        inputs = journal.inputs_at(reached)
        expected = self._generator.expected_rows(Window(reached + 1, reached + 1 + _RATE_WINDOW_SECONDS))
        if self._curve is None or not 0 <= reached - self._curve.first_slot < DAY_SECONDS:
            self._curve = day_curve(self._generator, reached)
        if stepped:
            self._last_step_wall_seconds = self._clock.wall_seconds()
        self._status = DaemonStatus(
            run_id=journal.run_id,
            domain=self._generator.name,
            slice=settings.slice,
            tables=inputs.tables,
            reached_slot=reached,
            simulated_slot=float(reached),
            lag_seconds=0.0,
            debt_rows=0.0,
            rows_per_second={
                table: expected[table] / _RATE_WINDOW_SECONDS / inputs.shard_count for table in inputs.tables
            },
            speed=settings.speed,
            batch_seconds=settings.batch_seconds,
            last_step_wall_seconds=self._last_step_wall_seconds,
            output_uri=self._writer.storage.uri,
            format=self._writer.format_name,
            curve=self._curve,
            written=self._written(),
        )

    def _written(self) -> dict[str, TableProgress]:
        """By table what this shard has in it, older slices that fell to it included."""
        found: dict[str, TableProgress] = {}
        for progress in self._progress.values():
            for table, now in progress.items():
                if now is not None:
                    before = found.get(table, TableProgress(0))
                    rows, files, size = before.rows + now.rows, before.files + now.files, before.bytes + now.bytes
                    found[table] = TableProgress(max(before.slot, now.slot), rows, files, size)
        return found

    def _retry_seconds(self, attempt: int) -> float:
        """Twice as long each time, up to the limit, less a part of it that differs from shard to shard."""
        longest = min(self._settings.retry_wait_seconds_max, _FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, 20))
        word = Stream(self._generator.seed, "retry").word(self._settings.slice.index << 32 | attempt)
        return longest * (0.5 + 0.5 * (word >> 11) / 2**53)


def _gave_up(
    error: StorageError | CommitConflictError | CommitUnknownError, attempts: int, uri: str, *, stopping: bool
) -> StorageGaveUpError:
    operation, path = (error.operation, error.path) if isinstance(error, StorageError) else ("commit to", uri)
    cause = error.cause if isinstance(error, StorageError) else error.problem
    why = f"{cause}, and a stop was asked for" if stopping else cause
    return StorageGaveUpError(operation, path, why, attempts=attempts, hint=error.hint)
