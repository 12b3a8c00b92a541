"""The domains, by name. Importing this loads no domain; `create_generator` does."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from emitter.errors import UsageError

if TYPE_CHECKING:
    from emitter.generators.base import GeneratorBase

DOMAINS: dict[str, str] = {"ecommerce": "emitter.generators.ecommerce"}
"""Domain name -> package. A package has `options.py` (light: options, tables) and `generator.py` (the rows)."""


def _part(domain: str, part: str) -> Any:
    if domain not in tuple(DOMAINS):  # whatever it is: not everything can be looked up
        from emitter.settings.declaring import nearest

        choices = f"choose one of: {', '.join(sorted(DOMAINS))}"
        near = nearest(domain, DOMAINS)
        raise UsageError(f"there is no domain {domain!r}", hint=f"{near} {choices}".strip())
    return importlib.import_module(f"{DOMAINS[domain]}.{part}")


def domain_options(domain: str) -> type[Any]:
    """The frozen dataclass of a domain's options. Loads no numpy."""
    options: type[Any] = _part(domain, "options").OPTIONS
    return options


def domain_tables(domain: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(table, parents) of a domain, parents first. Loads no numpy."""
    return tuple((table.name, table.parents) for table in _part(domain, "tables").TABLES)


def domain_class(domain: str) -> type[GeneratorBase]:
    """The generator class of a domain."""
    generator: type[GeneratorBase] = _part(domain, "generator").GENERATOR
    return generator
