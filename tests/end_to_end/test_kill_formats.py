"""`kill -9` at any moment, in every format, on disk and on S3, with one shard and with two at once."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emitter.errors import MissingJournalError
from emitter.truth import oracle
from tests.simulation.test_formats import FormatCase
from tests.support.effort import new_seed
from tests.support.places import TARGETS, Target
from tests.support.shop import finish, settled, shop_daemon
from tests.support.slayer import Slayer

SLOW: dict[str, Any] = {"clock__batch_seconds": 10, "ecommerce__orders_per_second": 0.2}


class KillCase(FormatCase):
    def kill_often(self, target: Target, times: int, shards: int) -> None:
        """Kill a run so often, looking after each time; then let it come to an end, and look at all of it."""
        seed = new_seed()
        with self.subTest(target=str(target), shards=shards, seed=seed):
            place = self.place(target)
            configs = [place.config(**SLOW, shard__count=shards, shard__index=index) for index in range(shards)]
            slayer = Slayer(place, Path(self.enterContext(TemporaryDirectory())), seed, shards, SLOW)
            moments = []
            for _ in range(times):
                moments.append(slayer.run_and_kill())
                try:
                    verification = oracle.verify(configs[0])
                except MissingJournalError:  # it was killed before there was anything
                    continue
                # A shard that was killed early is behind the others, and a single one never is.
                self.assertFalse(verification.is_wrong, (moments, verification))
                self.assertTrue(verification.ok or shards > 1, (moments, verification))
            until = settled(*configs) + 25
            for config in configs:
                with shop_daemon(config, until=until) as daemon:
                    finish(daemon)
            self.assert_exact(place, until, **{**SLOW, "shard__count": shards})


class KillFormatsTest(KillCase):
    def test_kill_9_at_any_moment_in_every_format(self):
        for target in TARGETS[1:5]:
            self.kill_often(target, times=1, shards=1)

    def test_kill_9_of_two_shards_at_once(self):
        self.kill_often(TARGETS[1], times=1, shards=2)
