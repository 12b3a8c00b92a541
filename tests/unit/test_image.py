"""What of the image can be seen without building it; tests/end_to_end/system_image.py builds and runs it."""

from __future__ import annotations

import re
import subprocess
import sys
import unittest
from pathlib import Path

import emitter
from emitter.config import load_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
DOCKERFILE = FOLDER / "Dockerfile"
TEXT = DOCKERFILE.read_text("utf-8")


class ImageTest(unittest.TestCase):
    def test_hadolint_has_nothing_to_say(self) -> None:
        hadolint = Path(sys.executable).with_name("hadolint")
        result = subprocess.run([hadolint, DOCKERFILE], check=False, capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_the_label_names_the_version(self) -> None:
        self.assertIn(f'org.opencontainers.image.version="{emitter.__version__}"', TEXT)

    def test_the_context_holds_what_is_copied_and_nothing_else(self) -> None:
        copied = {
            source.rstrip("/")
            for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE)
            for source in line.split()[:-1]
        }
        known = set(re.findall("^!/(.*)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
        for source in copied:
            self.assertTrue((ROOT / source).exists(), source)
            self.assertTrue({source, str(Path(source).parent)} & known, f"{source} is not in .dockerignore")
        for name in known:
            self.assertTrue(any(source == name or Path(source).parent == Path(name) for source in copied), name)

    def test_its_configuration_is_right_and_within_its_places(self) -> None:
        config = load_config(FOLDER / "emitter.yaml", [], {})
        self.assertEqual(config.output.uri, "/var/lib/emitter/shop")
        self.assertEqual((config.server.host, config.server.port), ("0.0.0.0", 9108))
        for line in ("VOLUME /var/lib/emitter", "EXPOSE 9108", "USER 65532:65532"):
            self.assertIn(f"\n{line}\n", TEXT)


if __name__ == "__main__":
    unittest.main()
