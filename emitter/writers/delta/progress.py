"""What a Delta table says of its slices, in the application transactions of its log.

    emitter:<run>:<table>:0-of-2            the slot up to which slice 0 of 2 is complete
    emitter:<run>:<table>:0-of-2:rows       what is in the table of it, in all: also :files and :bytes
    emitter:<run>:<table>:counts            the shard count that was seen last
    emitter:<run>:<table>:counts:2          the one that was seen before 2, or 0

An application transaction is a name with a number. A log keeps the newest number of each name for as long as the table
lives, through checkpoints and clean-ups, but it can only be asked for a name that is known: so the shard counts are a
chain, to which the first commit of a new count adds a link. Two commits that would add at the same time conflict, like
any two that move the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from emitter.errors import DamagedStateError
from emitter.model import Slice, TableProgress
from emitter.writers.delta.history import ReadCommit

_TOTALS = ("rows", "files", "bytes")
_RECENT_COMMITS = 16  # where a name is looked for first

Lookup = Callable[[str], int | None]
"""The number of an application transaction; None where there is none of the name."""


class DeltaProgress:
    """The progress of a run's table as of one version of it. `lookup` gives the number of a name there."""

    def __init__(self, run_id: str, table: str, lookup: Lookup) -> None:
        self._names = names_of(run_id, table)
        self._lookup = lookup

    def slot(self, slice: Slice) -> int | None:
        return self._lookup(f"{self._names}{slice}")

    def of(self, slice: Slice) -> TableProgress | None:
        slot = self.slot(slice)
        if slot is None:
            return None
        return TableProgress(slot, *(self._lookup(f"{self._names}{slice}:{total}") or 0 for total in _TOTALS))

    def all(self) -> dict[Slice, TableProgress]:
        slices = [Slice(index, count) for count in self._counts() for index in range(count)]
        known = {slice: self.of(slice) for slice in slices}
        return {slice: progress for slice, progress in known.items() if progress}

    def moves(self, slice: Slice, before: TableProgress | None, after: TableProgress) -> dict[str, int]:
        """The names, with their new numbers, that a commit moves."""
        moved = {f"{self._names}{slice}": after.slot}
        moved |= {f"{self._names}{slice}:{total}": getattr(after, total) for total in _TOTALS}
        if before is None:
            counts = self._counts()
            if slice.count not in counts:
                moved[f"{self._names}counts"] = slice.count
                moved[f"{self._names}counts:{slice.count}"] = counts[0] if counts else 0
        return moved

    def _counts(self) -> list[int]:
        """The shard counts that ever committed, the newest first."""
        counts: list[int] = []
        count = self._lookup(f"{self._names}counts")
        while count and count not in counts:
            counts.append(count)
            count = self._lookup(f"{self._names}counts:{count}")
        return counts


def names_of(run_id: str, table: str) -> str:
    """How the names of a run's table begin."""
    return f"emitter:{run_id}:{table}:"


def recent_first(read: ReadCommit, version: int, checkpoint: int, otherwise: Lookup) -> Lookup:
    """The numbers as of a version: by the newest commits, of which nearly each has moved what is asked for. Only for
    other names by `otherwise`, the library, which reads all commits since the checkpoint for every name anew.

    What stands at the version of the `checkpoint` or before it is not looked at: an entry that came behind one, where a
    clean-up had left a place, is in no version, and whoever put it there asks here whether it counts.
    """
    known: dict[str, int] = {}
    versions = iter(range(version, max(version - _RECENT_COMMITS, checkpoint), -1))

    def is_older_read() -> bool:
        nonlocal versions
        commit, older = None, next(versions, None)
        if older is not None:
            with suppress(DamagedStateError):  # perhaps one before a checkpoint, where nobody reads it
                commit = read(older)
        if commit is None:
            versions = iter(())  # those before may tell of what it has moved on
            return False
        for name, number in commit.moved.items():
            known.setdefault(name, number)
        return True

    def lookup(name: str) -> int | None:
        while name not in known:
            if not is_older_read():
                return otherwise(name)
        return known[name]

    return lookup
