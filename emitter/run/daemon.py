"""Where clock, generator, encoder and writer meet. `step` does one piece of what is due.

Nothing is remembered that the tables and the journal don't say: a step looks for the tables that are furthest behind,
makes their rows again from there, and commits them. So recovery, catching up, history and live are one path. What falls
to the shard is said by its duties, what of that is due by its agenda, and where it stands by its standing.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from emitter.clock import SLOT_END, Clock
from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    OvertakenError,
    StorageError,
    StorageGaveUpError,
)
from emitter.generators.base import GeneratorBase
from emitter.model import CommitReport, Slice, StepReport
from emitter.randomness import Stream
from emitter.run.agenda import Agenda
from emitter.run.completion import Completion
from emitter.run.duties import Duties
from emitter.run.entries import RUN_FOLDER
from emitter.run.lease import Lease
from emitter.run.opening import Settings, open_journal, start_time
from emitter.run.pipeline import LocalStager, Request, Stager
from emitter.run.standing import Standing
from emitter.watch.observer import DaemonStatus, Observer
from emitter.writers.base import TableWriter

RETRYABLE = (StorageError, CommitConflictError, CommitUnknownError)
_FIRST_RETRY_SECONDS = 0.25


class Daemon:
    """One shard of a run. Use it as a context manager: entering takes the slice's lock and recovers.

    `step` and `change` belong to one thread; `status` and `request_stop` may be called from any. `until_slot` is where
    it ends; `stager` (default: one for this process) is closed with the daemon.
    """

    _agenda: Agenda
    _standing: Standing

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
        self._duties = Duties(writer, settings.slice, clock, self._observer)
        self._completion = Completion(writer, clock, self._observer)
        self._lease = None if writer.storage.has_locks else Lease(writer.storage, settings.slice, clock)
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._is_unsettled = False  # a step has failed, and nobody knows yet what became of it

    def take(self, *, by_force: bool = False, patiently: bool = True) -> bool:
        """Take the slice's lock ahead of entering, if the run has begun at all; writes nothing where it has not. Raises
        SliceLockedError. Only to be followed by entering, or by the end of the process.

        Where storage has no locks: whether the slice may be taken, by entering. False while another process writes it,
        or may: ask again every `LOOK_SECONDS`. Not `patiently`, SliceLockedError is raised once the other was seen to.
        """
        if self._lease and not by_force and not self._lease.is_free():
            if not patiently:
                self._lease.check_still()
            return False
        if self._writer.storage.list(RUN_FOLDER):
            self._duties.hold_own()
        return True

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
                self._duties.recover()
                self._agenda.keep_anchor()
                with suppress(StorageError):  # it is counted, and all is committed: the next start marks them
                    self._completion.mark(self._agenda.journal, self._agenda.reached_slot, at_last=True)

    def _open(self) -> None:
        self._stack.callback(self._writer.close)
        if self._lease:
            self._stack.callback(self._lease.let_go)
        self._stack.callback(self._duties.close)
        self._stack.callback(self._stager.close)  # first of all: nobody writes any more when the slices are let go
        self._writer.check()
        self._duties.hold_own()
        settings, clock = self._settings, self._clock
        journal, generator = open_journal(self._generator, self._writer, settings, clock, self._until, self._observer)
        if self._lease:
            self._lease.take()
        self._agenda = Agenda(self._duties, self._writer, journal, generator, settings, self._until)
        self._duties.take()
        furthest = self._agenda.furthest_slot()
        if settings.speed is not None:
            self._agenda.time = start_time(self._writer, settings, clock, settings.speed, furthest)
            self._agenda.keep_anchor()
        self._mark_partitions()  # the last run may have ended just before
        self._standing = Standing(self._agenda, self._duties, self._writer, clock)
        self._observer.started(self.status())

    @property
    def slice(self) -> Slice:
        """Which shard it is."""
        return self._settings.slice

    @property
    def finished(self) -> bool:
        """Whether everything up to the end that was asked for is done."""
        return self.status().reached_slot >= self._until

    def left_to_others(self) -> dict[Slice, int]:
        """What older shard counts have left, falls to this shard, and is in the hands of others: the slices that lack
        rows before the end that was asked for, and the slot of the first of each.
        """
        return self._agenda.left_to_others()

    def request_stop(self) -> None:
        """Let a wait for another attempt end. A step under way finishes."""
        self._stop.set()

    def seconds_until_due(self) -> float:
        """Real seconds until `step` has something to do; 0 if it has."""
        return 0.0 if self.finished else self._agenda.seconds_until_due()

    def status(self) -> DaemonStatus:
        """Where the daemon stands now."""
        return self._standing.now()

    def change(
        self, *, speed: float | None, batch_seconds: int, batch_rows_max: int, compression: str, file_rows_target: int
    ) -> None:
        """Go on at another speed (None for max stays None), with other batches and other files."""
        self._agenda.change(speed=speed, batch_seconds=batch_seconds, batch_rows_max=batch_rows_max)
        self._writer.options = replace(self._writer.options, compression=compression, file_rows_target=file_rows_target)
        self._standing.refresh()

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
                    self._duties.recover()
                self._is_unsettled = True
                report = self._try_step(attempt)
                self._is_unsettled = False
                return report
            except RETRYABLE as error:
                stopping = attempt > 1 and self._stop.is_set()
                if attempt == attempts_max or stopping:
                    self._check_there()
                    raise _gave_up(error, attempt, self._writer.storage.uri, stopping=stopping) from error
                wait_seconds = self._retry_seconds(attempt)
                self._observer.waiting_to_retry(error, attempt, attempts_max, wait_seconds)
                self._clock.wait(self._stop, wait_seconds)
            except OvertakenError:
                self._check_there()
                raise
        raise AssertionError("the last attempt returns or raises")

    def _check_there(self) -> None:
        """Who removes an output is no other writer, and no storage that fails."""
        self._agenda.journal.check_there(self._agenda.reached_slot)

    def _try_step(self, attempt: int) -> StepReport | None:
        begin = self._clock.monotonic_seconds()
        if self._lease:
            self._lease.beat()
        work = self._agenda.next_work()
        if work is None:
            if attempt > 1:  # what seemed to have failed is done after all
                self._settle()
            else:
                self._mark_partitions()  # others may have come so far meanwhile
            return None
        ledger, window, tables = work
        self._completion.take_back(self._agenda.journal)
        following = self._agenda.following(ledger, window, tables)
        self._stager.follow(self._agenda.generator)
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
            if not ledger.assignment.is_own:
                self._duties.leave(ledger)
            elif self._lease is None or not self._lease.is_ours():
                raise  # else the other does not know yet that it has lost the slice
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
            ends_batch=is_news and self._agenda.ends_batch(window, ledger),
            lag_seconds=status.lag_seconds,
            debt_rows=status.debt_rows,
        )
        self._observer.stepped(step, status)
        return step

    def _settle(self) -> None:
        self._mark_partitions()
        self._standing.stepped()

    def _mark_partitions(self) -> None:
        self._completion.mark(self._agenda.journal, self._agenda.reached_slot)

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
