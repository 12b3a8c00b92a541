"""The same as in test_fuzz, 17,000 times."""

from __future__ import annotations

import unittest

from tests.simulation import fuzzing


class LongFuzzTest(unittest.TestCase):
    def test_configurations(self):
        fuzzing.configuration(self, 12_000)

    def test_arguments(self):
        fuzzing.arguments(self, 3_000)

    def test_stored_state(self):
        fuzzing.stored_state(self, 2_000)


if __name__ == "__main__":
    unittest.main()
