from __future__ import annotations

import doctest
import re
import unittest
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import MISSING, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import typer

import emitter
from emitter import errors
from emitter.cli import ending
from emitter.cli.main import app
from emitter.config import RELOADABLE, EmitterConfig
from emitter.generators.ecommerce.options import EcommerceArguments, EcommerceOptions
from emitter.model import ChoreReport, RoundReport, VerificationReport
from emitter.settings.declaring import Key, leaf_keys
from emitter.testing import ManualClock
from emitter.watch.board import Board
from emitter.watch.health import Health
from emitter.watch.observer import InputsAhead
from emitter.watch.statuspage import status_document
from emitter.writers import FORMATS, FormatName
from tests.support.metrics_page import full_page, sample_labels
from tests.unit.watch.scripted_daemon import STATUS, commit, step

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "REFERENCE.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def default_text(key: Key) -> str:
    default: Any = key.default
    if default is MISSING:
        return "(required)"
    if default is None:
        return "not given"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if default == ():
        return "none"
    if isinstance(default, tuple):
        return "`{" + ", ".join(f"{name}: {value}" for name, value in default) + "}`"
    return f"`{int(default) if isinstance(default, float) and default == int(default) else default}`"


def field_names(value: Any, path: str = "") -> Iterator[str]:
    """`a.b` for what is in a mapping, `a[].b` for what is in a list of mappings."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from field_names(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and isinstance(value[0], dict):
        for item in value:
            yield from field_names(item, f"{path}[]")
    else:
        yield path


class ReferenceTest(unittest.TestCase):
    def test_every_key_is_documented_with_its_default_and_what_is_allowed(self):
        keys = leaf_keys(EmitterConfig)
        documented = dict.fromkeys(re.findall(r"^\| `([a-z0-9_.]+)` \|", REFERENCE, re.MULTILINE))
        self.assertEqual([name for name in documented if "/" not in name and name in keys], list(keys))
        for path, key in keys.items():
            row = f"| `{path}` | {default_text(key)} | {key.rule.allowed} | {key.doc} |"
            self.assertIn(row, REFERENCE)

    def test_every_verb_and_option_is_documented_and_no_other(self):
        command = typer.main.get_command(app)
        verbs = command.commands  # type: ignore[attr-defined]
        table = REFERENCE.split("## Configuration")[0]
        self.assertEqual(set(re.findall(r"`emitter ([a-z]+)", table)), set(verbs))
        for name, verb in verbs.items():
            row = next(line for line in table.splitlines() if f"`emitter {name}" in line)
            for parameter in verb.params:
                option = max(parameter.opts, key=len)
                if option in ("--help", "--set", "--config") or not option.startswith("--"):
                    continue
                self.assertIn(option, row, name)

    def test_every_metric_is_documented_and_no_other(self):
        named = set(re.findall(r"^# TYPE (emitter_\w+)", full_page(), re.MULTILINE))
        documented = set(re.findall(r"^\| `(emitter_\w+)", REFERENCE, re.MULTILINE))
        self.assertEqual(documented, named)

    def test_the_labels_of_every_metric_are_documented(self):
        found = sample_labels()
        for name, text in re.findall(r"^\| `(emitter_\w+)(?:\{([\w,]+)\})?` \|", REFERENCE, re.MULTILINE):
            labels = found.get(name) if name in found else found[f"{name}_count"]
            self.assertEqual(set(filter(None, text.split(","))), labels, name)

    def test_every_field_of_the_status_is_documented_and_no_other(self):
        board, health = Board(ManualClock()), Health(ManualClock())
        board.watch(lambda: replace(STATUS, ahead=(InputsAhead(1100, ("a: 1, before 2",)),)))
        board.started(STATUS)
        board.stepped(step(), STATUS)
        board.committed(commit("orders", 1, "error"))
        board.maintained(ChoreReport("vacuum", "orders"))
        board.round_ended(RoundReport("ok"))
        rows, files = dict.fromkeys(("lost", "duplicated", "altered", "unexpected"), 0), {"broken": 0, "misshapen": 0}
        board.verified(VerificationReport("ok", wrong_rows={"orders": rows}, wrong_files={"orders": files}))
        fields = list(dict.fromkeys(field_names(status_document(board.picture(), health, version="1"))))
        table = REFERENCE.split("| field of `/api/status` |")[1].split("\n\n")[0]
        self.assertEqual(re.findall(r"^\| `([a-z_.\[\]]+)` \|", table, re.MULTILINE), fields)

    def test_every_exit_code_is_documented(self):
        codes = {
            kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")
        }
        documented = {int(code) for code in re.findall(r"^\| (\d) \|", REFERENCE, re.MULTILINE)}
        self.assertEqual(documented, codes | {0, ending.DIFFERENCE_EXIT_CODE, ending.UNWRITTEN_EXIT_CODE})

    def test_what_a_reload_takes_over_is_documented(self):
        sentence = REFERENCE.split("SIGHUP takes over")[1].split("names what else")[0]
        self.assertEqual(set(re.findall(r"`([a-z_.]+)`", sentence)), set(RELOADABLE))


class ReadmeTest(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
            for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_the_python_example_runs(self):
        example = next(
            block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "create_generator" in block
        )
        names: dict[str, Any] = {}
        with TemporaryDirectory() as folder:
            exec(example.replace("data/week", folder), names)
            self.assertTrue(list((Path(folder) / "orders").rglob("*.parquet")))

    def test_the_public_names_are_few_and_listed(self):
        self.assertEqual(
            emitter.__all__,
            [
                *("CatalogConfig", "ConfigurationError", "EmitterError", "GeneratorBase", "PartitionSpec", "S3Config"),
                *("TableWriter", "UsageError", "WriterOptions", "__version__", "create_generator", "create_writer"),
                *("expect", "open_run", "query", "relation", "scan", "verify", "write_dataset"),
            ],
        )
        for name in emitter.__all__:
            self.assertIsNotNone(getattr(emitter, name))

    def test_every_public_name_has_an_example_that_runs(self):
        finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(verbose=False)
        with TemporaryDirectory() as folder, chdir(folder):
            for name in emitter.__all__:
                if name == "__version__":
                    continue
                (found,) = finder.find(getattr(emitter, name), name, globs={})
                with self.subTest(name):
                    said: list[str] = []
                    self.assertTrue(found.examples)
                    self.assertEqual(runner.run(found, out=said.append).failed, 0, "".join(said))

    def test_editors_know_every_option_of_the_shop(self):
        declared = {field.name for field in fields(EcommerceOptions)}
        self.assertEqual(set(EcommerceArguments.__annotations__), declared)
        self.assertEqual(set(get_args(FormatName)), set(FORMATS))

    def test_help_names_every_option_of_the_shop(self):
        help_text = emitter.create_generator.__doc__ or ""
        for field in fields(EcommerceOptions):
            self.assertRegex(help_text, rf"\b{field.name}\b")


class MakefileTest(unittest.TestCase):
    def test_the_targets_run_every_file_of_tests_once(self) -> None:
        root = Path(__file__).parents[2]
        makefile = (root / "Makefile").read_text().replace("\\\n", " ")
        for target, kind in (("test", "test*.py"), ("test-long", "long_*.py")):
            (groups,) = re.findall(rf"^{target}:.*\n\t@scripts/test-side-by-side.sh (.*)", makefile, re.MULTILINE)
            named = (files.partition("/") for files in groups.replace('"', " ").split())
            found = [path for below, _, pattern in named for path in (root / "tests" / below).rglob(pattern)]
            wanted = [path for path in (root / "tests").rglob(kind) if path.parent.name != "support"]
            self.assertEqual(sorted(found), sorted(wanted))


if __name__ == "__main__":
    unittest.main()
