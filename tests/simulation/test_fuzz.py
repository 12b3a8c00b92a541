"""Whatever a configuration, a command line or stored state holds: no traceback, no secret, nothing written. The many
cases are in long_fuzz.
"""

from __future__ import annotations

import unittest

from tests.simulation import fuzzing


class FuzzTest(unittest.TestCase):
    def test_configurations(self):
        fuzzing.configuration(self, 200)

    def test_arguments(self):
        fuzzing.arguments(self, 60)

    def test_stored_state(self):
        fuzzing.stored_state(self, 60)


if __name__ == "__main__":
    unittest.main()
