"""What the tests of the configuration share: configurations that are right but for what is tried, and their faults."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

from emitter.config import EmitterConfig, load_config, validate
from emitter.errors import ConfigurationError, Fault
from emitter.settings.declaring import leaf_keys

ROOT = Path(__file__).parents[2]
KEYS = leaf_keys(EmitterConfig)


def config(**sections: Any) -> EmitterConfig:
    return validate({"output": {"uri": "./data"}, **sections})


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Paths opened into sections."""
    mapping: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, name = path.split(".")
        node = mapping
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
    return mapping


def at(path: str, value: Any) -> dict[str, Any]:
    """A mapping that is right but for one value."""
    return nested({"output.uri": "./data", path: value})


class ConfigTest(unittest.TestCase):
    def faults_of(self, mapping: Any) -> dict[str, Fault]:
        with self.assertRaises(ConfigurationError) as caught:
            validate(mapping)
        return {fault.path: fault for fault in caught.exception.faults}

    def load(self, text: str | bytes, sets: tuple[str, ...] = (), **environ: str) -> EmitterConfig:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "shop.yaml"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            return load_config(path, sets, environ)

    def load_faults(self, text: str | bytes, sets: tuple[str, ...] = (), **environ: str) -> list[Fault]:
        with self.assertRaises(ConfigurationError) as caught:
            self.load(text, sets, **environ)
        return list(caught.exception.faults)
