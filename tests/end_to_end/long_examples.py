"""The same as in test_examples, on S3 too, for eight batches, and with the verbs that only look."""

from __future__ import annotations

from typing import ClassVar

from tests.end_to_end import test_examples


class LongExamplesTest(test_examples.ExamplesTest):
    examples: ClassVar = test_examples.EXAMPLES
    verbs: ClassVar[dict[str, tuple[str, ...]]] = {
        "check": (),
        "run": ("--no-live", "--batches=8"),
        "verify": (),
        "status": (),
    }
