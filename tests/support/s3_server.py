"""An S3 server that refuses a wrong secret, and keeps its conditions when many write at once.

It is moto's server in a process of its own. Its objects are in memory, so it can't be restarted: where a test wants
an outage, it puts `tests.support.proxy` in between. One server does for a whole test run, with a bucket per test:

    server = s3_server.shared()
    bucket = server.new_bucket()
    ... f"s3://{bucket}/lake", server.endpoint_url, server.access_key, server.secret_key, server.region
    subprocess.run(command, env={**os.environ, **server.environ()})

What is ours, in the process that serves:
- One lock around moto. By itself, about one race of 300 for `If-None-Match: *` has two winners there. Bodies are read
  before the lock is taken, so that a slow client holds up nobody; and a body that was cut short is dropped.
- The user with all rights is made in moto's own tables, and every request needs a signature from the first one on:
  one without (where moto would look for public objects, or trip) is answered with 403.
- `new_bucket(honours_conditions=False)` gives one where `If-Match` and `If-None-Match` are ignored on writes, as some
  servers do without a word.

Conditions on PutObject (`If-Match`, `If-None-Match: *`) and on completing a multipart upload (`If-None-Match: *`) are
moto's own; on CopyObject it ignores them. As on AWS, `If-Match` for an object that is not there is answered with 404,
not with 412.
"""

from __future__ import annotations

import atexit
import io
import os
import threading
import uuid
from collections.abc import Iterable
from functools import cache
from typing import Any

from tests.support.child import ServerProcess, serve_until_parent_ends

REGION = "eu-central-1"
FORGETFUL = "forgetful-"  # begins the name of a bucket where conditions are ignored


class S3Server:
    """A running server. Ends with `close`, as a context manager, or with the process."""

    region = REGION

    def __init__(self) -> None:
        self._process = ServerProcess("tests.support.s3_server")
        self.address: tuple[str, int] = ("127.0.0.1", self._process.answer["port"])
        self.access_key: str = self._process.answer["access_key"]
        self.secret_key: str = self._process.answer["secret_key"]

    @property
    def endpoint_url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def environ(self) -> dict[str, str]:
        """What a child process needs to be let in, and to find no other credentials. The endpoint is not in it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str = "s3", endpoint_url: str | None = None, **changes: str) -> Any:
        """A boto3 client of a service (s3, iam, sts). A call is made once: what fails is not tried again."""
        import boto3
        from botocore.config import Config

        arguments = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key, **changes}
        return boto3.session.Session().client(
            service,
            endpoint_url=endpoint_url or self.endpoint_url,
            region_name=self.region,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
            **arguments,
        )

    def new_bucket(self, *, honours_conditions: bool = True) -> str:
        name = ("" if honours_conditions else FORGETFUL) + f"bucket-{uuid.uuid4().hex[:12]}"
        self._s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.region})
        return name

    def objects(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """The keys in a bucket that begin so, with their sizes in bytes."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}

    @property
    def _s3(self) -> Any:
        if not hasattr(self, "_client"):
            self._client = self.client()
        return self._client

    def close(self) -> None:
        self._process.stop()

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def shared() -> S3Server:
    """The one server of this process, and of this one only: a forked child must not use it to make its own."""
    server = S3Server()
    atexit.register(server.close)
    return server


class OneAtATime:
    """The WSGI application of moto behind one lock, with whole requests only."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "")
        body = environ["wsgi.input"].read() if chunked else environ["wsgi.input"].read(length)
        if not chunked and len(body) < length:
            raise ConnectionAbortedError("the client went away in the middle of a request")
        if "HTTP_AUTHORIZATION" not in environ:
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        with self._lock:
            return list(self._application(environ, start_response))


def forget_conditions() -> None:
    """Have moto ignore conditional headers in some buckets; after the signature is checked, which covers them."""
    from moto.s3.responses import S3Response

    authenticate = S3Response._authenticate_and_authorize_s3_action

    def authenticate_and_forget(self: Any, bucket_name: str | None = None, key_name: str | None = None) -> None:
        authenticate(self, bucket_name, key_name)
        if (bucket_name or "").startswith(FORGETFUL) and self.method not in {"GET", "HEAD"}:
            self.headers = {
                name: value for name, value in self.headers.items() if name.lower() not in {"if-match", "if-none-match"}
            }

    S3Response._authenticate_and_authorize_s3_action = authenticate_and_forget


def make_user() -> tuple[str, str]:
    """The access key and the secret of a user who may do everything."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.iam.models import iam_backends

    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    iam.create_user(REGION, "tester")
    iam.put_user_policy(
        "tester",
        "everything",
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
    )
    key = iam.create_access_key("tester")
    return key.access_key_id, key.secret_access_key


def main() -> None:
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"  # moto reads it when it is imported
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Handler(MotoRequestHandler):
        disable_nagle_algorithm = True  # else a reply waits 40 ms for the client to acknowledge its head
        protocol_version = "HTTP/1.1"

        def log_request(self, *_: object) -> None:
            pass

    forget_conditions()
    access_key, secret_key = make_user()
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    serve_until_parent_ends(server.serve_forever, port=server.server_port, access_key=access_key, secret_key=secret_key)


if __name__ == "__main__":
    main()
