"""The same as in test_fuzz, thousands of times: in a soak 17,000."""

from __future__ import annotations

import unittest

from tests.simulation import fuzzing
from tests.support.effort import count


class LongFuzzTest(unittest.TestCase):
    def test_configurations(self):
        fuzzing.configuration(self, count(12_000))

    def test_arguments(self):
        fuzzing.arguments(self, count(3_000))

    def test_stored_state(self):
        fuzzing.stored_state(self, count(2_000))


if __name__ == "__main__":
    unittest.main()
