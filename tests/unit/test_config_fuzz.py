"""Anything at all as a configuration: accepted, or refused in order."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.config import load_config, validate
from emitter.errors import ConfigurationError
from emitter.settings.declaring import flatten
from tests.unit.config_case import KEYS, nested

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**5000), max_value=2**5000)
    | st.floats()
    | st.text()
    | st.dates()
    | st.datetimes()
    | st.sampled_from(["now", "max", "orders", "customers", "day", "Europe/Paris", "2026-11-27", "ecommerce"])
)
NAMES = (
    st.sampled_from([*{part for path in KEYS for part in path.split(".")}, "x"]) | st.text() | st.integers() | st.none()
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)
SECTIONS = {path.split(".", 1)[0] for path in KEYS if "." in path}
NEAR = st.fixed_dictionaries(  # of the right shape, so that the fuzz gets past the first level
    {},
    optional={
        section: st.dictionaries(
            st.sampled_from([path.split(".")[1] for path in KEYS if path.startswith(f"{section}.")]), ANYTHING
        )
        for section in sorted(SECTIONS)
    },
)


class AnythingAtAll(unittest.TestCase):
    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(ANYTHING | NEAR)
    def test_a_mapping_is_accepted_or_refused_in_order(self, mapping: Any) -> None:
        try:
            accepted = validate(mapping)
        except ConfigurationError as error:
            self.assertTrue(error.faults)
            error.report().encode()  # printable wherever it goes
        else:
            self.assertEqual(validate(nested(flatten(accepted))), accepted)

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(
        st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,? \n\t0123456789.\x00é\ud800=<~") | st.text(max_size=20),
        st.lists(st.text(max_size=20), max_size=2),
    )
    def test_text_is_read_or_refused_in_order(self, text: str, sets: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.yaml"
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            try:
                load_config(path, [*sets, f"seed={text}"], {"EMITTER_SEED": text})
            except ConfigurationError as error:
                error.report().encode()


if __name__ == "__main__":
    unittest.main()
