"""What the daemon tells whoever watches it: metrics, logs, the live view.

The daemon knows only `Observer`. All methods are called from the thread that runs the daemon, between the
parts of a step: they must be quick, and an error in one ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emitter.errors import EmitterError
from emitter.model import (
    ChoreReport,
    CommitReport,
    RoundReport,
    Slice,
    StepReport,
    TableProgress,
    VerificationReport,
)

READY_SECONDS_MIN = 30.0
READY_BATCHES = 3


def ready_seconds(batch_seconds: float, speed: float | None) -> float:
    """Simulated time that a shard at work may be behind: three batches, or half a minute of real time."""
    return max(READY_BATCHES * batch_seconds, READY_SECONDS_MIN * (speed or 0.0))


@dataclass(frozen=True, slots=True)
class DayCurve:
    """What the rates ask for over a day (UTC): straight lines through `points`, from the origin on."""

    first_slot: int
    points: tuple[tuple[int, float], ...]  # (second of the day, rows per simulated second: all tables, this slice)


@dataclass(frozen=True, slots=True)
class InputsAhead:
    """Inputs that are in the journal and not yet in force: from when on, and what is other than before, a line each."""

    from_slot: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """Where a daemon stands at one moment. Holds no credentials."""

    run_id: str
    domain: str
    slice: Slice
    tables: tuple[str, ...]
    reached_slot: int  # everything before it is committed
    simulated_slot: float  # where simulated time stands; `reached_slot` at speed max
    lag_seconds: float  # simulated seconds that are due and not done
    debt_rows: float  # rows expected in these
    rows_per_second: Mapping[str, float]  # table -> target at `reached_slot`: this slice, per simulated second
    speed: float | None  # simulated seconds per real second; None: max
    batch_seconds: int  # simulated
    last_step_wall_seconds: float | None  # unix time when the last step finished; None: none yet
    output_uri: str
    format: str
    curve: DayCurve  # of the day that `reached_slot` is in
    written: Mapping[str, TableProgress]  # what this shard has in each table that it has anything in
    table_lag_seconds: Mapping[str, int]  # table -> simulated seconds behind the furthest table of the same slice
    left_to_others: tuple[str, ...]  # slices of older shard counts that fall to this shard, and that others hold
    ahead: tuple[InputsAhead, ...] = ()
    level_in_seconds: float | None = None  # real; until nothing is behind, at the pace of the last steps; None: unknown

    def seconds_until(self, slot: int) -> float | None:
        """Real seconds until simulated time is there; None at speed max, where nobody knows."""
        return max(0.0, (slot - self.simulated_slot) / self.speed) if self.speed else None


class Observer:
    """Watches a daemon. Every method does nothing here: override those of interest."""

    def outdated(self, revision: int | None, newest: int) -> None:
        """The journal knows a newer configuration, of that revision: its inputs hold, not those of this one."""

    def standing_by(self, slice: Slice) -> None:
        """Another process writes the slice, or was killed a moment ago: this one waits until it stands still."""

    def started(self, status: DaemonStatus) -> None:
        """The daemon holds its slice and has recovered; the first step comes next."""

    def generated(self, table: str, rows: int) -> None:
        """Rows were made and staged. They may be made again after a failed commit."""

    def committed(self, report: CommitReport) -> None:
        """An attempt to commit a table ended, in any outcome."""

    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        """A step finished: everything in its window is durable."""

    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        """Attempt number `attempt` failed; another follows after the wait."""

    def reloaded(self, applied: tuple[str, ...], refused: tuple[str, ...]) -> None:
        """The configuration was read again: the keys that took effect, and those that need a restart."""

    def maintained(self, report: ChoreReport) -> None:
        """A piece of upkeep ended, well or not. Where `finish_partitions` fails, the step that it belongs to fails with
        it, and is tried again; any other is left to the next round.
        """

    def round_ended(self, report: RoundReport) -> None:
        """A round of upkeep ended; its chores have been told of."""

    def verified(self, report: VerificationReport) -> None:
        """A scheduled verification ended, in any outcome."""

    def stopped(self, reason: str) -> None:
        """The daemon ends: `signal`, `batches`, `until`, or `error: ...`."""


class Tally(Observer):
    """Adds up by table what was committed, also where the reply was lost and only a second look told."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.files: dict[str, int] = {}
        self.bytes: dict[str, int] = {}

    def committed(self, report: CommitReport) -> None:
        self.rows[report.table] = self.rows.get(report.table, 0) + report.rows
        self.files[report.table] = self.files.get(report.table, 0) + report.files
        self.bytes[report.table] = self.bytes.get(report.table, 0) + report.bytes


class Observers(Observer):
    """Several observers as one. They are told in the order given."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        """Tell this one too, from now on."""
        self._observers.append(observer)

    def outdated(self, revision: int | None, newest: int) -> None:
        for observer in self._observers:
            observer.outdated(revision, newest)

    def standing_by(self, slice: Slice) -> None:
        for observer in self._observers:
            observer.standing_by(slice)

    def started(self, status: DaemonStatus) -> None:
        for observer in self._observers:
            observer.started(status)

    def generated(self, table: str, rows: int) -> None:
        for observer in self._observers:
            observer.generated(table, rows)

    def committed(self, report: CommitReport) -> None:
        for observer in self._observers:
            observer.committed(report)

    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        for observer in self._observers:
            observer.stepped(report, status)

    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        for observer in self._observers:
            observer.waiting_to_retry(error, attempt, attempts_max, wait_seconds)

    def reloaded(self, applied: tuple[str, ...], refused: tuple[str, ...]) -> None:
        for observer in self._observers:
            observer.reloaded(applied, refused)

    def maintained(self, report: ChoreReport) -> None:
        for observer in self._observers:
            observer.maintained(report)

    def round_ended(self, report: RoundReport) -> None:
        for observer in self._observers:
            observer.round_ended(report)

    def verified(self, report: VerificationReport) -> None:
        for observer in self._observers:
            observer.verified(report)

    def stopped(self, reason: str) -> None:
        for observer in self._observers:
            observer.stopped(reason)
