"""Daemons of one output that overlap as they please, and random plays of what befalls them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from emitter.errors import OvertakenError, SliceLockedError
from emitter.model import Slice, StepReport
from emitter.run import agenda
from emitter.run.daemon import Daemon
from emitter.testing import FaultyStorage, SimulatedCrash
from tests.support.shop import TABLES, shop, shop_daemon

UNTIL = 1200


class Fleet:
    """The daemons that are alive, by slice, up to `UNTIL`; those that start have the fleet's tables. With revisions,
    some of them have an older configuration than the newest one (`forgotten`), which changes nothing any more.
    """

    def __init__(self, output: Path, tables: Sequence[str], *, has_revisions: bool) -> None:
        self._output, self._tables, self._has_revisions = output, tables, has_revisions
        self._alive: dict[Slice, tuple[ExitStack, Daemon, FaultyStorage]] = {}
        self._revision = 0
        self._ever: dict[Slice, None] = {}  # those of all roll-outs, in order

    def newest(self) -> int | None:
        """A revision that is higher than any before it, if there are any."""
        self._revision += 1
        return self._revision if self._has_revisions else None

    def start(self, slice: Slice, forgotten: bool) -> None:
        if slice in self._alive:
            return
        revision = 0 if forgotten and self._has_revisions and self._revision else self.newest()
        changes = {
            "shard.index": slice.index,
            "shard.count": slice.count,
            "tables": list(self._tables),
            "revision": revision,
        }
        config = shop(self._output, changes)
        storage, stack = FaultyStorage(self._output), ExitStack()
        try:
            daemon = stack.enter_context(shop_daemon(config, until=UNTIL, storage=storage))
        except SliceLockedError:  # a newer shard is finishing this slice
            return
        self._alive[slice] = (stack, daemon, storage)

    def step(self, place: int, times: int) -> None:
        for _ in range(times):
            if self._alive:
                self._step(self._at(place))

    def kill(self, place: int, calls: int) -> None:
        """Let one die at one of its next system calls."""
        if not self._alive:
            return
        stack, daemon, storage = self._alive.pop(self._at(place))
        storage.fail(SimulatedCrash(), at=1 + calls, times=None, after=bool(calls % 2))
        try:
            with stack:
                while not daemon.finished:
                    daemon.step()
        except (SimulatedCrash, OvertakenError):
            pass

    def stop(self, place: int) -> None:
        """Let one end in an orderly way."""
        if self._alive:
            self._stop(self._at(place))

    def roll_out(self, count: int, times: int) -> None:
        """Put another count in force: all that are alive end, and each of the new ones does some steps of its own,
        once it has done what older ones have left to it.
        """
        self.stop_all()
        for slice in (Slice(index, count) for index in range(count)):
            self.start(slice, forgotten=False)
            self._ever[slice] = None
        for slice in [slice for slice in self._alive for _ in range(times)]:
            while slice in self._alive and (report := self._step(slice)) and report.slice != slice:
                pass

    def change(self, place: int, tables: Sequence[str]) -> None:
        """Let one start again with other tables."""
        self._tables = tables
        if self._alive:
            slice = self._at(place)
            self._stop(slice)
            self.start(slice, forgotten=False)

    def visit(self, which: int, times: int) -> None:
        """A forgotten shard goes on for a while with a slice of some time before that nobody holds, and stops."""
        gone = [slice for slice in self._ever if slice not in self._alive]
        for place in range(len(gone)):
            slice = gone[(which + place) % len(gone)]
            self.start(slice, forgotten=True)
            if slice in self._alive:
                for _ in range(times):
                    if slice in self._alive:
                        self._step(slice)
                if slice in self._alive:
                    self._stop(slice)
                return

    def step_all(self, times: int) -> None:
        """Let all that are alive do some steps."""
        for slice in list(self._alive) * times:
            if slice in self._alive:
                self._step(slice)

    def go_on(self) -> None:
        """All that are alive do what they still can, in turn."""
        for slice in list(self._alive):
            while slice in self._alive and self._step(slice):
                pass

    def stop_all(self) -> None:
        while self._alive:
            self.stop(0)

    def _at(self, place: int) -> Slice:
        return sorted(self._alive, key=str)[place % len(self._alive)]

    def _step(self, slice: Slice) -> StepReport | None:
        stack, daemon, _ = self._alive[slice]
        try:
            return None if daemon.finished else daemon.step()
        except OvertakenError:
            stack.close()
            del self._alive[slice]
            return None

    def _stop(self, slice: Slice) -> None:
        self._alive.pop(slice)[0].close()


def seals_ahead(slots: int) -> AbstractContextManager[Any]:
    """So little ahead, but a batch at least, that several changes have room."""
    return mock.patch.multiple(agenda, SEAL_AHEAD_BATCHES=1, SEAL_AHEAD_SLOTS_MAX=slots)


_SLICES = st.sampled_from([Slice(index, count) for count in (1, 2, 3, 4) for index in range(count)])
_FEW = st.sampled_from([TABLES[:2], TABLES[:4]])
_PLACES = st.integers(0, 5)
_EVENTS: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "step": st.tuples(st.just("step"), _PLACES, st.integers(1, 6)),
    "kill": st.tuples(st.just("kill"), _PLACES, st.integers(0, 60)),
    "stop": st.tuples(st.just("stop"), _PLACES),
    "change": st.tuples(st.just("change"), _PLACES, _FEW | st.just(TABLES)),
    "visit": st.tuples(st.just("visit"), _PLACES, st.integers(1, 6)),
}


@dataclass(frozen=True)
class Play:
    """What befalls a fleet: names of its methods, with what they are called with."""

    tables: Sequence[str]
    has_revisions: bool
    actions: list[tuple[Any, ...]]
    last_count: int  # of the shards that finish it all


@st.composite
def free_plays(draw: st.DrawFn) -> Play:
    """Shards of any count start, step, die and end."""
    starts = st.tuples(st.just("start"), _SLICES, st.booleans())
    events = st.one_of(starts, _EVENTS["step"], _EVENTS["kill"], _EVENTS["stop"], _EVENTS["change"])
    actions = draw(st.lists(events, min_size=4, max_size=24))
    return Play(draw(_FEW | st.just(TABLES)), draw(st.booleans()), actions, draw(st.integers(1, 3)))


@st.composite
def roll_out_plays(draw: st.DrawFn) -> Play:
    """Shard counts that come back, so that old slices have several stretches; a table joins while several shards of the
    last count are at work, so that what was done has work again; then forgotten shards come and go, with events of a
    few more kinds, and whoever is alive goes on. Few counts and few kinds in each play: so they meet.
    """
    counts = draw(st.lists(st.integers(1, 4), min_size=2, max_size=draw(st.integers(2, 3)), unique=True))
    actions: list[tuple[Any, ...]] = []
    length, count = draw(st.integers(4, 5)), 0
    while len(actions) < length or count == 1:
        count = draw(st.sampled_from([each for each in counts if each != count]))
        actions.append(("roll_out", count, draw(st.integers(1, 2))))
    actions += [("step_all", draw(st.integers(0, 2))), ("change", draw(_PLACES), TABLES)]
    kinds = draw(st.lists(st.sampled_from(sorted(_EVENTS)), min_size=1, max_size=3, unique=True))
    events = st.one_of(_EVENTS["visit"], *(_EVENTS[kind] for kind in kinds))
    actions += [*draw(st.lists(events, min_size=1, max_size=8)), ("go_on",)]
    return Play(draw(_FEW), True, actions, draw(st.integers(1, 3)))
