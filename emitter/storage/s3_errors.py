"""What the libraries raise where S3 fails, in our words: which operation, on what, and what to do.

Only the code `NoSuchKey` means that an object is absent. A bucket that is not there, a secret that is wrong and a
server that cannot be reached are failures, whatever type a library gives them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emitter.errors import StorageError, StorageNotFoundError

_ABSENT = "NoSuchKey"
_CREDENTIALS = "see that the credentials of the AWS chain (AWS_ACCESS_KEY_ID and its like, AWS_PROFILE) belong to it"
_REGION = "give the region of the bucket in output.s3.region"
_RIGHTS = "allow these credentials s3:ListBucket on the bucket, and s3:GetObject, PutObject and DeleteObject below it"
_BUSY = "it was tried several times: see to the storage, then repeat the call; it goes on where it stopped"
_HINTS = {
    "NoSuchBucket": "make the bucket, or correct it in output.uri",
    "InvalidBucketName": "correct the bucket in output.uri",
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "ExpiredToken": "the session token has expired: renew it, or use credentials that the AWS chain renews by itself",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "AccessDenied": _RIGHTS,
    "403": _RIGHTS,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "301": _REGION,
}
_ENDPOINT = "see that output.s3.endpoint_url (or the AWS region) is right, and that this machine reaches it"
_AUTHORITY = "give the file of the authority that signed the server's certificate in output.s3.ca_file"


@contextmanager
def s3_failures(operation: str, path: str) -> Iterator[None]:
    """Errors of s3fs and what is below it as StorageErrors; StorageNotFoundError only if the object is not there."""
    import aiohttp
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (OSError, BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError) as error:
        raise translated(operation, path, error) from error


def translated(operation: str, path: str, error: Exception) -> StorageError:
    """One such error in our words."""
    from botocore.exceptions import BotoCoreError, SSLError
    from botocore.exceptions import ConnectionError as UnreachableError

    code, status, message = _answer(error)
    if code == _ABSENT:
        return StorageNotFoundError(operation, path, "it is not there")
    if code:
        hint = _HINTS.get(code) or (_BUSY if status >= 500 or code == "SlowDown" else "")
        return StorageError(operation, path, f"{message or 'refused'} ({code})", hint=hint)
    if isinstance(error, SSLError):
        return StorageError(operation, path, str(error), hint=_AUTHORITY)
    if isinstance(error, UnreachableError):
        return StorageError(operation, path, str(error), hint=_ENDPOINT)
    # An OSError of these has no errno, or one that the library made up.
    cause = str(error) or type(error).__name__
    return StorageError(operation, path, cause, hint=_BUSY if isinstance(error, BotoCoreError) else "")


def code_of(error: BaseException) -> str:
    """The code with which S3 answered, such as "PreconditionFailed"; empty if it did not."""
    return _answer(error)[0]


def _answer(error: BaseException) -> tuple[str, int, str]:
    response = _response(error)
    told = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(told.get("Code", "")), int(status), str(told.get("Message", ""))


def _response(error: BaseException) -> dict[str, Any]:
    """What S3 answered, which s3fs hides behind an OSError."""
    for known in (error, error.__cause__):
        response = getattr(known, "response", None)
        if isinstance(response, dict):
            return response
    return {}
