"""The same as in test_rollout, in formats with a log too, and every pod is killed once more at any moment."""

from __future__ import annotations

import os
from random import Random, SystemRandom

from tests.end_to_end.test_rollout import RolloutCase
from tests.support.places import TARGETS

OUTPUTS = {"parquet-s3": 2, "delta-s3": 1, "iceberg-s3-postgres": 1}


class LongRolloutTest(RolloutCase):
    def test_two_shards_become_four_and_two_again_in_formats_of_each_kind(self):
        for target in TARGETS:
            for number in range(OUTPUTS.get(str(target), 0)):
                seed = int(os.environ.get("EMITTER_KILL_SEED", SystemRandom().randrange(2**32))) + number
                with self.subTest(target=str(target), seed=seed):
                    self.roll_out(target, Random(seed))
