"""How S3 is reached: one configuration and one chain of credentials, handed to every library in its own form.

    output.s3, the AWS chain -> S3Access -> file_system()     s3fs: the journal, all data files, and Iceberg's metadata
                                         -> delta_options()   deltalake
                                         -> duckdb_secret()   DuckDB

The credentials are those that botocore finds: environment, profile, web identity, a process, a container, an instance;
with `role_arn`, those of a role that is assumed with them. botocore renews what expires, some minutes ahead. s3fs asks
for them at each request. deltalake and DuckDB take a copy, which dies with its session token: their writers give them
another one when `credentials_version` has moved.

No secret is ever in a repr, a log line or an error from here.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from emitter.errors import ConfigurationError, Fault, MissingExtraError, StorageError, conceal
from emitter.settings.connections import ENDPOINT_ALLOWED, ENDPOINT_PATTERN, S3Config

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

ATTEMPTS_MAX = 4  # of a request, by botocore, with waits between them that double
CONNECT_SECONDS_MAX = 5
READ_SECONDS_MAX = 30  # without a byte
_CONNECTIONS_MAX = 32
_ROLE_SESSION = "emitter"
_FALLBACK_REGION = "us-east-1"  # what servers other than AWS expect where they care for none


class S3Access:
    """A writer's one way to S3. Making it reads the environment and AWS's configuration files, and reaches nothing;
    credentials are looked for when they are first needed. Raises MissingExtraError and ConfigurationError.
    """

    def __init__(self, config: S3Config) -> None:
        try:
            import botocore.session
            import s3fs  # noqa: F401 (all that is needed is here, or nothing is)
        except ModuleNotFoundError as error:
            raise MissingExtraError("s3", needed_for="an output.uri that begins with s3://") from error
        self._session = botocore.session.get_session()
        self._session.register_component("data_loader", _api_descriptions())
        self.endpoint_url = config.endpoint_url or self._endpoint_of_chain()
        self.region = config.region or self._region_of_chain()
        self.path_style = self.endpoint_url is not None if config.path_style is None else config.path_style
        self.ca_file: str | None = config.ca_file or self._session.get_config_variable("ca_bundle")
        if self.ca_file and not os.access(self.ca_file, os.R_OK):
            raise ConfigurationError([Fault("output.s3.ca_file", repr(self.ca_file), "a file that can be read")])
        self._role_arn = config.role_arn
        self._guard = threading.RLock()
        self._credentials: Any = None
        self._file_system: weakref.ref[Any] | None = None
        self._known: ReadOnlyCredentials | None = None
        self._version = 0

    def __repr__(self) -> str:
        return f"S3Access(endpoint_url={self.endpoint_url!r}, region={self.region!r})"

    def credentials(self) -> ReadOnlyCredentials:
        """The credentials to use now: renewed where they were about to expire. Raises StorageError."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            with self._guard:
                if self._credentials is None:
                    self._credentials = self._find_credentials()
                found = self._credentials
            frozen: ReadOnlyCredentials = found.get_frozen_credentials()
            conceal(frozen.secret_key, frozen.token)
            return frozen
        # botocore raises a RuntimeError where what it was given anew has expired already. Only the kind of error is
        # told: its text may be what a credential process has printed.
        except (BotoCoreError, ClientError, ResponseParserError, RuntimeError) as error:
            raise StorageError(
                "get credentials for",
                self,
                f"the AWS chain failed ({type(error).__name__})",
                hint="run `aws sts get-caller-identity` in the same environment to see why"
                + (", and see that the role in output.s3.role_arn may be assumed" if self._role_arn else ""),
            ) from error

    def credentials_version(self) -> int:
        """A number that moves whenever `credentials` are others than before."""
        frozen = self.credentials()
        with self._guard:
            if frozen != self._known:
                self._known, self._version = frozen, self._version + 1
            return self._version

    def file_system(self) -> Any:
        """The s3fs.S3FileSystem of this access, the same for as long as somebody holds it: safe in threads, and made
        anew in every process. It remembers no listing, as a stale one loses data.
        """
        from s3fs import S3FileSystem

        with self._guard:
            made = self._file_system() if self._file_system else None
            if made is None:
                made = S3FileSystem(**self.fsspec_options())
                made.retries = 1  # botocore does the retrying; around it, s3fs would do it all five times over
                # Not held from here: its client holds the credentials, and with them this, until it is closed.
                self._file_system = weakref.ref(made)
            return made

    def fsspec_options(self) -> dict[str, Any]:
        """What s3fs is made with."""
        config: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS_MAX,
            "read_timeout": READ_SECONDS_MAX,
            "max_pool_connections": _CONNECTIONS_MAX,
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
            "s3": {"addressing_style": "path" if self.path_style else "virtual"},
        }
        if self.endpoint_url:  # many servers know nothing of the checksums that AWS has added since
            config |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        return {
            "endpoint_url": self.endpoint_url,
            "client_kwargs": {"region_name": self.region, "verify": self.ca_file},
            "config_kwargs": config,
            "session": self._async_session(),
            "use_listings_cache": False,
            "skip_instance_cache": True,
        }

    def delta_options(self) -> dict[str, str]:
        """`storage_options` of deltalake, with the credentials of now."""
        if self.ca_file:  # deltalake knows authorities by this variable alone, and reads it once
            os.environ["SSL_CERT_FILE"] = self.ca_file
        frozen = self.credentials()
        options = {
            "AWS_ACCESS_KEY_ID": frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
            "AWS_REGION": self.region,
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false" if self.path_style else "true",
            "AWS_CONDITIONAL_PUT": "etag",  # what makes a commit to the log a compare-and-set
            "connect_timeout": f"{CONNECT_SECONDS_MAX}s",
            "timeout": f"{READ_SECONDS_MAX}s",
            "max_retries": str(ATTEMPTS_MAX - 1),
            "retry_timeout": f"{2 * READ_SECONDS_MAX}s",  # after so long, no further attempt
            "backoff_config.max_backoff": "2s",
        }
        if frozen.token:
            options["AWS_SESSION_TOKEN"] = frozen.token
        if self.endpoint_url:
            options["AWS_ENDPOINT_URL"] = self.endpoint_url
            options["AWS_ALLOW_HTTP"] = "true" if self.endpoint_url.startswith("http://") else "false"
        return options

    def duckdb_secret(self) -> dict[str, str | bool]:
        """What a DuckDB secret of TYPE s3 is made of, with the credentials of now."""
        frozen = self.credentials()
        secret: dict[str, str | bool] = {
            "KEY_ID": frozen.access_key,
            "SECRET": frozen.secret_key,
            "REGION": self.region,
            "URL_STYLE": "path" if self.path_style else "vhost",
        }
        if frozen.token:
            secret["SESSION_TOKEN"] = frozen.token
        if self.endpoint_url:
            parts = urlsplit(self.endpoint_url)
            secret |= {"ENDPOINT": parts.netloc + parts.path.rstrip("/"), "USE_SSL": parts.scheme == "https"}
        return secret

    def duckdb_settings(self) -> dict[str, str | bool]:
        """Settings of DuckDB's httpfs: by itself it takes any certificate for good, and the keys of the environment for
        settings that every query may show. What it needs is in the secret.
        """
        settings: dict[str, str | bool] = {"enable_server_cert_verification": True}
        settings |= dict.fromkeys(("s3_access_key_id", "s3_secret_access_key", "s3_session_token"), "")
        return settings | ({"ca_cert_file": self.ca_file} if self.ca_file else {})

    def _endpoint_of_chain(self) -> str | None:
        """As the AWS tools look for it, so that every library is told the same."""
        environ = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        found: str | None = environ or self._session.get_scoped_config().get("endpoint_url")
        if found and not re.fullmatch(ENDPOINT_PATTERN, found):
            hint = "it comes from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the AWS profile"
            raise ConfigurationError(
                [Fault("output.s3.endpoint_url", "a value that is not shown", ENDPOINT_ALLOWED, hint)]
            )
        return found

    def _region_of_chain(self) -> str:
        # Kubernetes and most tools set AWS_REGION; botocore knows AWS_DEFAULT_REGION alone.
        found: str | None = self._session.get_config_variable("region") or os.environ.get("AWS_REGION")
        if not found and not self.endpoint_url:
            raise ConfigurationError(
                [
                    Fault(
                        "output.s3.region",
                        "nothing",
                        "a region such as eu-central-1, here, in AWS_REGION or in the AWS profile",
                        "or give output.s3.endpoint_url, where the storage is not AWS",
                    )
                ]
            )
        return found or _FALLBACK_REGION

    def _find_credentials(self) -> Any:
        found = self._session.get_credentials()
        if found is None:
            from botocore.exceptions import NoCredentialsError

            raise NoCredentialsError
        if self._role_arn is None:
            return found
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        fetcher = AssumeRoleCredentialFetcher(
            self._sts_client, found, self._role_arn, extra_args={"RoleSessionName": _ROLE_SESSION}
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    def _sts_client(self, service: str, **credentials: Any) -> Any:
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=READ_SECONDS_MAX,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
        )
        return self._session.create_client(
            service, region_name=self.region, verify=self.ca_file, config=config, **credentials
        )

    def _async_session(self) -> Any:
        """A session for s3fs that follows this chain, rather than to find credentials of its own."""
        from aiobotocore.credentials import AioCredentials
        from aiobotocore.session import AioSession

        access = self

        class Following(AioCredentials):  # type: ignore[misc]  # a library without types
            async def get_frozen_credentials(self) -> ReadOnlyCredentials:
                return await asyncio.to_thread(access.credentials)  # to renew them may take a request

        class Resolver:
            async def load_credentials(self) -> Any:
                return Following("", "", method="emitter")

        session = AioSession()
        session.register_component("credential_provider", Resolver())
        session.register_component("data_loader", _api_descriptions())
        return session


@cache
def _api_descriptions() -> Any:
    """The loader of what botocore knows of AWS's services: every session would read and keep ten megabytes anew."""
    from botocore.loaders import create_loader

    return create_loader(os.environ.get("AWS_DATA_PATH"))
