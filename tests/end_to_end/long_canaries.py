"""The same as in test_canaries, in every format, for every verb, and whatever fails."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from tests.end_to_end.canaries import CanaryCase, Scene, with_password
from tests.support import s3_server
from tests.support.canary import Seen, batches
from tests.support.postgres import free_port
from tests.support.proxy import HttpProxy, TcpProxy
from tests.support.tls import TlsFront
from tests.support.wire_faults import answer

AT_ONCE = 3  # they wait for replies and for each other
WRONG = "wrongcanary0123456789/+abcdefghijklmnopqr"
SCENES = (
    ("parquet",), ("delta",), ("iceberg", "disk", "sqlite"), ("iceberg", "disk", "rest"),
    ("ducklake", "disk", "sqlite"), ("parquet", "s3"), ("delta", "s3"), ("iceberg", "s3", "postgres"),
    ("iceberg", "s3", "rest"), ("ducklake", "s3", "postgres"),
)  # fmt: skip


class LongCanariesTest(CanaryCase):
    def each(self, jobs: dict[str, Callable[[], None]]) -> None:
        """Do all of it, some at once."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = {name: pool.submit(job) for name, job in jobs.items()}
        for name, job in running.items():
            with self.subTest(name):
                job.result()

    def expect(self, code: int, seen: Seen, *said: str) -> None:
        self.assertEqual(seen.returncode, code, seen.said)
        for words in said:
            self.assertRegex(seen.said, words)

    def test_every_verb_in_every_format(self):
        scenes = [self.scene(*parts) for parts in SCENES]
        self.each({scene.name: lambda scene=scene: self.use(scene) for scene in scenes})

    def use(self, scene: Scene) -> None:
        for verb in ("check", "run", "status", "verify"):
            more = ["--no-live"] if verb == "run" else []
            self.expect(0, self.watch(scene, verb, *more, until=batches(2)))
        self.expect(0, self.watch(scene, "generate", "--to", "2026-01-02T00:02:00Z", "--jobs", "2"))
        self.assert_nothing_left(scene)

    def test_s3_that_lets_nobody_in(self):
        server = s3_server.shared()
        proxy = self.enterContext(HttpProxy(server.address))
        refusing = proxy.endpoint_url
        echo = b"<Error><Code>Strange</Code><Message>you sent %s</Message></Error>" % WRONG.encode()
        proxy.inject(answer(400, body=echo), times=None)
        tls = self.enterContext(TlsFront(server.address, Path(self.enterContext(TemporaryDirectory()))))
        scene = self.scene("delta", "s3")
        endpoint = "EMITTER_OUTPUT__S3__ENDPOINT_URL"
        for_each = {
            "a wrong secret": ({"AWS_SECRET_ACCESS_KEY": WRONG}, 4, "SignatureDoesNotMatch"),
            "a wrong token": ({"AWS_SESSION_TOKEN": WRONG}, 4, "could not"),
            "an answer that quotes the secret": ({"AWS_SECRET_ACCESS_KEY": WRONG, endpoint: refusing}, 4, "you sent"),
            "nobody there": ({endpoint: f"http://127.0.0.1:{free_port()}"}, 4, "connect"),
            "an unknown host": ({endpoint: "http://canary.invalid"}, 4, "canary.invalid"),
            "an unknown authority": ({endpoint: tls.endpoint_url}, 4, "CERTIFICATE_VERIFY_FAILED"),
            "a user in the endpoint": ({endpoint: f"http://user:{WRONG}@127.0.0.1"}, 2, "endpoint_url"),
            "a query in the endpoint": ({endpoint: f"http://127.0.0.1/?sig={WRONG}"}, 2, "endpoint_url"),
        }
        self.each(
            {
                name: lambda environ=environ, code=code, said=said: self.expect(
                    code, self.watch(scene, "check", environ=environ, secrets=[WRONG]), said
                )
                for name, (environ, code, said) in for_each.items()
            }
            | {
                "a user in the chain's endpoint": lambda: self.expect(
                    2,
                    self.watch(
                        scene, "check", changes={"output.s3.endpoint_url": None}, secrets=[WRONG],
                        environ={"AWS_ENDPOINT_URL": f"http://user:{WRONG}@127.0.0.1"},
                    ),
                    "AWS_ENDPOINT_URL",
                )
            }
        )  # fmt: skip

    def test_s3_that_turns_against_a_running_daemon(self):
        """What each library says itself: the journal's client would be the first to fail at a start."""
        paths = {"parquet": r"_emitter/staging/orders", "delta": r"orders/_delta_log", "iceberg": r"orders/metadata",
                 "ducklake": r"orders/year.*parquet"}  # fmt: skip

        def turn(kind: str, catalog: str) -> None:
            scene = self.scene(kind, "s3", catalog)
            with HttpProxy(s3_server.shared().address) as proxy:
                scene.changes["output.s3.endpoint_url"] = proxy.endpoint_url
                fault = proxy.inject(answer(403, body=WRONG.encode()), path=paths[kind], nth=3, times=None)
                seen = self.watch(scene, "run", "--no-live", until=batches(40))
                fault.wait()  # it has struck
            self.expect(4, seen, '"action": "error"')

        kinds = (("parquet", ""), ("delta", ""), ("iceberg", "postgres"), ("ducklake", "postgres"))
        self.each({kind: lambda kind=kind, catalog=catalog: turn(kind, catalog) for kind, catalog in kinds})

    def test_postgres_that_lets_nobody_in(self):
        jobs: dict[str, Callable[[], None]] = {}
        for kind in ("iceberg", "ducklake"):
            scene = self.scene(kind, "disk", "postgres")
            name = "EMITTER_OUTPUT__CATALOG__URI"
            uri = scene.environ[name]
            place = urlsplit(uri)
            for what, environ, said in (
                ("a wrong password", with_password(scene, WRONG), "authentication failed"),
                (
                    "another password",
                    {name: uri.replace(uri.rpartition("@")[0].rpartition(":")[2] + "@", "@")},
                    "could not",
                ),
                ("an unknown host", {name: uri.replace(f"@{place.hostname}", "@canary.invalid")}, "canary.invalid"),
                ("nobody there", {name: uri.replace(f":{place.port}/", f":{free_port()}/")}, "could not"),
                ("an unknown database", {name: f"{uri}x"}, "does not exist"),
                ("no TLS", {name: f"{uri}?sslmode=require&sslpassword={WRONG}"}, "SSL"),
            ):
                jobs[f"{kind}: {what}"] = lambda scene=scene, environ=environ, said=said: self.expect(
                    4, self.watch(scene, "check", environ=environ, secrets=[WRONG]), said
                )  # fmt: skip
        self.each(jobs)

    def test_postgres_that_dies_under_a_running_daemon(self):
        for kind in ("iceberg", "ducklake"):
            scene = self.scene(kind, "disk", "postgres")
            name = "EMITTER_OUTPUT__CATALOG__URI"
            place = urlsplit(scene.environ[name])
            with self.subTest(kind), TcpProxy((str(place.hostname), int(place.port or 0))) as proxy:
                scene.environ[name] = scene.environ[name].replace(f":{place.port}/", f":{proxy.address[1]}/")

                def down(told: bytes, proxy: TcpProxy = proxy) -> bool:
                    if batches(2)(told):
                        proxy.go_down()
                    return False

                self.expect(4, self.watch(scene, "run", "--no-live", until=down), '"action": "error"')

    def test_a_rest_catalogue_that_lets_nobody_in(self):
        scene = self.scene("iceberg", "disk", "rest")
        token, uri = "PYICEBERG_CATALOG__EMITTER__TOKEN", scene.changes["output.catalog.uri"]
        proxy = self.enterContext(HttpProxy(("127.0.0.1", int(uri.rpartition(":")[2]))))
        proxy.inject(answer(500, body=WRONG.encode()), times=None)
        catalog = "EMITTER_OUTPUT__CATALOG__URI"
        for_each = {
            "a wrong token": {token: WRONG},
            "a credential": {token: "", "PYICEBERG_CATALOG__EMITTER__CREDENTIAL": f"id:{WRONG}"},
            "a user in the URI": {token: "", catalog: uri.replace("://", f"://user:{WRONG}@")},
            "a query in the URI": {catalog: f"{uri}?apikey={WRONG}"},
            "a catalogue that quotes it": {token: WRONG, catalog: proxy.endpoint_url},
            "nobody there": {catalog: f"http://user:{WRONG}@127.0.0.1:{free_port()}/?apikey={WRONG}"},
        }
        self.each(
            {
                name: lambda environ=environ: self.expect(
                    4, self.watch(scene, "check", environ=environ, secrets=[WRONG]), "Error: "
                )
                for name, environ in for_each.items()
            }
        )


if __name__ == "__main__":
    unittest.main()
