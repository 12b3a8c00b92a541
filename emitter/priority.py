"""Work that comes after that of others, but for the part of it that they wait for.

A thread of low priority that holds what an append needs makes the append wait for every program on the machine. Nobody
may raise a priority again without a privilege. But on Linux each thread has its own, and begins with that of
the thread that begins it: so one thread is begun before, stays as it was, and does what is urgent. Elsewhere niceness
is the process's: there all of it is low.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_urgent: ThreadPoolExecutor | None = None


def lower(niceness: int) -> None:
    """Let this thread, and those that it begins, come after others from now on. Once in a process, before there are
    threads that work.
    """
    global _urgent  # noqa: PLW0603 (priority is the process's, as its niceness is)
    _urgent = ThreadPoolExecutor(1, thread_name_prefix="urgent")
    _urgent.submit(int).result()  # so that its thread is there before
    with suppress(PermissionError):  # where a service forbids even to be modest
        os.nice(niceness)


def urgently[T](act: Callable[[], T]) -> T:
    """Do what others wait for with the priority that the process had at first. Not from within another such act."""
    return _urgent.submit(act).result() if _urgent else act()
