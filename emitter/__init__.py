"""emitter: a shop that never closes, written into your lakehouse, with every row accounted for.

    from emitter import create_generator, create_writer, write_dataset

    shop = create_generator("ecommerce", start="2026-01-01", end="2026-01-02", orders_per_second=5)
    write_dataset(shop, create_writer("parquet", "data/shop"))

Everything named here is public; its modules load when a name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emitter.errors import ConfigurationError, EmitterError, UsageError
    from emitter.generators.base import GeneratorBase
    from emitter.partitioning import PartitionSpec
    from emitter.run.bounded import write_dataset
    from emitter.run.existing import open_run
    from emitter.run.factory import create_generator
    from emitter.settings.connections import CatalogConfig, S3Config
    from emitter.truth.asking import expect, verify
    from emitter.truth.relations import query, relation, scan
    from emitter.writers import create_writer
    from emitter.writers.base import TableWriter, WriterOptions

__version__ = "0.1.0"

_HOMES = {
    "CatalogConfig": "emitter.settings.connections",
    "ConfigurationError": "emitter.errors",
    "EmitterError": "emitter.errors",
    "GeneratorBase": "emitter.generators.base",
    "PartitionSpec": "emitter.partitioning",
    "S3Config": "emitter.settings.connections",
    "TableWriter": "emitter.writers.base",
    "UsageError": "emitter.errors",
    "WriterOptions": "emitter.writers.base",
    "create_generator": "emitter.run.factory",
    "create_writer": "emitter.writers",
    "expect": "emitter.truth.asking",
    "open_run": "emitter.run.existing",
    "query": "emitter.truth.relations",
    "relation": "emitter.truth.relations",
    "scan": "emitter.truth.relations",
    "verify": "emitter.truth.asking",
    "write_dataset": "emitter.run.bounded",
}

__all__ = [
    "CatalogConfig",
    "ConfigurationError",
    "EmitterError",
    "GeneratorBase",
    "PartitionSpec",
    "S3Config",
    "TableWriter",
    "UsageError",
    "WriterOptions",
    "__version__",
    "create_generator",
    "create_writer",
    "expect",
    "open_run",
    "query",
    "relation",
    "scan",
    "verify",
    "write_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
