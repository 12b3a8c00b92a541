"""Processes that help this one: they begin without its signals, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext


@contextmanager
def deaf_to(*numbers: signal.Signals) -> Iterator[None]:
    """Processes that this thread starts inside `with` never see these signals: Ctrl-C goes to all of a terminal, and a
    stop to all of a service, and this process decides what it means.
    """
    resource_tracker.ensure_running()  # else it would be started inside, and lets signals through when it has been
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_nursery(modules: Sequence[str] = ()) -> ForkServerContext:
    """A process of which all that help are forked, begun where there is none, with these modules loaded. It has no
    thread of ours, so that no lock is carried over in whatever state it is, and it ends with this process. Begun early,
    it loads what the helpers need while this one loads what it needs itself.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with deaf_to(signal.SIGINT):
        forkserver.ensure_running()
    return context


def end_with_parent() -> None:
    """In the one that helps: end it when the process that started it is gone, however that died."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
