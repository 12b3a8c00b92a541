"""A shop that runs while S3 or its catalogue misbehaves: a mishap in each part of the run, then every row once.

    ordeal = Ordeal(case, target, seed)
    ordeal.begin()                    # what there is to strike
    for mishap in ordeal.choose(8):
        ordeal.endure(mishap)         # a daemon starts, meets it, and goes on; or it ends with 4, and another goes on
    ordeal.end()

A mishap strikes by what a request is for, as in `PUT data`, so that the rare ones are struck as often as the many.
Which there are follows from a seed; which of two requests is the first, where threads send them, does not. The daemon
has keys with a session token. No message may hold one of its secrets.
"""

from __future__ import annotations

import io
import json
import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any
from unittest.mock import patch

from botocore.retries.standard import ExponentialBackoff

from emitter.config import EmitterConfig
from emitter.errors import EmitterError, StateError
from emitter.testing import ManualClock
from emitter.watch import logs
from emitter.writers import registering
from tests.simulation.test_formats import BATCH_SECONDS, CHANGES, FormatCase
from tests.support import postgres, s3_server
from tests.support.places import Place, Target
from tests.support.proxy import HttpProxy, TcpProxy
from tests.support.shop import finish, shop_daemon
from tests.support.wire_faults import Action, Exchange, Hold, Request, answer, cut, cut_reply, lose_reply, slow

PURPOSES = {
    "listing": r"[?&](list-type|prefix|delimiter)=",
    "check": r"/_emitter/check-",
    "journal": r"/_emitter/journal/",
    "staged": r"/_emitter/staging/",
    "data": r"/year=\d",
    "progress": r"/_emitter/progress/",
    "log": r"/(_delta_log|metadata)/",
}
"""What a request to S3 is for, by its path: the first that fits."""
CATALOG = "catalog"
STATEMENTS = ("BEGIN", "SELECT", "INSERT", "UPDATE", "COMMIT", "COPY")
"""What a client says to Postgres, in what it sends in one go."""


BEGINNING = {
    "parquet": ("progress", "PUT"),
    "delta": ("log", "PUT"),
    "iceberg": ("log", "PUT"),
    "ducklake": (CATALOG, "COMMIT"),
}
"""The first of these requests creates a table, or what counts its rows."""


def arrive_late(exchange: Exchange) -> None:
    """Until then the transaction holds what it has locked, and whoever wants it waits."""
    exchange.cut()
    time.sleep(0.5)
    exchange.forward()


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>said by the tests</Message></Error>".encode()


ON_THE_WIRE: dict[str, Callable[[], Action]] = {
    "cut": lambda: cut,
    "reply lost": lambda: lose_reply,
    "reply cut": lambda: cut_reply(200),
    "slow": lambda: slow(0.2),
    "landing late": Hold,
}
BY_POSTGRES: dict[str, Callable[[], Action]] = {**ON_THE_WIRE, "landing late": lambda: arrive_late}
BY_S3: dict[str, Callable[[], Action]] = {
    **ON_THE_WIRE,
    "403": lambda: answer(403, body=refusal("AccessDenied")),
    "404": lambda: answer(404, body=refusal("NoSuchKey")),
    "500": lambda: answer(500, body=refusal("InternalError")),
    "500 but landed": lambda: answer(500, body=refusal("InternalError"), landed=True),
    "503": lambda: answer(503, {"Retry-After": "1"}, refusal("SlowDown")),
}
FOR_GOOD = {"cut", "reply lost", "403", "500", "503"}
"""Those that may be the last word too."""


@dataclass(frozen=True)
class Mishap:
    """What is done to the nth request of a purpose, or to all from it on."""

    action: str
    purpose: str
    method: str
    nth: int = 1
    for_good: bool = False

    def __str__(self) -> str:
        which = f"from request {self.nth} on" if self.for_good else f"request {self.nth}"
        return f"{self.action}: {self.method} {self.purpose}, {which}"


class Watch(logs.LogLines):
    """All that the daemon says: its log lines, and each error with everything that led to it."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = io.StringIO()

    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        super().waiting_to_retry(error, attempt, attempts_max, wait_seconds)
        self.add(error)

    def add(self, error: EmitterError) -> None:
        self.stream.write("".join([error.report(), *traceback.format_exception(error)]))


class Ordeal:
    """One place of a target on S3, with a proxy before S3, and one before Postgres where the catalogue is there."""

    def __init__(self, case: FormatCase, target: Target, seed: int) -> None:
        self._case, self._seed, self._until = case, seed, 0
        self._random = Random(f"{target} {seed}")
        case.enterContext(patch.object(ExponentialBackoff, "delay_amount", lambda *_: 0.01))
        case.enterContext(patch.object(registering, "ATTEMPTS_MAX", 3))
        self.place: Place = case.place(target)
        self.watch, self.kinds = Watch(), Counter[tuple[str, str]]()
        self.proxy = case.enterContext(HttpProxy(s3_server.shared().address))
        self._changes: dict[str, Any] = {
            **CHANGES,
            "output__s3__endpoint_url": self.proxy.endpoint_url,
            "output__retry_attempts_max": 2,
            "output__retry_wait_seconds_max": 0.1,
        }
        self.catalog_proxy: TcpProxy | None = None
        if target.catalog == "postgres":
            server = postgres.shared()
            self.catalog_proxy = case.enterContext(TcpProxy(server.address))
            uri = self.place.changes["output.catalog.uri"]
            self._changes["output__catalog__uri"] = server.url(uri.rpartition("/")[2], self.catalog_proxy.address)

    def config(self) -> EmitterConfig:
        return self.place.config(**self._changes)

    def begin(self) -> None:
        """Two batches: the first loses the reply to what creates a table, the second shows which requests there are."""
        self.endure(Mishap("reply lost", *BEGINNING[self.place.target.format]))
        self.proxy.requests.clear()
        self._until += BATCH_SECONDS
        self.run()
        found = Counter((purpose_of(path), method) for method, path in self.proxy.requests)
        self.kinds = Counter({kind: count for kind, count in found.items() if kind[0] != "check"})
        if self.catalog_proxy:
            self.kinds.update({(CATALOG, statement): 3 for statement in STATEMENTS})

    def choose(self, count: int) -> Iterator[Mishap]:
        """So many mishaps; one in four is for good."""
        for _ in range(count):
            purpose, method = self._random.choice(sorted(self.kinds))
            nth = self._random.randint(1, self.kinds[purpose, method])
            known = sorted(actions_on(purpose))
            for_good = self._random.random() < 0.25
            action = self._random.choice([name for name in known if name in FOR_GOOD] if for_good else known)
            yield Mishap(action, purpose, method, nth, for_good)

    def endure(self, mishap: Mishap) -> EmitterError | None:
        """A batch with a mishap, which is done afterwards. Gives the error with which a daemon ended, if one did."""
        self._until += BATCH_SECONDS
        ended: EmitterError | None = None
        with self._case.subTest(f"{self.place.target}: {mishap}", seed=self._seed):
            try:
                with self.injected(mishap):
                    self.run()
            except EmitterError as error:
                ended = error
                self.watch.add(error)
                lied = mishap.action == "404" and isinstance(error, StateError)  # refused, as it does not add up
                self._case.assertTrue(error.exit_code in (3, 4) or lied, error)
                if mishap.action == "403":
                    self._case.assertIn("allow these credentials", error.hint)
            if ended:
                self.run()
        return ended

    def end(self) -> None:
        """Every row is there once, and no message holds a secret."""
        with self._case.subTest(f"{self.place.target} at the end"):
            self._case.assert_exact(self.place, self._until)
            said = self.watch.stream.getvalue()
            for name, secret in secrets_of(self.place).items():
                self._case.assertNotIn(secret, said, name)

    @contextmanager
    def injected(self, mishap: Mishap) -> Iterator[None]:
        action, times = actions_on(mishap.purpose)[mishap.action](), None if mishap.for_good else 1
        proxy = self.catalog_proxy if mishap.purpose == CATALOG else self.proxy
        assert proxy is not None
        if mishap.purpose == CATALOG:
            fault = proxy.inject(action, text=mishap.method.encode(), nth=mishap.nth, times=times)
        else:

            def fits(request: Request) -> bool:
                return purpose_of(request.path) == mishap.purpose

            fault = proxy.inject(action, method=mishap.method, where=fits, nth=mishap.nth, times=times)
        try:
            yield
        finally:
            proxy.remove(fault)
            if isinstance(action, Hold) and fault.struck:
                action.release()

    def run(self) -> None:
        """To the end of the batch that is next, by a daemon that starts anew."""
        logs.configure("debug", "json", ManualClock(), self.watch.stream)
        with (
            patch.dict(os.environ, borrowed_keys()),
            shop_daemon(self.config(), until=self._until, observer=self.watch) as daemon,
        ):
            finish(daemon)


def actions_on(purpose: str) -> dict[str, Callable[[], Action]]:
    return BY_POSTGRES if purpose == CATALOG else BY_S3


def purpose_of(path: str) -> str:
    return next((purpose for purpose, pattern in PURPOSES.items() if re.search(pattern, path)), "other")


@cache
def borrowed_keys() -> dict[str, str]:
    """Keys to the server that come with a session token, as the environment has them."""
    server = s3_server.shared()
    iam = server.client("iam")
    trust, everything = policy(Action="sts:AssumeRole", Principal={"AWS": "*"}), policy(Action="*", Resource="*")
    role = iam.create_role(RoleName="ordeal", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="ordeal", PolicyName="everything", PolicyDocument=everything)
    keys = server.client("sts").assume_role(RoleArn=role, RoleSessionName="ordeal")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }


def policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def secrets_of(place: Place) -> dict[str, str]:
    """What no message may hold, by name."""
    keys = borrowed_keys()
    found = {name: keys[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    password = re.search(r"://[^:/]*:([^@]+)@", str(place.changes.get("output.catalog.uri")))
    return found | ({"the catalogue's password": password[1]} if password else {})
