"""The tables of a run, opened by a writer of the configuration, as upkeep needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from emitter.clock import Clock
from emitter.config import EmitterConfig
from emitter.errors import EmitterError, MissingJournalError
from emitter.model import TableSize
from emitter.run.assembly import configured_policy, configured_writer, run_of
from emitter.run.opening import open_tables
from emitter.writers.base import TableWriter
from emitter.writers.upkeep import Upkeep

MakeWriter = Callable[[EmitterConfig], TableWriter]


class Opened(NamedTuple):
    """The upkeep of an output, and all tables that the run ever had."""

    writer: TableWriter
    upkeep: Upkeep
    tables: tuple[str, ...]

    def sizes(self) -> dict[str, TableSize]:
        """What is in each table now; a table that cannot be looked at just now is left out."""
        found = {}
        for table in self.tables:
            try:
                found[table] = self.writer.size(table)
            except EmitterError:  # it is counted where it is in the way of a chore
                continue
        return found


@contextmanager
def opened(config: EmitterConfig, clock: Clock, make_writer: MakeWriter = configured_writer) -> Iterator[Opened]:
    """What the run of a configuration has in its output, until the context ends. Writes nothing by itself.

    Raises MissingJournalError where nothing was begun, and another StateError where what is there is not this run's.
    """
    with closing(make_writer(config)) as writer:
        generator, journal = run_of(config, writer, clock)
        if journal is None:
            raise MissingJournalError(
                f"there is no journal under {writer.storage.uri}: nothing was written there by emitter",
                hint="check output.uri, or begin with `emitter run` or `emitter generate`",
            )
        tables = tuple(journal.tables())
        open_tables(generator, writer, journal.run_id, tables)
        yield Opened(writer, writer.upkeep(configured_policy(config)), tables)
