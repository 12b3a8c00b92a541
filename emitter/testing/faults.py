"""Bad luck on demand: system calls that fail, and processes that end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from emitter.storage.local import LocalStorage
from emitter.writers.base import CrashHook

PRIMITIVES = ("write", "fsync_file", "fsync_folder", "rename", "link", "make_folder", "remove")
"""The kinds of system calls by which a LocalStorage changes anything."""


class SimulatedCrash(BaseException):
    """The process is as good as dead. Raise it with `times=None`: then what unwinds cannot reach the disk."""


@dataclass(slots=True)
class _Fault:
    error: BaseException
    at: int
    times: int | None
    after: bool
    only: Collection[str]
    seen: int = 0


class FaultyStorage(LocalStorage):
    """A local disk whose system calls are recorded in `calls`, and fail as `fail` says."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        super().__init__(uri)
        self.calls: list[str] = []
        self._guard = threading.Lock()
        self._fault: _Fault | None = None

    def fail(
        self,
        error: BaseException,
        *,
        at: int = 1,
        times: int | None = 1,
        after: bool = False,
        only: Collection[str] = PRIMITIVES,
    ) -> None:
        """From the `at`-th call from now on (of the kinds in `only`), let `times` calls raise (None: all).

        They have no effect, but a failing write leaves half of its bytes, as a full disk does. With `after`,
        the first of them takes effect before it raises: a lost reply.
        """
        self._fault = _Fault(error, at, times, after, only)

    def heal(self) -> None:
        """No more faults."""
        self._fault = None

    def _call(self, kind: str, effect: Callable[[], None], partly: Callable[[], None] | None = None) -> None:
        with self._guard:
            self.calls.append(kind)
            fault = self._fault
            if fault is None or kind not in fault.only:
                place = -1
            else:
                fault.seen += 1
                place = fault.seen - fault.at  # 0: the first that fails
        if fault is None or place < 0 or (fault.times is not None and place >= fault.times):
            effect()
            return
        if place == 0 and fault.after:
            effect()
        elif place == 0 and partly:
            partly()
        raise type(fault.error)(*fault.error.args)

    def _write(self, descriptor: int, data: Any) -> None:
        write = super()._write
        half = memoryview(data).cast("B")[: memoryview(data).nbytes // 2]
        self._call("write", lambda: write(descriptor, data), lambda: write(descriptor, half))

    def _fsync_file(self, descriptor: int) -> None:
        fsync = super()._fsync_file
        self._call("fsync_file", lambda: fsync(descriptor))

    def _fsync_folder(self, folder: str) -> None:
        fsync = super()._fsync_folder
        self._call("fsync_folder", lambda: fsync(folder))

    def _rename(self, source: str, target: str) -> None:
        rename = super()._rename
        self._call("rename", lambda: rename(source, target))

    def _link(self, source: str, target: str) -> None:
        link = super()._link
        self._call("link", lambda: link(source, target))

    def _make_folder(self, folder: str) -> None:
        make_folder = super()._make_folder
        self._call("make_folder", lambda: make_folder(folder))

    def _remove(self, path: str) -> None:
        remove = super()._remove
        self._call("remove", lambda: remove(path))


def exit_at(point: str, nth: int = 1) -> CrashHook:
    """A crash hook that ends the process at the nth passing of a crash point, with no clean-up at all."""
    passed = 0

    def hook(reached: str) -> None:
        nonlocal passed
        passed += reached == point
        if passed == nth:
            os._exit(137)

    return hook
