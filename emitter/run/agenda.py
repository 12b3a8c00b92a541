"""What a shard does next: of its duties the first piece that is due, cut to whole batches, and sealed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from emitter.clock import SLOT_END, SimulatedTime
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, Window
from emitter.run.anchor import store_anchor
from emitter.run.duties import Duties
from emitter.run.journal import Journal
from emitter.run.lacking import first_lacking
from emitter.run.ledger import Ledger
from emitter.run.opening import Settings, open_tables
from emitter.run.plan import tables_at
from emitter.writers.base import TableWriter

SEAL_AHEAD_SECONDS = 600  # of real time: how long a change of inputs may have to wait, and how seldom seals are written
SEAL_AHEAD_SLOTS_MAX = 3600  # of simulated time, as the speed may fall to 1; but so many batches in any case:
SEAL_AHEAD_BATCHES = 9
SEAL_AHEAD_SHARE = 20  # at speed max: a twentieth of the time since the origin


class Agenda:
    """What is due by the journal, the clock and the settings.

    `generator` follows the inputs in force; `time` is None at speed max, and until the run has begun. A new speed
    (`change`) makes another anchor, which is stored with the next piece of work.
    """

    def __init__(
        self,
        duties: Duties,
        writer: TableWriter,
        journal: Journal,
        generator: GeneratorBase,
        settings: Settings,
        until_slot: int = SLOT_END,
    ) -> None:
        self.journal, self.generator, self.settings = journal, generator, settings
        self.time: SimulatedTime | None = None
        self._duties, self._writer, self._until = duties, writer, until_slot
        self._is_anchor_due = False
        self.follow()

    def follow(self) -> None:
        """Take over the inputs in force: the rows that follow from them, and what this shard has to bring how far."""
        epochs = self.journal.epochs
        if epochs != self.generator.epochs:
            self.generator = self.generator.rebuilt(self.journal.origin_slot, epochs)
        open_tables(self.generator, self._writer, self.journal.run_id, self.journal.tables())
        self._duties.follow(epochs)

    def change(self, *, speed: float | None, batch_seconds: int, batch_rows_max: int) -> None:
        """Go on at another speed (None for max stays None), with other batches."""
        if self.time is not None and speed is not None and speed != self.time.speed:
            self.time.change_speed(speed)
            self._is_anchor_due = True  # by the next step, which knows how to go on where storage fails
        self.settings = replace(self.settings, speed=speed, batch_seconds=batch_seconds, batch_rows_max=batch_rows_max)

    def keep_anchor(self) -> None:
        """Store where simulated time stands, for the next start."""
        if self.time is not None:
            store_anchor(self._writer.storage, self.time.anchor())
        self._is_anchor_due = False

    @property
    def reached_slot(self) -> int:
        """Everything before it that falls to this shard is done."""
        return self._duties.reached_slot(self.journal.sealed_slot)

    def furthest_slot(self) -> int:
        """Nothing from it on is done, by any shard: up to here time has passed. Raises DamagedStateError where the
        journal doesn't know of it.
        """
        progress = self._writer.slots(self.journal.tables())
        if self.journal.refresh():  # whoever got further has sealed it before
            self.follow()
        self.journal.check_progress(progress)
        return max([self.journal.origin_slot, *(slot for slots in progress.values() for slot in slots.values())])

    def left_to_others(self) -> dict[Slice, int]:
        """The slices that fall to this shard, that others hold, and that lack rows; the slot of the first of each."""
        untaken = self._duties.untaken()
        if not untaken:
            return {}
        slots = self._writer.slots(self.journal.tables())
        lacking = first_lacking(self.generator, slots, self._until).values()
        found = {slice: [each[slice] for each in lacking if slice in each] for slice in untaken}
        return {slice: min(first) for slice, first in found.items() if first}

    def next_work(self) -> tuple[Ledger, Window, tuple[str, ...]] | None:
        """A ledger and what it does next, which is sealed; None where nothing is due."""
        if self._is_anchor_due:
            self.keep_anchor()
        while True:
            work = self._due_work()
            if work is None or work[1].end <= self.journal.sealed_slot:
                return work
            self.journal.seal(self._seal_ahead(work[1]))
            self.keep_anchor()
            if self.journal.epochs != self.generator.epochs:  # others have put other inputs in force just before
                self.follow()

    def following(self, ledger: Ledger, window: Window, tables: tuple[str, ...]) -> Iterator[Window]:
        """The windows that will come after this one, as far as that is known: they may be staged ahead."""
        end = ledger.assignment.stretch_at(window.first).end
        while window.end < end and tables == tables_at(self.journal.epochs, window.end):
            cut = self._cut(Window(window.end, end), tables, ledger)
            if cut is None or cut.end > self.journal.sealed_slot:
                return
            window = cut
            yield window

    def ends_batch(self, window: Window, ledger: Ledger) -> bool:
        """Whether a window is the last one of its batch."""
        ends = (self._batch_end(window.end - 1), self._until, ledger.assignment.stretch_at(window.first).end)
        return window.end in ends

    def seconds_until_due(self) -> float:
        """Real seconds until there is work; 0 where there is, as far as this shard knows."""
        if self.time is None:
            return 0.0
        return self.time.seconds_until(min(self._batch_end(self.reached_slot), self._until))

    def _due_work(self) -> tuple[Ledger, Window, tuple[str, ...]] | None:
        """The first duty, in order of time, in which something is due."""
        for ledger in self._duties.unfinished():
            window, tables = ledger.next_work()
            due = self._cut(window, tables, ledger)
            if due is not None:
                return ledger, due, tables
        return None

    def _cut(self, window: Window, tables: tuple[str, ...], ledger: Ledger) -> Window | None:
        """The part of a window to do now: ended slots only, whole batches, no more rows than allowed.

        What is behind is done in one: behind the clock, or at speed max behind other tables. For a table that had no
        rows lately, all batches since its last ones are looked through again at a start.
        """
        batch, rows_max = self.settings.batch_seconds, self.settings.batch_rows_max
        hard_end = min(window.end, self._until)
        if hard_end <= window.first:
            return None
        end = min(self._batch_end(window.first), hard_end)
        due = ledger.furthest_slot if self.time is None else int(self.time.now())
        if self.time is not None and end > due:
            return None
        end = min(max(end, due // batch * batch), hard_end)
        seconds = end - window.first
        while seconds > 1:
            expected = self.generator.expected_rows(Window(window.first, window.first + seconds))
            rows = sum(expected[table] for table in tables) / ledger.slice.count
            if rows <= rows_max:
                break
            seconds = max(1, min(seconds - 1, math.floor(seconds * rows_max / rows)))
            if seconds > batch:
                seconds = (window.first + seconds) // batch * batch - window.first
        return Window(window.first, window.first + seconds)

    def _batch_end(self, slot: int) -> int:
        """Where the batch ends that a slot is in. By the clock the origin's second is one by itself: who begins a run
        sees its tables at once, however long its batches are.
        """
        if self.time is not None and slot == self.journal.origin_slot:
            return slot + 1
        batch = self.settings.batch_seconds
        return (slot // batch + 1) * batch

    def _seal_ahead(self, window: Window) -> int:
        end, behind = window.end, 0
        if self.time is not None:
            slots = math.ceil(self.time.speed * SEAL_AHEAD_SECONDS)
            # Of what is due already, as much as may be staged ahead: a change has to wait for that anyway.
            behind = min(int(self.time.now()) - end, window.seconds * SEAL_AHEAD_BATCHES)
        else:  # at speed max by a share of what is there
            slots = (end - self.journal.origin_slot) // SEAL_AHEAD_SHARE
        slots = max(min(slots, SEAL_AHEAD_SLOTS_MAX), self.settings.batch_seconds * SEAL_AHEAD_BATCHES, behind)
        return max(end, min(end + slots, self._until))
