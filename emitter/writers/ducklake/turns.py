"""Turns at a catalogue in SQLite: who writes to it lets the others finish first, as each refused commit costs far more.

SQLite refuses a transaction that has read what another has replaced since: then the lake is to be opened anew, and all
done again. Two shards, or appends and upkeep, would meet all the time. So whoever is about to write takes a lock of the
kernel's, `_emitter/locks/catalog.lock` in the output, for as long as the transaction lasts: for upkeep some ten
milliseconds, with the priority of the appends. It is politeness and no more: after a wait everybody goes on without it,
and SQLite decides.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from emitter.clock import Clock
from emitter.errors import SliceLockedError
from emitter.storage.base import Storage

_LOCK = "_emitter/locks/catalog.lock"
_LOOKS_MAX = 500  # on a busy machine a transaction takes long, and who does not wait is refused and takes longer
_LOOK_SECONDS = 0.004


class Turns:
    """See the module. `storage`: the output's, which has locks; None where no turns are needed, or can be had. Safe in
    threads.
    """

    def __init__(self, storage: Storage | None, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._never = threading.Event()

    @contextmanager
    def take(self) -> Iterator[None]:
        """A turn, or none after a short while. Raises StorageError where there can be no lock."""
        with ExitStack() as stack:
            for _ in range(_LOOKS_MAX if self._storage else 0):
                assert self._storage is not None
                try:
                    stack.enter_context(self._storage.lock(_LOCK))
                    break
                except SliceLockedError:
                    self._clock.wait(self._never, _LOOK_SECONDS)
            yield
