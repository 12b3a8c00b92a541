"""How object stores and catalogues are reached: what one configuration says for every library that connects."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote

from pydantic import Field

from emitter.errors import conceal
from emitter.settings.declaring import Check
from emitter.settings.rules import optional, text, yes_or_no

ENDPOINT_ALLOWED = "a URL such as http://127.0.0.1:9000, without a user or a query"
ENDPOINT_PATTERN = r"https?://[^\s/@?#]+(/[^\s@?#]*)?"
_PASSWORD = re.compile(r"://[^:/@]*:(.*)@|[?&](?:ssl)?password=([^&]+)")


_PATH = re.compile(
    r"(?:file://(?:localhost)?|sqlite:///)?(?P<path>(?![A-Za-z][\w+.-]*://).*)"
)  # nothing of another URI
_FOR_A_SHELL = re.compile(r"~|(?:.*/)?\$[A-Za-z_]|.*\$\{")
WRITTEN_OUT = "a path that is written out: `~` and `$NAME` are not replaced here"


def shell_hint(value: str) -> str:
    """What to do about a path, or the URI of a file, in which a shell would replace something; empty for any other.

    Nothing here does: under systemd or in a container it would be another home, and a folder that is called `~` is in
    the way of whoever tidies up. Who really means such a name can say so.
    """
    match = _PATH.fullmatch(value)
    path = match["path"] if match else ""
    if not match or not _FOR_A_SHELL.match(path):
        return ""
    if path.startswith("~"):
        written_out = os.path.expanduser(path)  # noqa: PTH111 (pathlib refuses a user that is not there)
        meant = "" if written_out == path else f"did you mean {value[: match.start('path')]}{written_out}? "
        return f"{meant}What is really called so is ./{path}"
    return 'let a shell replace it, as in EMITTER_OUTPUT__URI="$HOME/data"; in a file:// URI, %24 is a $'


def path_faults(value: str | None) -> Iterable[tuple[Any, str, str]]:
    """Of a key that holds a path, as a check of settings."""
    if hint := shell_hint(value or ""):
        yield value, WRITTEN_OUT, hint


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Config:
    """Where S3-compatible storage answers. Its credentials come from the usual AWS chain.

    >>> from emitter import S3Config
    >>> S3Config(endpoint_url="http://127.0.0.1:9000", region="eu-central-1").region
    'eu-central-1'
    """

    CHECKS: ClassVar[tuple[Check, ...]] = (Check(("ca_file",), path_faults),)

    endpoint_url: Annotated[
        str | None,
        optional(text(ENDPOINT_ALLOWED, ENDPOINT_PATTERN)),
        Field(description="The URL of an S3-compatible server; not given: AWS."),
    ] = None
    region: Annotated[
        str | None,
        optional(text("a region such as eu-central-1", r"[A-Za-z0-9-]{1,64}")),
        Field(description="The region; not given: what the AWS chain says."),
    ] = None
    path_style: Annotated[
        bool | None,
        optional(yes_or_no),
        Field(
            description="Whether the bucket stands in the path (`host/bucket`), not in the host name. Not given: true"
            " where endpoint_url is given."
        ),
    ] = None
    ca_file: Annotated[
        str | None,
        optional(text("a path such as /etc/ssl/company.pem", r".{1,4096}")),
        Field(description="The authorities that vouch for the server, as PEM; not given: what the AWS chain says."),
    ] = None
    role_arn: Annotated[
        str | None,
        optional(
            text("a role such as arn:aws:iam::123456789012:role/emitter", r"arn:[a-z0-9-]+:iam::\d+:role/\S{1,512}")
        ),
        Field(
            description="A role to assume with the credentials of the AWS chain, again and again as its keys expire."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogConfig:
    """The catalogue of a table format that needs one.

    >>> from emitter import CatalogConfig
    >>> CatalogConfig(uri="sqlite:///data/catalog.sqlite", namespace="shop").namespace
    'shop'
    """

    CHECKS: ClassVar[tuple[Check, ...]] = (Check(("uri",), path_faults),)

    # Not in the repr: a URI that comes from the environment may carry a password.
    uri: Annotated[
        str | None,
        optional(text("the URI of a catalogue", r".{1,4096}")),
        Field(description="Where the catalogue is. One with a password goes into EMITTER_OUTPUT__CATALOG__URI."),
    ] = field(default=None, repr=False)
    namespace: Annotated[
        str | None,
        optional(text("a name of letters, digits and _", r"[A-Za-z_][A-Za-z0-9_]{0,127}")),
        Field(description="The namespace or schema that the tables are in."),
    ] = None

    def __post_init__(self) -> None:
        """From now on the password shows nowhere, however a library quotes it."""
        for user, parameter in _PASSWORD.findall(self.uri or ""):
            conceal(user or parameter, unquote(user or parameter))
