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

# A name is a module below `emitter`, or a pattern for a family of them; a package's own name is its __init__.py. A
# folder is a wing: a module may import its neighbours in it, and what stands in any entry that fits its name. The table
# goes from the ground up. A wing is entered by its doors: bases and names, never a certain domain, format or storage.
LIGHT_GROUND = {"errors", "model", "clock", "partitioning", "showing"}
GROUND = LIGHT_GROUND | {"randomness", "arrow", "duck", "priority"}
STAGES = {"generators.base", "encoder", "writers.base", "writers.upkeep"}
WATCHED = {"watch.observer", "watch.daycurve", "watch.progressbar"}  # what a run tells; who listens is not its business
RUN = {"storage.base", *STAGES, *WATCHED, "run.*"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "clock": {"errors", "model"},
    "randomness": {"errors", "model"},
    "partitioning": {"errors", "model", "clock"},
    "showing": set(),
    "priority": set(),
    "duck": {"errors"},
    "arrow": LIGHT_GROUND | {"randomness"},
    "settings*": {"errors"},
    "storage*": {"errors", "model", "randomness", "settings.connections"},
    # The stages know nothing of each other, except that the encoder takes a writer's options.
    "generators": LIGHT_GROUND | {"settings.declaring"},
    "generators.*": GROUND,
    "generators.ecommerce*": {"settings.rules", "settings.declaring", "generators.base", "generators.kit.*"},
    "generators.shop*": {
        *("settings.rules", "settings.declaring", "generators.base", "generators.kit.*"),
        *("generators.ecommerce.options", "generators.ecommerce.curve"),
    },
    "writers*": GROUND | {"settings.connections", "storage.base"},
    "writers": {"storage.*", "settings.declaring"},
    "writers.*.*": {
        "writers.base",
        "writers.hive",
        "writers.parts",
        "writers.registering",
        "writers.upkeep",
        "writers.leftovers",
        "writers.sqlite",
    },
    "writers.delta.*": {"storage.local", "storage.objects", "writers.merges"},
    "writers.iceberg.*": {"writers.merges"},
    "writers.ducklake.*": {"storage.local", "storage.objects", "storage.s3"},
    "encoder": GROUND | {"writers.base"},
    # Only upkeep makes files of what is written already.
    "merging": GROUND
    | {"storage.base", "encoder", "writers.base", "writers.merges", "writers.parts", "writers.shapes"},
    "writers.delta.upkeep": {"merging"},
    "writers.iceberg.upkeep": {"merging"},
    # The configuration knows domains and formats by name.
    "config": LIGHT_GROUND | {"settings.*", "generators", "generators.*.options", "writers"},
    "watch*": GROUND | {"generators.base"},
    # The daemon is given its parts; only these three turn names and configurations into them.
    "run*": GROUND | {"storage.base", *STAGES, *WATCHED},
    "run.factory": {"settings.declaring", "generators", "generators.*.options"},
    "run.assembly": {"config", "generators", "writers"},
    "run.bounded": {"config"},
    "run.existing": {"config"},
    "upkeep*": GROUND | RUN | {"config"},
    "truth*": GROUND | RUN | {"writers.parts", "writers.shapes", "config"},
    "truth.questions": {"sql.session", "sql.statements", "settings.declaring"},
    "truth.repeatable": {"sql.statements"},
    "truth.reference": {"settings.declaring"},
    "verification*": GROUND | RUN | {"config", "upkeep.turn", "truth.oracle"},
    "sql*": GROUND | RUN | {"config", "storage.objects"},
    "cli*": GROUND
    | RUN
    | {
        *("config", "settings.*", "generators", "writers", "watch.*", "upkeep.*", "truth.*", "verification.*", "sql.*"),
    },
    "cli.main": {"__init__"},
    "__init__": GROUND | RUN | {"settings.connections", "writers", "truth.asking", "truth.relations"},
    "__main__": {"cli.entry"},
    "testing*": GROUND | RUN | {"storage.*", "writers.*", "config", "settings.*", "watch.*", "upkeep.*", "truth.*"},
}

# Libraries that only some modules may know.
OWNERS: dict[str, set[str]] = {
    "aiobotocore": {"storage.s3"},
    "aiohttp": {"storage.s3_errors"},
    "botocore": {"storage.s3", "storage.s3_errors"},
    "duckdb": {"duck", "writers.ducklake.*", "sql.*", "truth.questions"},
    "deltalake": {f"writers.delta.{module}" for module in ("following", "summing", "tables", "upkeep", "writer")},
    "fsspec": {"storage.objects"},
    "s3fs": {"storage.s3", "storage.objects"},
    "apscheduler": {"run.schedule", "upkeep.schedule"},
    "starlette": {"watch.server"},
    "uvicorn": {"watch.server"},
    "prometheus_client": {"watch.gauges", "watch.*metrics", "watch.server"},
    "structlog": {"watch.logs"},
    "pydantic": {"settings.rules", "settings.declaring", "config", "settings.connections", "generators.*.options"},
    "pydantic_core": {"settings.rules", "settings.declaring"},
    "yaml": {"settings.yaml_text"},
    "rich": {"cli.liveview", "cli.printing", "cli.upkeepprinting", "cli.preview", "cli.results", "cli.main"},
    "typer": {"cli.main", "cli.options", "cli.querying", "cli.ending"},
}

HEAVY = {"numpy", "polars", "pyarrow"}
LIGHT = LIGHT_GROUND | {
    *("settings*", "storage.base", "config", "run", "run.journal", "cli", "cli.entry", "cli.main"),
    *("cli.options", "cli.querying"),
    *("generators", "generators.*.options", "generators.*.tables", "writers"),
    *("generators.kit", "generators.kit.curve", "generators.kit.limits"),
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


def folder(module: str) -> str:
    """The folder that a module lies in; "" is the package itself."""
    return module if modules()[module].name == "__init__.py" and module != "__init__" else module.rpartition(".")[0]


def allowed(module: str) -> set[str]:
    """What a module may import: its neighbours, and what the table says."""
    listed = (below for entry, below in MAY_IMPORT.items() if fnmatchcase(module, entry))
    return set().union(*listed, (name for name in modules() if folder(module) and folder(name) == folder(module)))


def on_circles(edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """What is left of a graph when, again and again, whatever points nowhere is taken away."""
    graph: dict[str, set[str]] = {}
    for start, end in edges:
        graph.setdefault(start, set()).add(end)
        graph.setdefault(end, set())
    while ends := {name for name, targets in graph.items() if not targets}:
        graph = {name: targets - ends for name, targets in graph.items() if name not in ends}
    return graph


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
        self.assertEqual(homeless, [], "enter their wing into the table")
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

    def test_no_import_comes_back_to_where_it_began(self) -> None:
        self.assertEqual(on_circles((i.module, i.target) for i in imports() if i.ours), {})

    def test_no_wing_imports_one_that_stands_on_it(self) -> None:
        """The package's own folder is the ground of some and the roof of others, and left out."""
        edges = ((folder(i.module), folder(i.target)) for i in imports() if i.ours)
        self.assertEqual(on_circles((a, b) for a, b in edges if a != b and a and b), {})

    def test_a_circle_is_found(self) -> None:
        self.assertEqual(set(on_circles([("a", "b"), ("b", "c"), ("c", "b"), ("b", "d")])), {"a", "b", "c"})

    def test_the_table_is_in_the_order_of_the_floors(self) -> None:
        """So that no two entries may import each other."""
        listed = list(MAY_IMPORT)
        upward = {
            entry: [above for above in listed[place + 1 :] if "*" not in above and above in MAY_IMPORT[entry]]
            for place, entry in enumerate(listed)
        }
        self.assertEqual({entry: above for entry, above in upward.items() if above}, {"cli.main": ["__init__"]})


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
