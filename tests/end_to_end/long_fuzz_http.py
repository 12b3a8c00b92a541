"""The same as in test_fuzz_http, many times: in a soak 4,000."""

from __future__ import annotations

import unittest

from tests.end_to_end.test_fuzz_http import HttpFuzzCase
from tests.support.effort import count


class LongHttpFuzzTest(HttpFuzzCase):
    def test_requests_of_any_kind(self) -> None:
        self.fuzz(count(4_000))


if __name__ == "__main__":
    unittest.main()
