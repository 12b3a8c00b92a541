"""Every alert has a page and every page an alert; what pages and the operations manual tell somebody to use exists."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

import typer

from emitter.cli.main import app
from emitter.config import EmitterConfig
from emitter.settings.declaring import leaf_keys
from tests.support.metrics_page import sample_labels
from tests.unit.test_alerts import ROOT, alerts

RUNBOOKS = ROOT / "docs" / "runbooks"
OPERATIONS = ROOT / "docs" / "OPERATIONS.md"


def pages() -> dict[Path, str]:
    return {path: path.read_text("utf-8") for path in (OPERATIONS, *sorted(RUNBOOKS.glob("*.md")))}


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> list[tuple[str, str]]:
    """(verb, what follows) of every call of emitter, in the text and in examples."""
    return re.findall(r"(?:^\$ |`)emitter (\w+)([^`\n]*)", text, re.MULTILINE)


class RunbooksTest(unittest.TestCase):
    def test_every_alert_leads_to_its_page_and_every_page_is_of_an_alert(self) -> None:
        urls = {name: rule["annotations"]["runbook_url"] for name, rule in alerts().items()}
        self.assertEqual(urls, {path.stem: f"docs/runbooks/{path.name}" for path in RUNBOOKS.iterdir()})

    def test_every_page_says_how_urgent_it_is_where_to_look_what_to_do_and_when_to_ignore_it(self) -> None:
        for name, rule in alerts().items():
            text = (RUNBOOKS / f"{name}.md").read_text("utf-8")
            self.assertTrue(text.startswith(f"# {name}\n\n**{rule['labels']['severity'].capitalize()}.** "), name)
            self.assertEqual(re.findall(r"^## (.*)$", text, re.MULTILINE), ["Look at", "Do", "Ignore it when"], name)

    def test_every_verb_and_option_exists(self) -> None:
        verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
        for path, text in pages().items():
            for verb, rest in commands(text):
                self.assertIn(verb, verbs, path.name)
                known = {option for parameter in verbs[verb].params for option in parameter.opts}
                used = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", rest.partition("#")[0]))
                self.assertLessEqual(used, known, f"{path.name}: {verb}")

    def test_every_key_exists(self) -> None:
        keys = set(leaf_keys(EmitterConfig))
        sections = {key.partition(".")[0] for key in keys if "." in key}
        for path, text in pages().items():
            named = set(re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.0-9]+)(?::[^`]*)?`", text))
            self.assertLessEqual(named, keys, path.name)

    def test_every_metric_exists(self) -> None:
        names = sample_labels()
        for path, text in pages().items():
            for name in re.findall(r"\bemitter_[a-z_]+\b", text):
                self.assertTrue(name in names or f"{name}_count" in names, f"{path.name}: {name}")

    def test_every_link_to_a_heading_leads_to_one(self) -> None:
        for path, text in pages().items():
            for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", text):
                page = path.parent / target if target else path
                self.assertIn(anchor, anchors(page), f"{path.name}: {target}")


if __name__ == "__main__":
    unittest.main()
