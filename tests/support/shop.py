"""A small shop: few customers and products, an order every other second, and what the tests do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from emitter.clock import Clock, parse_time, slot_of
from emitter.config import EmitterConfig, validate
from emitter.model import StepReport
from emitter.partitioning import PartitionSpec
from emitter.run.assembly import configured_generator, configured_settings, configured_writer
from emitter.run.daemon import Daemon
from emitter.run.pipeline import Stager
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.testing import FaultyStorage, ManualClock, SimulatedCrash
from emitter.truth import inspection
from emitter.watch.observer import Observer
from emitter.writers.base import CrashHook, WriterOptions, no_crash
from emitter.writers.parquet.writer import ParquetWriter

START = "2026-01-01T23:57:00Z"  # three minutes before a partition's edge
ORIGIN = slot_of(parse_time(START))
TABLES = ("customers", "products", "orders", "order_items", "payments")
KEYS = {
    "customers": ("customer_id",),
    "products": ("product_id", "valid_from"),
    "orders": ("order_id",),
    "order_items": ("order_item_id",),
    "payments": ("payment_id",),
}

_BASE: dict[str, Any] = {
    "clock.start": START,
    "clock.speed": "max",
    "clock.batch_seconds": 60,
    "server.port": 0,
    "log.format": "json",
    "ecommerce.customers": 50,
    "ecommerce.products": 20,
    "ecommerce.orders_per_second": 0.5,
    "ecommerce.customer_growth_per_year": 1.0,
}


def shop_mapping(output: Path, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A configuration as its file would hold it. `changes` are dotted keys; a key set to None is left out."""
    mapping: dict[str, Any] = {}
    for key, value in {**_BASE, "output.uri": str(output), **(changes or {})}.items():
        if value is None:
            continue
        *sections, name = key.split(".")
        inner = mapping
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return mapping


def shop(output: Path, changes: dict[str, Any] | None = None) -> EmitterConfig:
    return validate(shop_mapping(output, changes))


def shop_writer(config: EmitterConfig, storage: Storage | None = None, hook: CrashHook = no_crash) -> ParquetWriter:
    """Its writer, over a storage that a test has in hand."""
    output = config.output
    options = WriterOptions(output.compression, output.file_rows_target, PartitionSpec.of(config.partition))
    return ParquetWriter(storage or LocalStorage(output.uri), options, hook)


def shop_daemon(
    config: EmitterConfig,
    *,
    until: int | None = None,
    clock: Clock | None = None,
    storage: Storage | None = None,
    hook: CrashHook = no_crash,
    observer: Observer | None = None,
    stager: Stager | None = None,
) -> Daemon:
    """Its daemon; `until` in seconds from the origin."""
    return Daemon(
        configured_generator(config),
        shop_writer(config, storage, hook) if storage else configured_writer(config, hook),
        configured_settings(config),
        clock=clock or ManualClock(),
        observer=observer,
        until_slot=None if until is None else ORIGIN + until,
        stager=stager,
    )


def run(config: EmitterConfig, until: int, **parts: Any) -> list[StepReport]:
    """Step until so many seconds from the origin are done; what the steps did."""
    with shop_daemon(config, until=until, **parts) as daemon:
        return finish(daemon)


def finish(daemon: Daemon) -> list[StepReport]:
    """Step until the daemon is finished. Nothing may be in the way of it."""
    reports = []
    while not daemon.finished:
        report = daemon.step()
        if report is not None:
            reports.append(report)
        elif not daemon.finished:
            raise AssertionError("nothing is due, and the end is not reached")
    return reports


def settled(*shards: EmitterConfig) -> int:
    """How far the furthest slice of a table is, in seconds from the origin, once each shard has finished what it was
    interrupted in: that may lead far beyond what the tables said before.
    """
    for config in shards:
        with shop_daemon(config, until=1):
            pass
    tables = inspection.status(shards[0], clock=ManualClock())
    return max(slot for table in tables for slot in [ORIGIN, *table.slices.values()]) - ORIGIN


def due(daemon: Daemon) -> list[StepReport]:
    """Step while anything is due."""
    reports = []
    while not daemon.finished and (report := daemon.step()) is not None:
        reports.append(report)
    return reports


def crash(
    config: EmitterConfig, until: int, point: str, nth: int, *, steps: Callable[[Daemon], object] = finish, **parts: Any
) -> bool:
    """Run, and end at the nth passing of a crash point as a killed process would: what unwinds after it reaches the
    output no more. Whether the point was reached.
    """
    is_ours = config.output.format == "parquet" and not config.output.uri.startswith("s3://")
    parts.setdefault("storage", FaultyStorage(config.output.uri) if is_ours else None)
    passed = 0

    def hook(reached: str) -> None:
        nonlocal passed
        passed += reached == point
        if passed >= nth:
            if isinstance(parts["storage"], FaultyStorage):
                parts["storage"].fail(SimulatedCrash(), times=None)
            raise SimulatedCrash

    try:
        with shop_daemon(config, until=until, hook=hook, **parts) as daemon:
            steps(daemon)
    except SimulatedCrash:
        return True
    return False
