"""Two shards become four and two again, with other rates, as a StatefulSet rolls it out: pods of the old configuration
run beside those of the new one and are killed on the way, and every row is there once.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from emitter.run.assembly import configured_writer
from emitter.run.entries import FOLDER
from emitter.truth import oracle
from tests.simulation.test_formats import FormatCase, truth
from tests.support.effort import new_seed, some
from tests.support.places import TARGETS, Place, Target
from tests.support.pods import OVERTAKEN, Pods
from tests.support.shop import run, settled

# A change comes into force beyond the last seal, ten minutes of real time ahead. Each configuration runs so much faster
# than the one before that it gets there within seconds.
ONE: dict[str, Any] = {"revision": 1, "clock__speed": 0.5, "clock__batch_seconds": 3, "ecommerce__orders_per_second": 1}
TWO: dict[str, Any] = {
    "revision": 2,
    "clock__speed": 50,
    "clock__batch_seconds": 180,
    "ecommerce__orders_per_second": 0.05,
}
THREE: dict[str, Any] = {**TWO, "revision": 3, "clock__speed": 5000, "clock__batch_seconds": 21_600}
LAST: dict[str, Any] = {**THREE, "revision": 4, "clock__speed": "max", "clock__batch_seconds": 86_400}
GRACE_SECONDS = 30.0


class LongRolloutTest(FormatCase):
    def test_two_shards_become_four_and_two_again_while_pods_are_killed(self):
        self.roll_out(Target("parquet", "s3"))

    def test_each_pod_may_be_killed_once_more_at_any_moment(self):
        seed = new_seed()
        for target in some((target for target in TARGETS if target.storage == "s3"), seed):
            with self.subTest(target=str(target), seed=seed):
                self.roll_out(target, Random(f"{target} {seed}"))

    def roll_out(self, target: Target, random: Random | None = None) -> None:
        """The whole sequence; with `random`, every pod is killed once more at any moment."""
        place = self.place(target)
        pods = Pods(place, Path(self.enterContext(TemporaryDirectory())), random)
        self.addCleanup(pods.close)
        first = [pods.start(index, 2, **ONE) for index in range(2)]
        pods.wait_until(lambda: all(pod.reached for pod in first), "a batch of both shards")

        second = {index: pods.start(index, 4, **TWO) for index in (3, 2)}
        pods.wait_until(lambda: any('"action": "start"' in pod.said for pod in second.values()), "a new pod's start")
        first[0].kill()  # and comes back with the old count
        pods.wait_until(lambda: '"action": "outdated"' in first[0].said, "the old pod's return")
        first[1].take_away(grace_seconds=0)
        second[1] = pods.start(1, 4, **TWO)
        first[0].take_away(GRACE_SECONDS)
        second[0] = pods.start(0, 4, **TWO)
        edge = pods.edge()
        pods.wait_until(lambda: all(pod.reached > edge for pod in second.values()), "a batch of all four")

        second[3].take_away(GRACE_SECONDS)
        second[2].take_away(grace_seconds=0)
        second[1].take_away(grace_seconds=0)
        third = [pods.start(1, 2, **THREE)]
        second[0].take_away(GRACE_SECONDS)
        third += [pods.start(0, 2, **THREE)]
        pods.wait_until(lambda: '"action": "start"' in third[0].said, "the change to two shards")
        edge, forgotten = pods.edge(), pods.start(2, 4, **{**THREE, "revision": 2})
        pods.wait_until(lambda: all(pod.reached > edge for pod in third), "a batch of both shards again")
        pods.wait_until(lambda: OVERTAKEN in forgotten.exits, "the end of a forgotten pod")
        pods.close()
        self.assertEqual(pods.counts(), [2, 4, 2])
        self.assert_whole(place)

    def assert_whole(self, place: Place) -> None:
        """Bring both shards to one end: then every row is there once, for other readers too, and as one process writes
        it that is never disturbed.
        """
        shards = [place.config(**LAST, shard__count=2, shard__index=index) for index in range(2)]
        until = settled(*shards) + 25
        for config in shards:
            run(config, until)
        expected = truth(shards[0], until)
        self.assertEqual(place.digests(), expected)
        self.assertEqual(self.undisturbed(place, until).digests(), expected)
        verification = oracle.verify(shards[0])
        self.assertTrue(verification.ok, verification)

    def undisturbed(self, place: Place, until: int) -> Place:
        """What one process writes by the same journal, on a disk."""
        alone, storage = self.place(Target("parquet")), configured_writer(place.config()).storage
        for entry in storage.list(FOLDER):
            path = Path(alone.uri, FOLDER, entry.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(storage.read(f"{FOLDER}/{entry.name}"))
        run(alone.config(**{**LAST, "revision": 5}), until)
        return alone
