"""Who writes a slice, or looks after the tables, where storage has no locks: a lease that its holder renews.

    _emitter/leases/0-of-1.json      {"beat": 17, "holder": "<a name of its own>", "writes": "0-of-1"}
                                     no holder: let go of; writes: the slice of a daemon that holds other work

Whoever wants what another holds looks whether the lease moves, by its own monotonic clock, as clocks of two machines
agree on nothing. While it moves, and until it has stood still for `STILL_SECONDS`, the slice is left alone.

The lease only keeps two processes from overtaking each other again and again. Which rows count is settled by the
compare-and-set of every commit, as ever: a holder that was only slow, or two that take a slice at once, double nothing.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress

from emitter.clock import Clock
from emitter.errors import OvertakenError, SliceLockedError, StorageError, StorageNotFoundError
from emitter.model import Slice
from emitter.randomness import unique_name
from emitter.run.entries import RUN_FOLDER, encode
from emitter.storage.base import Storage

BEAT_SECONDS = 10  # between two steps it is renewed so often
STILL_SECONDS = 60  # after so long without a beat its holder is taken for dead
LOOK_SECONDS = 5  # how often who waits looks


class Lease:
    """The lease of one slice, or of another piece of work that has a name, for a process that wants it, holds it or has
    lost it. `writes`: the slice that it holds as well. Whoever held the other lease while writing that slice has lost
    the slice, and is dead or about to end: nobody has to wait to see that again.
    """

    def __init__(self, storage: Storage, of: Slice | str, clock: Clock, writes: Slice | None = None) -> None:
        self._storage, self._clock = storage, clock
        self._writes = None if writes is None else str(writes)
        self._what = f"slice {of}" if isinstance(of, Slice) else of
        self._path = f"{RUN_FOLDER}/leases/{of}.json"
        self._name, self._beats = "", 0
        self._beat_due_seconds = math.inf
        self._seen: bytes | None = None
        self._still_since_seconds = 0.0
        self._has_moved = False

    def is_free(self) -> bool:
        """Whether nobody seems to hold it. Ask again and again: what moves shows only in time."""
        data, now_seconds = self._read(), self._clock.monotonic_seconds()
        if data is None or _holder(data) is None or (self._writes and _told(data, "writes") == self._writes):
            return True
        if data != self._seen:
            self._has_moved = self._seen is not None
            self._seen, self._still_since_seconds = data, now_seconds
        return now_seconds - self._still_since_seconds >= STILL_SECONDS

    def check_still(self) -> None:
        """Raises SliceLockedError once it was seen to move."""
        if self._has_moved:
            raise SliceLockedError(
                f"{self._what} of {self._storage.uri} is in the hands of another process",
                hint="another emitter writes this slice: stop it first, or give this one another shard.index",
            )

    def take(self) -> None:
        """Hold it from now on, whoever did before."""
        self._name = unique_name()
        self._write(self._name)

    def beat(self) -> None:
        """Renew it, if that is due. Raises OvertakenError where another has taken it."""
        if self._clock.monotonic_seconds() < self._beat_due_seconds:
            return
        data = self._read()
        if data is not None:  # where it is gone, the whole output may be: that shows elsewhere
            if _holder(data) != self._name:
                raise OvertakenError(
                    f"another process has taken {self._what} of {self._storage.uri}",
                    hint="see that only one runs per slice; started again, this one waits until the other ends",
                )
            self._write(self._name)

    def is_ours(self) -> bool:
        """Whether nobody has taken it since."""
        data = self._read()
        return data is not None and _holder(data) == self._name

    def let_go(self) -> None:
        """Let others take it at once, if it is still ours. Where that fails, they wait until it has stood still."""
        self._beat_due_seconds = math.inf
        with suppress(StorageError):
            if self._name and self.is_ours():
                self._write(None)

    def _write(self, holder: str | None) -> None:
        self._beats += 1
        self._storage.replace(self._path, encode(self._content(holder)))
        if holder:
            self._beat_due_seconds = self._clock.monotonic_seconds() + BEAT_SECONDS

    def _content(self, holder: str | None) -> dict[str, object]:
        return {"holder": holder, "beat": self._beats, **({"writes": self._writes} if self._writes else {})}

    def _read(self) -> bytes | None:
        try:
            return self._storage.read(self._path)
        except StorageNotFoundError:
            return None


def _holder(data: bytes) -> str | None:
    """Who holds it; of what cannot be read, somebody."""
    return _told(data, "holder")


def _told(data: bytes, key: str) -> str | None:
    try:
        value = json.loads(data)[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "?"
    return None if value is None else str(value)
