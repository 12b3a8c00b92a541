"""What the process of a verification does: it compares once, tells what it found, and ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from emitter.clock import Clock
from emitter.config import EmitterConfig
from emitter.errors import EmitterError
from emitter.model import VerificationReport, Window
from emitter.run.beside import begin_beside
from emitter.truth import oracle

EXAMPLES_MAX = 3  # of a table: `emitter verify` tells more

_ROW_KINDS = ("lost", "duplicated", "altered", "unexpected")
_FILE_KINDS = ("broken", "misshapen")

_log = logging.getLogger("emitter.verification")


def serve(orders: Connection, clock: Clock, begin: Callable[[], None] | None) -> None:
    """Verify by the configuration that comes, and send a VerificationReport. `begin` is called first."""
    begin_beside(begin)
    with suppress(EOFError, BrokenPipeError):  # the daemon is gone
        config: EmitterConfig = orders.recv()
        try:
            report = compared(config, clock)
        except Exception:  # noqa: BLE001 (a fault of ours ends this process, and no other)
            _log.exception("a verification ended in a fault")
            sys.exit(1)
        orders.send(report)


def compared(config: EmitterConfig, clock: Clock) -> VerificationReport:
    """The verdict over the last `verification.period_seconds` that are written. Only what a table itself says it has is
    required of it: what is behind, or on its way, is no difference.
    """
    begin_seconds = clock.monotonic_seconds()
    try:
        found = oracle.verify(
            config, clock=clock, last_seconds=config.verification.period_seconds, examples_max=EXAMPLES_MAX
        )
    except EmitterError as error:
        return VerificationReport("failed", clock.monotonic_seconds() - begin_seconds, problem=error.problem)
    tables = found.tables
    return VerificationReport(
        "different" if found.is_wrong else "ok",
        clock.monotonic_seconds() - begin_seconds,
        Window(min(table.from_slot for table in tables), max(table.to_slot for table in tables)),
        sum(table.rows_expected for table in tables),
        {table.table: {kind: getattr(table, kind) for kind in _ROW_KINDS} for table in tables},
        {table.table: {kind: getattr(table, f"{kind}_files") for kind in _FILE_KINDS} for table in tables},
        tuple(f"{table.table}: {example}" for table in tables if table.is_wrong for example in table.examples),
    )
