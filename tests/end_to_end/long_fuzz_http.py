"""The same as in test_fuzz_http, 4,000 times."""

from __future__ import annotations

import unittest

from tests.end_to_end.test_fuzz_http import HttpFuzzCase


class LongHttpFuzzTest(HttpFuzzCase):
    def test_requests_of_any_kind(self) -> None:
        self.fuzz(4_000)


if __name__ == "__main__":
    unittest.main()
