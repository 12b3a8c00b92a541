"""How far each table of one slice is: what the table itself says, and beyond it the slots known to hold no row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emitter.clock import SLOT_END, text_of
from emitter.errors import OvertakenError
from emitter.model import LANDED, CommitReport, Epoch, Slice, TableCommit, TableProgress, Window
from emitter.run.pipeline import StagedBatch
from emitter.run.plan import Assignment, next_edge, table_ends
from emitter.writers.base import TableWriter


class Ledger:
    """One assignment of a shard: `follow` it, then `recover` before anything else, after every failed commit, and
    whenever others may have moved the slice meanwhile.

    It spans all stretches of its slice, as there is one progress for all of them: two ledgers of one slice could keep
    different ideas of what is done.
    """

    assignment: Assignment

    def __init__(self, writer: TableWriter) -> None:
        self._writer = writer
        self._progress: dict[str, TableProgress | None] = {}  # what the tables say
        self._epochs: Sequence[Epoch] = ()
        self._ends: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._looked_through: set[str] = set()
        self._told_slot = 0  # up to where it has been said that all is done, or was when it was opened
        self.is_open = False

    def follow(self, assignment: Assignment, epochs: Sequence[Epoch]) -> bool:
        """Take over the inputs in force and the bounds that follow from them. Whether an open ledger has to recover
        before it goes on: it does not know yet where a table stands that has just joined, and may have before.
        """
        self.assignment, self._epochs = assignment, epochs
        self._ends = table_ends(epochs)
        has_joined = not self._ends.keys() <= self._done.keys()
        for table in self._ends:
            self._done.setdefault(table, assignment.first)
            self._progress.setdefault(table, None)
        return has_joined and self.is_open

    def recover(self) -> Iterator[CommitReport]:
        """Have the tables finish or undo what was interrupted, and read where they stand. A report for each commit that
        seemed to have failed and is done after all.
        """
        for table, done in self._done.items():
            known, progress = self._progress[table], self._writer.recover(self.slice, table)
            if known and (progress is None or progress.slot < known.slot):  # its rows are gone: going on leaves a hole
                raise _taken_back(self.slice, table, known, progress)
            self._progress[table] = progress
            self._done[table] = max(done, progress.slot if progress else 0)
            if table not in self._looked_through:
                self._look_through(table)
            if self.is_open and progress and progress != known:
                yield _landed(table, known or TableProgress(0), progress)
        if not self.is_open:
            self.is_open, self._told_slot = True, self.furthest_slot

    def _look_through(self, table: str) -> None:
        """See that a table doesn't hold already what is to be made of it. Once: from then on its progress is known."""
        progress = self._progress[table]
        begin = self.assignment.next_slot(progress.slot if progress else self.assignment.first)
        if begin < self._ends.get(table, 0):
            self._writer.check_not_set_back(self.slice, table, progress, begin)
        self._looked_through.add(table)

    @property
    def slice(self) -> Slice:
        return self.assignment.slice

    @property
    def reached_slot(self) -> int:
        """Everything before it is done, in every table."""
        return min(*self._reached().values(), self.assignment.end)

    @property
    def furthest_slot(self) -> int:
        """Nothing from it on is done, in any table."""
        return min(max(self._done.values()), self.assignment.end)

    @property
    def lags_seconds(self) -> dict[str, int]:
        """By table, how much simulated time it is behind the furthest one."""
        furthest = self.furthest_slot
        return {table: max(0, furthest - slot) for table, slot in self._reached().items()}

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.reached_slot >= self.assignment.end

    @property
    def stretch(self) -> Window:
        """The stretch that its next work is in. Only while it is not done."""
        return self.assignment.stretch_at(self.reached_slot)

    @property
    def written(self) -> dict[str, TableProgress]:
        """What the tables say of the slice, by table, where they say anything."""
        return {table: progress for table, progress in self._progress.items() if progress}

    def next_work(self) -> tuple[Window, tuple[str, ...]]:
        """The tables that are furthest behind, and the slots up to where the next ones stand, or other inputs come into
        force, or the assignment ends. Only while it is not done.
        """
        reached, first = self._reached(), self.reached_slot
        behind = tuple(table for table in self._ends if reached[table] == first)
        others = [slot for slot in reached.values() if slot > first]
        return Window(first, min([*others, next_edge(self._epochs, first), self.stretch.end])), behind

    def commits(self, batch: StagedBatch, tables: Sequence[str]) -> list[TableCommit]:
        """What to commit for a staged batch of these tables, parents first; but those without rows after all others, as
        the names of a batch's files tell where it began to whoever looks while it is under way.

        A table without rows commits nothing and its progress lags behind; but where readers are told of complete
        partitions, it follows at every partition's edge, where other inputs come into force (it may not be among the
        tables from there on), and where a stretch ends.
        """
        end = batch.window.end
        ends_here = end in (next_edge(self._epochs, end - 1), self.assignment.stretch_at(batch.window.first).end)
        edge = end if ends_here else self._writer.options.spec.start(end)
        found = []
        for table in tables:
            files, progress = tuple(batch.files.get(table, ())), self._progress[table]
            at_edge = self._writer.marks_partitions and (progress.slot if progress else self.assignment.first) < edge
            if files or at_edge:
                found.append(TableCommit(table, progress.slot if progress else None, end, files))
        return sorted(found, key=lambda commit: not commit.files)

    def commit(self, commits: Sequence[TableCommit]) -> Iterator[CommitReport]:
        """Commit, and note each table as it is durable. Reports of failed attempts are among what is given."""
        for report in self._writer.commit(self.slice, commits) if commits else ():
            if report.outcome not in LANDED:
                yield report
                continue
            before = self._progress[report.table] or TableProgress(report.slot)
            self._progress[report.table] = TableProgress(
                report.slot, before.rows + report.rows, before.files + report.files, before.bytes + report.bytes
            )
            self._done[report.table] = report.slot
            yield report

    def done(self, window: Window, tables: Sequence[str]) -> bool:
        """Note that these tables have done a window, also those that had no rows in it. Whether that is news, and not
        only some tables catching up with where others had been at the start.
        """
        for table in tables:
            self._done[table] = max(window.end, self._done[table])
        before, self._told_slot = self._told_slot, max(window.end, self._told_slot)
        return window.end > before

    def _reached(self) -> dict[str, int]:
        """By table, where its work goes on: the first slot beyond what is done that is in a stretch; `SLOT_END` where
        the table has no more rows.
        """
        reached = {}
        for table, done in self._done.items():
            slot = self.assignment.next_slot(done)
            reached[table] = slot if slot < self._ends.get(table, 0) else SLOT_END
        return reached


def _landed(table: str, before: TableProgress, now: TableProgress) -> CommitReport:
    rows, files, size = now.rows - before.rows, now.files - before.files, now.bytes - before.bytes
    return CommitReport(table, "deduplicated", now.slot, rows, files, size, seconds=0.0, table_files=now.files)


def _taken_back(slice: Slice, table: str, known: TableProgress, progress: TableProgress | None) -> OvertakenError:
    now = f"was set back to {text_of(progress.slot)}" if progress else "is gone"
    return OvertakenError(
        f"the progress of slice {slice} of {table} {now}; it was at {text_of(known.slot)} when this process wrote it",
        hint="somebody removed the table or set it back: restore it, or use another output.uri; then start again",
    )
