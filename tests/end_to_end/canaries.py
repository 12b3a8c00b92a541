"""Outputs that are reached with secrets, in every format; and what came of a process that used them."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support import canary, postgres, s3_server
from tests.support.canary import Canaries, Seen
from tests.support.rest_catalog import RestCatalog
from tests.support.shop import shop_mapping

ALLOW_ALL = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
TRUST_ALL = ALLOW_ALL.replace('"*", "Resource": "*"', '"sts:AssumeRole", "Principal": {"AWS": "*"}')
STRANGE = "Ca/n:a@r'y\"\\ %;&,{}$(x)"  # begins a password: what quoting in URIs, SQL, DSNs and shells may trip over


@dataclass
class Scene:
    """An output, and all that is secret about it. `environ` beats `changes`, as for the command line."""

    name: str
    changes: dict[str, Any]
    environ: dict[str, str]
    secrets: list[str]
    leftovers: list[Callable[[], dict[str, bytes]]] = field(default_factory=list)
    folder: Path = Path()

    @property
    def canaries(self) -> Canaries:
        return Canaries(*self.secrets)


class CanaryCase(unittest.TestCase):
    """`scene` makes one, `watch` runs a verb in it and looks at all that came of it."""

    def scene(self, format: str, storage: str = "disk", catalog: str = "") -> Scene:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        secret, token = f"canary{uuid.uuid4().hex}", f"canary{uuid.uuid4().hex}"
        scene = Scene(
            "-".join(filter(None, (format, storage, catalog))),
            {"output.format": format, "output.uri": str(folder / "out"), "output.retry_attempts_max": 1,
             "output.retry_wait_seconds_max": 0, "ecommerce.orders_per_second": 0.2},
            {"AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token, "PGPASSWORD": f"canary{uuid.uuid4().hex}",
             "EMITTER_LOG__LEVEL": "debug", "RUST_LOG": "debug", "RUST_BACKTRACE": "full", "PGCONNECT_TIMEOUT": "5"},
            [],
            [lambda: canary.files(folder)],
            folder,
        )  # fmt: skip
        if storage == "s3":
            self._put_on_s3(scene)
        if catalog == "sqlite":
            scene.changes["output.catalog.uri"] = f"sqlite:///{folder / 'catalog.sqlite'}"
        elif catalog == "postgres":
            self._catalogue_in_postgres(scene)
        elif catalog == "rest":
            self._catalogue_by_rest(scene)
        scene.secrets += [scene.environ[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")]
        return scene

    def _put_on_s3(self, scene: Scene) -> None:
        server = s3_server.shared()
        name = server.new_bucket()
        iam = server.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST_ALL)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=ALLOW_ALL)
        keys = server.client("sts").assume_role(RoleArn=role, RoleSessionName="canary")["Credentials"]
        scene.environ |= server.environ()
        scene.environ["AWS_ACCESS_KEY_ID"] = keys["AccessKeyId"]
        scene.environ["AWS_SECRET_ACCESS_KEY"] = keys["SecretAccessKey"]
        scene.environ["AWS_SESSION_TOKEN"] = keys["SessionToken"]
        scene.secrets += [server.secret_key]
        scene.changes["output.uri"] = f"s3://{name}/lake"
        scene.changes["output.s3.endpoint_url"] = server.endpoint_url
        scene.leftovers.append(lambda: canary.bucket(server.client(), name))

    def _catalogue_in_postgres(self, scene: Scene) -> None:
        server, password = postgres.shared(), STRANGE + uuid.uuid4().hex
        name = server.new_database()
        with server.connect("postgres") as connection:
            literal = "'" + password.replace("'", "''") + "'"
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD {literal}")
            connection.execute(f"ALTER DATABASE {name} OWNER TO {name}")
        host, port = server.address
        scene.environ["EMITTER_OUTPUT__CATALOG__URI"] = (
            f"postgresql://{name}:{quote(password, safe='')}@{host}:{port}/{name}"
        )
        scene.secrets += [password, STRANGE]
        scene.leftovers.append(lambda: canary.database(server.url(name)))

    def _catalogue_by_rest(self, scene: Scene) -> None:
        s3 = s3_server.shared()
        uri = scene.changes["output.uri"]
        rest = self.enterContext(RestCatalog(uri, s3 if uri.startswith("s3:") else None))
        scene.changes["output.catalog.uri"] = rest.uri
        scene.environ["PYICEBERG_CATALOG__EMITTER__TOKEN"] = rest.token
        scene.secrets += [rest.token]

    def watch(
        self,
        scene: Scene,
        *arguments: str,
        changes: dict[str, Any] | None = None,
        environ: dict[str, str] | None = None,
        secrets: list[str] | None = None,
        **more: Any,
    ) -> Seen:
        """Run a verb; the secrets show nowhere. `changes` and `environ` are those of this one call."""
        config = scene.folder / f"{uuid.uuid4().hex}.json"
        config.write_text(json.dumps(shop_mapping(Path("unused"), {**scene.changes, **(changes or {})})))
        asked = {**scene.environ, **(environ or {})}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EMITTER_"))}
        seen = canary.watch(list(arguments), config, {**inherited, **asked}, **more)
        Canaries(*scene.secrets, *(secrets or [])).assert_absent(self, seen.texts)
        return seen

    def assert_nothing_left(self, scene: Scene) -> None:
        for look in scene.leftovers:
            found = look()
            scene.canaries.assert_absent(self, found)


BROKEN = """
import os
from emitter.cli import main as cli
from emitter.truth import inspection
def check(config):
    secrets = [value for name, value in os.environ.items() if name.startswith(("AWS_S", "PGP", "EMITTER_OUTPUT"))]
    from emitter.writers.ducklake.connection import catalog_place
    raise RuntimeError(f"{secrets} {catalog_place(config.output.catalog.uri, '').password}")
inspection.check = check
cli.main()
"""
"""A program that is `emitter` with a fault: it raises an error that quotes all secrets that it can find."""


def with_password(scene: Scene, password: str) -> dict[str, str]:
    """The environment for another password of the catalogue."""
    name = "EMITTER_OUTPUT__CATALOG__URI"
    user, _, place = scene.environ[name].rpartition("@")
    return {name: f"{user.rpartition(':')[0]}:{quote(password, safe='')}@{place}"}
