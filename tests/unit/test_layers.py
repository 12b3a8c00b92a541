"""Who may import whom. A new module must be entered here: where it stands is a decision."""

from __future__ import annotations

import ast
import subprocess
import sys
import unittest
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "emitter"

# A name is a module below `emitter`, or a pattern for a family of them; a package's own name is its
# __init__.py. The sets name what several may import, the table stands in the order of the layers.
LIGHT_FOUNDATION = {"errors", "model", "clock", "storage.base", "partitioning"}
FOUNDATION = LIGHT_FOUNDATION | {"randomness", "arrow"}
# The bases and names of the stages, never a certain domain, format or storage.
STAGES = {"generators", "generators.base", "encoder", "writers", "writers.base", "run.journal", "config"}
BELOW_DAEMON = FOUNDATION | STAGES
BELOW_DAEMON |= {"settings.declaring", "watch.observer", "run.anchor", "run.plan", "watch.daycurve", "run.factory"}
DAEMON = {"run.pipeline", "run.ledger", "run.opening", "run.daemon", "run.workers", "run.assembly"}
BELOW_SURFACES = BELOW_DAEMON | DAEMON
BELOW_SURFACES |= {"truth.digest", "truth.rows", "truth.oracle", "run.bounded", "truth.inspection"}
OBSERVERS = {"watch.metrics", "watch.logs", "watch.health", "watch.board", "watch.supervisor"}
RUN_SURFACES = OBSERVERS.copy()
RUN_SURFACES |= {"run.schedule", "watch.statuspage", "watch.server", "cli.liveview", "cli.signals", "cli.service"}
SURFACES = RUN_SURFACES | {"cli.progress", "cli.printing", "cli.preview"}

MAY_IMPORT: dict[str, set[str]] = {
    "cli": set(),
    "truth": set(),
    "run": set(),
    "watch": set(),
    "writers.parquet": set(),
    "writers.delta": set(),
    "writers.iceberg": set(),
    "writers.ducklake": set(),
    "storage": set(),
    "settings": set(),
    "errors": set(),
    "model": {"errors"},
    "clock": {"errors", "model"},
    "randomness": {"errors", "model"},
    "storage.base": {"errors", "model"},
    "storage.local": {"errors", "model", "storage.base"},
    "partitioning": {"errors", "model", "clock"},
    "arrow": LIGHT_FOUNDATION | {"randomness"},
    "truth.digest": FOUNDATION,
    "watch.observer": LIGHT_FOUNDATION,
    "settings.rules": {"errors"},
    "settings.declaring": {"errors", "settings.rules"},
    "settings.connections": {"errors", "settings.rules"},
    "storage.s3": {"errors", "settings.connections"},
    "storage.s3_errors": {"errors"},
    "storage.objects": {"errors", "model", "storage.base", "randomness", "storage.s3", "storage.s3_errors"},
    "settings.yaml_text": {"errors"},
    # The stages know nothing of each other, except that the encoder takes a writer's options, and that the
    # configuration knows domains and formats by name.
    "generators.base": FOUNDATION,
    "generators.chains": FOUNDATION,
    "generators.ecommerce.*": FOUNDATION
    | {"settings.rules", "settings.declaring", "generators.base", "generators.chains", "generators.ecommerce.*"},
    "generators.ecommerce": LIGHT_FOUNDATION | {"generators.ecommerce.*"},
    "generators": LIGHT_FOUNDATION | {"generators.base"},
    "writers.base": LIGHT_FOUNDATION | {"settings.connections"},
    "writers.hive": LIGHT_FOUNDATION | {"writers.base"},
    "writers.parquet.progress": LIGHT_FOUNDATION,
    "writers.parquet.holding": LIGHT_FOUNDATION | {"randomness", "writers.parquet.progress"},
    "writers.registering": FOUNDATION | {"writers.base"},
    "writers.parquet.folder": FOUNDATION | {"writers.base", "writers.hive", "writers.registering"},
    "writers.parquet.writer": FOUNDATION
    | {"settings.connections", "writers.base", "writers.hive", "writers.parquet.*", "writers.parquet.folder"},
    **dict.fromkeys(("writers.delta.statistics", "writers.delta.progress", "writers.delta.history"), LIGHT_FOUNDATION),
    "writers.delta.tables": LIGHT_FOUNDATION | {"storage.local", "storage.objects", "writers.registering"},
    "writers.delta.writer": FOUNDATION | {"writers.base", "writers.hive", "writers.registering", "writers.delta.*"},
    "writers.iceberg.io": LIGHT_FOUNDATION,
    "writers.iceberg.catalog": LIGHT_FOUNDATION | {"settings.connections", "writers.iceberg.io"},
    "writers.iceberg.tables": LIGHT_FOUNDATION,
    "writers.iceberg.writer": FOUNDATION | {"writers.base", "writers.hive", "writers.registering", "writers.iceberg.*"},
    "writers.ducklake.extensions": {"errors"},
    "writers.ducklake.connection": {"errors", "storage.s3", "writers.ducklake.extensions"},
    "writers.ducklake.catalog": LIGHT_FOUNDATION | {"writers.ducklake.extensions", "writers.ducklake.connection"},
    "writers.ducklake.reading": LIGHT_FOUNDATION | {"writers.base", "writers.hive", "writers.ducklake.*"},
    "writers.ducklake.writer": FOUNDATION
    | {"storage.local", "storage.objects", "writers.base", "writers.hive", "writers.registering"}
    | {"writers.ducklake.extensions", "writers.ducklake.*"},
    "writers": LIGHT_FOUNDATION
    | {"settings.connections", "storage.local", "storage.s3", "storage.objects", "writers.base"},
    "encoder": FOUNDATION | {"writers.base"},
    "run.journal": LIGHT_FOUNDATION,
    "run.anchor": LIGHT_FOUNDATION,
    "run.plan": LIGHT_FOUNDATION,
    "watch.daycurve": LIGHT_FOUNDATION | {"watch.observer", "generators.base"},
    "settings.sources": {"errors", "settings.declaring", "settings.yaml_text"},
    "config": LIGHT_FOUNDATION
    | {
        "settings.rules",
        "settings.declaring",
        "settings.connections",
        "settings.sources",
        "generators",
        "generators.*.options",
        "writers",
    },
    "run.factory": LIGHT_FOUNDATION | {"settings.declaring", "generators", "generators.base", "run.journal"},
    # Where the stages meet. The daemon is given its parts; only `assembly` turns a configuration into them.
    "run.pipeline": FOUNDATION | {"generators.base", "encoder", "writers.base"},
    "run.ledger": FOUNDATION | {"run.plan", "writers.base", "run.pipeline"},
    "run.opening": BELOW_DAEMON - {"config", "writers"},
    "run.daemon": BELOW_DAEMON - {"config", "writers"} | {"run.pipeline", "run.ledger", "run.opening"},
    "run.workers": BELOW_DAEMON - {"config", "writers"} | {"run.pipeline"},
    "run.assembly": BELOW_DAEMON | {"run.pipeline", "run.opening", "run.daemon"},
    "truth.rows": FOUNDATION | {"truth.digest", "generators.base", "run.plan"},
    "truth.oracle": BELOW_DAEMON | {"truth.digest", "truth.rows", "run.assembly"},
    "run.bounded": BELOW_DAEMON | DAEMON,
    "truth.inspection": BELOW_DAEMON | DAEMON | {"truth.oracle", "run.bounded"},
    # What people and machines see of it.
    "watch.cgroup": set(),
    "watch.metrics": BELOW_SURFACES,
    "watch.logs": BELOW_SURFACES,
    "watch.health": BELOW_SURFACES,
    "watch.board": BELOW_SURFACES,
    "run.schedule": BELOW_SURFACES,
    "watch.statuspage": BELOW_SURFACES | {"watch.health", "watch.board"},
    "watch.server": BELOW_SURFACES | {"watch.metrics", "watch.health", "watch.board", "watch.statuspage"},
    "cli.progress": BELOW_SURFACES | {"watch.logs"},
    "cli.printing": BELOW_SURFACES,
    "cli.liveview": BELOW_SURFACES | {"watch.board", "cli.printing"},
    "cli.preview": BELOW_SURFACES | {"cli.printing"},
    "cli.signals": set(),
    "watch.supervisor": BELOW_SURFACES | {"watch.logs"},
    "cli.service": BELOW_SURFACES | RUN_SURFACES | {"watch.cgroup"},
    "__init__": BELOW_SURFACES | {"settings.connections"},
    "cli.main": BELOW_SURFACES | SURFACES | {"__init__"},
    "__main__": {"cli.main"},
    "testing*": BELOW_SURFACES | SURFACES | {"storage.local", "writers.*", "testing*"},
}

# Libraries that only some modules may know.
OWNERS: dict[str, set[str]] = {
    "aiobotocore": {"storage.s3"},
    "aiohttp": {"storage.s3_errors"},
    "botocore": {"storage.s3", "storage.s3_errors"},
    "duckdb": {"writers.ducklake.extensions", "writers.ducklake.*"},
    "deltalake": {"writers.delta.writer", "writers.delta.tables"},
    "fsspec": {"storage.objects"},
    "s3fs": {"storage.s3", "storage.objects"},
    "apscheduler": {"run.schedule"},
    "starlette": {"watch.server"},
    "uvicorn": {"watch.server"},
    "prometheus_client": {"watch.metrics", "watch.server"},
    "structlog": {"watch.logs"},
    "pydantic": {"settings.rules", "settings.declaring", "config", "settings.connections", "generators.*.options"},
    "pydantic_core": {"settings.rules", "settings.declaring"},
    "yaml": {"settings.yaml_text"},
    "rich": {"cli.liveview", "cli.progress", "cli.printing", "cli.preview", "cli.main"},
    "typer": {"cli.main"},
}

HEAVY = {"numpy", "polars", "pyarrow"}
LIGHT = LIGHT_FOUNDATION | {
    *(
        "settings.rules",
        "settings.declaring",
        "settings.yaml_text",
        "settings.connections",
        "settings.sources",
        "config",
        "run.journal",
        "cli.main",
    ),
    *("generators", "generators.*.options", "generators.*.tables", "writers"),
}


class Import(NamedTuple):
    """One import: `target` is a module below `emitter` if it is ours, else a library."""

    module: str
    target: str
    ours: bool
    early: bool  # carried out when the module is imported

    def __str__(self) -> str:
        return f"{self.module} imports {self.target}"


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def allowed(module: str) -> set[str]:
    """What the table lets a module import."""
    return set().union(*(below for entry, below in MAY_IMPORT.items() if fnmatchcase(module, entry)))


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its name below `emitter`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


def targets(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, bool]]:
    """(What is imported, whether it is ours). `from emitter import x` means the module x if there is one."""
    if isinstance(node, ast.Import):
        wanted = [alias.name for alias in node.names]
    else:
        wanted = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in wanted:
        library, _, below = name.partition(".")
        if library != "emitter":
            yield library, False
        elif isinstance(node, ast.Import) or below in modules():
            yield below or "__init__", True
        else:
            yield below.rpartition(".")[0] or "__init__", True


@cache
def imports() -> list[Import]:
    """Every import of every module, those inside functions and those for the type checker too."""

    def walk(module: str, node: ast.AST, early: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target, ours in dict.fromkeys(targets(node)):
                yield Import(module, target, ours, early)
        late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        for child in ast.iter_child_nodes(node):
            yield from walk(module, child, early and not late)

    trees = ((module, ast.parse(path.read_text(encoding="utf-8"))) for module, path in modules().items())
    return [found for module, tree in trees for found in walk(module, tree, True)]


def loaded(*arguments: str) -> set[str]:
    """The top-level packages that a fresh `python ARGUMENTS` loads."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=False,
    )
    lines = run.stderr.splitlines()
    if run.returncode != 0:
        raise AssertionError("\n".join(line for line in lines if not line.startswith("import time:")))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if "|" in line}


class LayersTest(unittest.TestCase):
    def test_every_module_has_a_place(self) -> None:
        homeless = [module for module in modules() if not matches(module, MAY_IMPORT)]
        self.assertEqual(homeless, [], "enter them into the table of layers")
        self.assertEqual([entry for entry in MAY_IMPORT if not any(matches(m, {entry}) for m in modules())], [])

    def test_no_module_imports_above_itself(self) -> None:
        upward = [str(i) for i in imports() if i.ours and not matches(i.target, allowed(i.module))]
        self.assertEqual(upward, [])

    def test_libraries_stay_with_their_owners(self) -> None:
        strays = [str(i) for i in imports() if not i.ours and not matches(i.module, OWNERS.get(i.target, {"*"}))]
        self.assertEqual(strays, [])

    def test_light_modules_import_heavy_libraries_late(self) -> None:
        early = [str(i) for i in imports() if i.early and i.target in HEAVY and matches(i.module, LIGHT)]
        self.assertEqual(early, [])

    def test_the_table_is_in_the_order_of_the_layers(self) -> None:
        """So that no two entries may import each other."""
        listed = list(MAY_IMPORT)
        upward = {module: MAY_IMPORT[module] & set(listed[place + 1 :]) for place, module in enumerate(listed)}
        self.assertEqual({module: above for module, above in upward.items() if above}, {})


class LoadingTest(unittest.TestCase):
    def test_help_loads_nothing_heavy(self) -> None:
        for arguments in (["--help"], ["run", "--help"]):
            with self.subTest(arguments):
                packages = loaded("-m", "emitter", *arguments)
                self.assertIn("typer", packages)
                self.assertEqual(packages & HEAVY, set())

    def test_importing_the_public_api_loads_nothing_heavy(self) -> None:
        packages = loaded("-c", "import emitter")
        self.assertIn("emitter", packages)
        self.assertEqual(packages & (HEAVY | set(OWNERS)), set())

    def test_using_the_public_api_loads_no_scheduler_server_or_command_line(self) -> None:
        packages = loaded("-c", "import emitter; [getattr(emitter, name) for name in emitter.__all__]")
        self.assertIn("pyarrow", packages)  # the names were really loaded
        self.assertEqual(packages & {"apscheduler", "starlette", "uvicorn", "typer", "rich"}, set())


if __name__ == "__main__":
    unittest.main()
