"""uv.lock names only the public index, pins every file by hash, and fits pyproject.toml."""

from __future__ import annotations

import re
import tomllib
import unittest
from pathlib import Path
from typing import Any

import emitter

PROJECT = Path(__file__).parents[2]
LOCK_TEXT = (PROJECT / "uv.lock").read_text(encoding="utf-8")
LOCK: dict[str, Any] = tomllib.loads(LOCK_TEXT)
PYPROJECT: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[str]) -> set[str]:
    """The bare names of requirements such as `pyiceberg[sql-sqlite]>=0.12`."""
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


class LockTest(unittest.TestCase):
    def setUp(self) -> None:
        self.packages = {package["name"]: package for package in LOCK["package"]}
        self.emitter = self.packages.pop("emitter")

    def test_only_the_public_index_is_named(self) -> None:
        hosts = set(re.findall(r"[a-z+]+://([^/\"]*)", LOCK_TEXT))
        self.assertEqual(hosts, {"pypi.org", "files.pythonhosted.org"})

    def test_every_package_comes_from_the_index(self) -> None:
        for name, package in self.packages.items():
            self.assertEqual(package["source"], {"registry": "https://pypi.org/simple"}, name)

    def test_every_file_has_a_hash(self) -> None:
        for name, package in self.packages.items():
            files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
            self.assertTrue(files, name)
            for file in files:
                self.assertRegex(file["hash"], r"^sha256:[0-9a-f]{64}$", file["url"])

    def test_every_package_comes_as_a_wheel(self) -> None:
        """Nothing has to be built when it is installed: what a build fetches, no hash would hold."""
        for name, package in self.packages.items():
            self.assertTrue(package.get("wheels"), name)

    def test_uv_itself_is_held_to_hashes(self) -> None:
        lines = (PROJECT / "scripts" / "uv.txt").read_text(encoding="utf-8").splitlines()
        pinned, *hashes = [line for line in lines if not line.startswith("#")]
        self.assertRegex(pinned, r"^uv==\d+\.\d+\.\d+ \\$")
        self.assertGreater(len(hashes), 10)
        for line in hashes:
            self.assertRegex(line, r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")

    def test_the_lock_has_the_requirements_of_the_project(self) -> None:
        project = PYPROJECT["project"]
        extras = project["optional-dependencies"]
        locked = self.emitter["metadata"]
        self.assertEqual(self.emitter["version"], project["version"])
        self.assertEqual(emitter.__version__, project["version"])
        self.assertEqual(LOCK["requires-python"], project["requires-python"])
        self.assertEqual(
            {requirement["name"] for requirement in locked["requires-dist"]},
            names(project["dependencies"]).union(*map(names, extras.values())),
        )
        self.assertEqual(set(locked["provides-extras"]), set(extras))
        self.assertEqual(
            {requirement["name"] for requirement in locked["requires-dev"]["dev"]},
            names(PYPROJECT["dependency-groups"]["dev"]),
        )

    def test_the_extra_all_is_all_extras(self) -> None:
        extras = dict(PYPROJECT["project"]["optional-dependencies"])
        (everything,) = extras.pop("all")
        self.assertEqual(everything, f"emitter[{','.join(extras)}]")

    def test_what_content_depends_on_is_pinned(self) -> None:
        self.assertIn(f"tzdata=={self.packages['tzdata']['version']}", PYPROJECT["project"]["dependencies"])


if __name__ == "__main__":
    unittest.main()
