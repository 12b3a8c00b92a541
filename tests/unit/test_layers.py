"""Who may import whom. A new module must be entered here: where it stands is a decision."""

from __future__ import annotations

import ast
import subprocess
import sys
import unittest
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "emitter"

# Lower layers first. A name is a module below `emitter`, or a pattern for a family of them; a package's
# own name is its __init__.py.
FOUNDATION = {"errors", "model", "clock", "randomness", "partitioning", "storage"}
LIGHT_FOUNDATION = FOUNDATION - {"randomness"}
STAGES = {"config", "journal", "encoder", "generators", "generators.base", "writers", "writers.base"}
BELOW_DAEMON = FOUNDATION | {"yaml_text", "settings", "observer", "arrow"} | STAGES
BELOW_SURFACES = BELOW_DAEMON | {"daemon", "oracle"}
SURFACES = {"metrics", "logs", "schedule", "server", "liveview"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "clock": {"errors", "model"},
    "randomness": {"errors", "model"},
    "storage": {"errors", "model"},
    "partitioning": {"errors", "model", "clock"},
    "yaml_text": LIGHT_FOUNDATION,
    "settings": LIGHT_FOUNDATION,
    "observer": LIGHT_FOUNDATION,
    "arrow": FOUNDATION,
    # The stages know nothing of each other, except that the configuration knows domains and formats by name.
    "generators.base": FOUNDATION | {"arrow"},
    "generators.chains": FOUNDATION,
    "generators.ecommerce.*": FOUNDATION
    | {"settings", "arrow", "generators.base", "generators.chains", "generators.ecommerce.*"},
    "generators.ecommerce": LIGHT_FOUNDATION | {"generators.ecommerce.*"},
    "generators": LIGHT_FOUNDATION | {"generators.base"},
    "encoder": FOUNDATION | {"arrow"},
    "writers.base": LIGHT_FOUNDATION,
    "writers.parquet": FOUNDATION | {"arrow", "writers.base"},
    "writers": LIGHT_FOUNDATION | {"writers.base"},
    "journal": LIGHT_FOUNDATION,
    "config": LIGHT_FOUNDATION | {"settings", "yaml_text", "generators", "generators.*.options", "writers"},
    # Where stages meet: by their bases and names, never by a certain domain or format.
    "daemon": BELOW_DAEMON,
    "oracle": BELOW_DAEMON,
    "metrics": BELOW_SURFACES,
    "logs": BELOW_SURFACES,
    "schedule": BELOW_SURFACES,
    "server": BELOW_SURFACES | {"metrics"},
    "liveview": BELOW_SURFACES,
    "cli": BELOW_SURFACES | SURFACES,
    "testing": BELOW_SURFACES | SURFACES,
    "__init__": BELOW_SURFACES,
    "__main__": {"cli"},
}

# Libraries that only some modules may know.
OWNERS: dict[str, set[str]] = {
    "apscheduler": {"schedule"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "prometheus_client": {"metrics", "server"},
    "pydantic": {"settings", "config", "generators.*.options"},
    "pydantic_core": {"settings"},
    "yaml": {"yaml_text", "config"},
    "rich": {"liveview", "cli"},
    "typer": {"cli"},
}

HEAVY = {"numpy", "polars", "pyarrow"}
LIGHT = LIGHT_FOUNDATION | {
    *("yaml_text", "settings", "config", "journal", "observer", "cli"),
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


def imports() -> Iterator[Import]:
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

    for module, path in modules().items():
        yield from walk(module, ast.parse(path.read_text(encoding="utf-8")), True)


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

    def test_no_module_imports_above_itself(self) -> None:
        upward = [str(i) for i in imports() if i.ours and not matches(i.target, allowed(i.module))]
        self.assertEqual(upward, [])

    def test_libraries_stay_with_their_owners(self) -> None:
        strays = [
            str(i) for i in imports() if not i.ours and not matches(i.module, OWNERS.get(i.target, {"*"}))
        ]
        self.assertEqual(strays, [])

    def test_light_modules_import_heavy_libraries_late(self) -> None:
        early = [str(i) for i in imports() if i.early and i.target in HEAVY and matches(i.module, LIGHT)]
        self.assertEqual(early, [])

    def test_the_table_is_in_the_order_of_the_layers(self) -> None:
        """So no two entries may import each other."""
        listed = list(MAY_IMPORT)
        upward = {
            module: MAY_IMPORT[module] & set(listed[place + 1 :]) for place, module in enumerate(listed)
        }
        self.assertEqual({module: above for module, above in upward.items() if above}, {})


class LoadingTest(unittest.TestCase):
    def test_help_loads_nothing_heavy(self) -> None:
        for arguments in (["--help"], ["run", "--help"]) if "cli" in modules() else ():
            with self.subTest(arguments):
                packages = loaded("-m", "emitter", *arguments)
                self.assertIn("typer", packages)
                self.assertEqual(packages & HEAVY, set())

    def test_importing_the_public_api_loads_nothing_heavy(self) -> None:
        packages = loaded("-c", "import emitter")
        self.assertIn("emitter", packages)
        self.assertEqual(packages & (HEAVY | set(OWNERS)), set())

    def test_using_the_public_api_loads_no_scheduler_server_or_command_line(self) -> None:
        packages = loaded(
            "-c", "import emitter\nfor name in getattr(emitter, '__all__', ()): getattr(emitter, name)"
        )
        self.assertEqual(packages & {"apscheduler", "starlette", "uvicorn", "typer", "rich"}, set())


if __name__ == "__main__":
    unittest.main()
