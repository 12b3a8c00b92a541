"""The units of deploy/systemd, as far as that can be seen without systemd."""

from __future__ import annotations

import unittest
from pathlib import Path

from emitter.storage.objects import OPERATION_SECONDS_MAX
from emitter.storage.s3 import ATTEMPTS_MAX, READ_SECONDS_MAX
from emitter.watch.supervisor import FEEDS_PER_TIMEOUT

FOLDER = Path(__file__).parents[2] / "deploy/systemd"
SERVICE = (FOLDER / "emitter.service").read_text().splitlines()
SHARD = (FOLDER / "emitter@.service").read_text().splitlines()


def minutes(key: str) -> int:
    (value,) = (line.partition("=")[2] for line in SERVICE if line.startswith(f"{key}="))
    return int(value.removesuffix("min"))


class UnitsTest(unittest.TestCase):
    def test_a_shard_is_the_service_but_for_what_tells_shards_apart(self) -> None:
        self.assertEqual(len([line for line in SERVICE if line not in SHARD]), 1)  # its description
        own = [line for line in SHARD if line not in SERVICE and not line.startswith("#")]
        self.assertEqual(
            own[1:],
            [
                "Conflicts=emitter.service",
                "After=emitter.service",
                "Environment=EMITTER_SHARD__INDEX=%i EMITTER_SERVER__PORT=0",
                "EnvironmentFile=-/etc/emitter/%i.env",
            ],
        )
        self.assertEqual([line for line in SHARD if line in SERVICE], [line for line in SERVICE if line in SHARD])

    def test_calls_to_storage_end_before_the_watchdog_strikes(self) -> None:
        self.assertLess(OPERATION_SECONDS_MAX, minutes("WatchdogSec") * 60 * (1 - 1 / FEEDS_PER_TIMEOUT))

    def test_requests_that_are_never_answered_end_before_a_stop_does(self) -> None:
        """Where each attempt is sent twice, as the library below may."""
        self.assertLess(2 * ATTEMPTS_MAX * READ_SECONDS_MAX, minutes("TimeoutStopSec") * 60)


if __name__ == "__main__":
    unittest.main()
