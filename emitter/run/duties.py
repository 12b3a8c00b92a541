"""The slices that fall to a shard, each held while it is the shard's to bring.

Its own slice is held from beginning to end. What an older shard count left behind falls to it as well, and to others:
whoever holds such a slice brings it, and lets it go when it is done or when somebody else moves it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack

from emitter.clock import Clock, text_of
from emitter.errors import OvertakenError, SliceLockedError
from emitter.model import Epoch, Slice, TableProgress
from emitter.run.ledger import Ledger
from emitter.run.plan import assignments, layouts
from emitter.watch.observer import Observer
from emitter.writers.base import TableWriter

LEAVE_SECONDS = 30  # for how long an older slice that others have moved is left to them


class Duties:
    """A ledger for each slice that falls to a shard: `follow` the inputs in force before anything else."""

    def __init__(self, writer: TableWriter, own: Slice, clock: Clock, observer: Observer) -> None:
        self._writer, self._own, self._clock, self._observer = writer, own, clock, observer
        self._ledgers: list[Ledger] = []
        self._epochs: Sequence[Epoch] = ()
        self._holds: dict[Slice, ExitStack] = {}
        self._left_until_seconds: dict[Slice, float] = {}

    def hold_own(self) -> None:
        """Take the lock of the shard's own slice, if it is not held yet. Raises SliceLockedError."""
        if self._own not in self._holds:
            self._hold(self._own)

    def close(self) -> None:
        """Let go of every slice."""
        with ExitStack() as stack:
            while self._holds:
                stack.push(self._holds.popitem()[1])

    def follow(self, epochs: Sequence[Epoch]) -> None:
        """Take over the inputs in force, and the assignments that follow from them."""
        self._epochs = epochs
        known = {ledger.slice: ledger for ledger in self._ledgers}
        wanted = assignments(epochs, self._own)
        self._ledgers = [known.get(assignment.slice) or Ledger(self._writer) for assignment in wanted]
        followed = zip(self._ledgers, wanted, strict=True)
        unread = [ledger for ledger, assignment in followed if ledger.follow(assignment, epochs)]
        for ledger in unread:
            if ledger.slice in self._holds:
                self._recover(ledger)

    def take(self) -> None:
        """Take and recover every slice that nobody else holds."""
        for ledger in self._ledgers:
            self._take_over(ledger)

    def unfinished(self) -> list[Ledger]:
        """In order of time, those in which something is left to do; what older shards still hold is left to them for
        now. None beyond the last id. Raises OvertakenError where another shard count has taken over for good.
        """
        taken = [ledger for ledger in self._ledgers if self._is_taken(ledger) or self._take_over(ledger)]
        unfinished = sorted((ledger for ledger in taken if not ledger.is_done), key=lambda ledger: ledger.stretch.first)
        for slice in self._holds.keys() - {ledger.slice for ledger in unfinished} - {self._own}:
            self._holds.pop(slice).close()  # done with: others may want it
        in_force = layouts(self._epochs)[-1]
        if unfinished or in_force.shard_count == self._own.count:
            return unfinished
        shards = "1 shard is" if in_force.shard_count == 1 else f"{in_force.shard_count} shards are"
        raise OvertakenError(
            f"slice {self._own} is done: from {text_of(in_force.first)} on {shards} in force",
            hint="start with the shard.count that is in force; with another, and a higher revision, to change it",
        )

    def recover(self) -> None:
        """Recover what is ours to touch: an old slice that was done may be at work again, in other hands."""
        for ledger in self._ledgers:
            if ledger.is_open and ledger.slice in self._holds:
                self._recover(ledger)

    def leave(self, ledger: Ledger) -> None:
        """Let others have an older slice for a while: where storage has no locks, its shard may still be at work."""
        ledger.is_open = False
        self._left_until_seconds[ledger.slice] = self._clock.monotonic_seconds() + LEAVE_SECONDS
        self._holds.pop(ledger.slice).close()

    def reached_slot(self, sealed_slot: int) -> int:
        """Everything before it that falls to this shard is done; `sealed_slot` where nothing does."""
        taken = [ledger for ledger in self._ledgers if self._is_taken(ledger)]
        done = max((ledger.assignment.end for ledger in taken), default=sealed_slot)
        return min((ledger.reached_slot for ledger in taken if not ledger.is_done), default=done)

    def untaken(self) -> list[Slice]:
        """The slices of older shard counts that fall to this shard, and that others hold or have moved."""
        return [ledger.slice for ledger in self._ledgers if not self._is_taken(ledger)]

    def lags_seconds(self) -> dict[str, int]:
        """By table, how much simulated time it is behind the furthest one of the same slice, at most."""
        found: dict[str, int] = {}
        for table, lag in (item for ledger in self._ledgers for item in ledger.lags_seconds.items()):
            found[table] = max(lag, found.get(table, 0))
        return found

    def written(self) -> dict[str, TableProgress]:
        """By table what this shard has in it, older slices that fell to it included."""
        found: dict[str, TableProgress] = {}
        for table, now in (item for ledger in self._ledgers for item in ledger.written.items()):
            before = found.get(table, TableProgress(0))
            rows, files, size = before.rows + now.rows, before.files + now.files, before.bytes + now.bytes
            found[table] = TableProgress(max(before.slot, now.slot), rows, files, size)
        return found

    def _is_taken(self, ledger: Ledger) -> bool:
        """Whether its work is ours; an old slice that was done may have work again, where a table joins."""
        return ledger.is_open and (ledger.is_done or ledger.slice in self._holds)

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
        hold = ExitStack()
        hold.enter_context(self._writer.hold(slice))
        self._holds[slice] = hold

    def _recover(self, ledger: Ledger) -> bool:
        """Whether it is ours to bring, as it still or now is."""
        try:
            for report in ledger.recover():
                self._observer.committed(report)
        except OvertakenError:
            if ledger.assignment.is_own:
                raise
            self.leave(ledger)
            return False
        return True
