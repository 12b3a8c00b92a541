"""Whose turn it is: of all processes that could look after an output, one does.

    _emitter/locks/keeper.lock, upkeep.lock, verifier.lock  where storage has locks, which the kernel drops at any death
    _emitter/leases/keeper.json, upkeep.json, verifier.json where it has none: leases, which stand still then

`keeper` is held for as long as a daemon lives, so that one of its shards has the process that looks after the tables.
`upkeep` is held for the length of a round, also by `emitter maintain`; `verifier` as `keeper` is, by the shard that
verifies for all. None keeps a row right: two rounds at once do no harm, by the guards of each format. They only spare
the work.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress

from emitter.clock import Clock
from emitter.errors import OvertakenError, SliceLockedError, StorageError
from emitter.model import Slice
from emitter.run.entries import RUN_FOLDER
from emitter.run.lease import LOOK_SECONDS, STILL_SECONDS, Lease
from emitter.storage.base import Storage

KEEPER = "keeper"
ROUND = "upkeep"
VERIFIER = "verifier"


class Turn:
    """One of them, for a process that wants it or has it, of a daemon with the slice that it `writes`. Belongs to one
    thread.
    """

    def __init__(self, storage: Storage, name: str, clock: Clock, writes: Slice | None = None) -> None:
        self._storage, self._path = storage, f"{RUN_FOLDER}/locks/{name}.lock"
        self._lease = None if storage.has_locks else Lease(storage, name, clock, writes)
        self._lock = ExitStack()
        self._is_ours = False

    def take(self) -> bool:
        """Have it from now on, if nobody else does. False where that is only to be seen in time: ask again every
        `LOOK_SECONDS`. Raises SliceLockedError where a live process has it.
        """
        if self.keep():
            return True
        if self._lease is None:
            try:
                self._lock.enter_context(self._storage.lock(self._path))
            except SliceLockedError as error:
                raise self._taken(error.problem) from error
        elif self._lease.is_free():
            self._lease.take()
        else:
            try:
                self._lease.check_still()
            except SliceLockedError as error:
                raise self._taken(error.problem) from error
            return False
        self._is_ours = True
        return True

    def watch(self) -> None:
        """Begin to see whether who has it is alive, where that shows only in time. Who watches two, waits once."""
        if self._lease and not self._is_ours:
            self._lease.is_free()

    def keep(self) -> bool:
        """Whether it is still ours; where it has to be renewed, that is done."""
        if self._is_ours and self._lease:
            try:
                with suppress(StorageError):  # it is tried again at the next call, long before others take it
                    self._lease.beat()
            except OvertakenError:
                self._is_ours = False
        return self._is_ours

    def let_go(self) -> None:
        """Let others have it at once."""
        if self._is_ours:
            self._is_ours = False
            self._lock.close()
            if self._lease:
                self._lease.let_go()

    def _taken(self, why: str) -> SliceLockedError:
        return SliceLockedError(
            f"another process looks after {self._storage.uri} at this moment: {why}",
            hint="wait until its round has ended, which takes maintenance.round_seconds_max at most",
        )


def taken(turn: Turn, clock: Clock, stop: threading.Event) -> bool:
    """Whether a turn could be had. Where storage has no locks, that takes as long as it takes to see whether whoever
    had it last is alive.
    """
    try:
        end_seconds = clock.monotonic_seconds() + STILL_SECONDS + 2 * LOOK_SECONDS
        while not turn.take():
            if clock.wait(stop, LOOK_SECONDS) or clock.monotonic_seconds() > end_seconds:
                return False
    except SliceLockedError:
        return False
    return True
