"""Objects on S3-compatible storage, under `s3://bucket/prefix`, by s3fs.

An object appears whole or not at all, and a reader sees what was last written. What an object store lacks:

- No rename: a copy on the server, then a removal. A crash in between leaves both, with the same bytes.
- No lock: `has_locks` is False, and only conditional writes keep two writers apart (`If-None-Match: *` for what must be
  new, `If-Match` for what must be the version that was read). A server that ignores them loses rows without a word, so
  `check` and `check_versions` try them.
- No certainty: a reply can be lost, and the libraries then send a request again, aiohttp without a word. Everything
  here can be repeated, except that a repeated conditional write is refused by its own first attempt. So a refusal is
  looked into: if the object holds just what was to be written, it was ours.

botocore sends a request `s3.ATTEMPTS_MAX` times at most, with growing waits, where the server is busy, answers with
5xx, or cannot be reached; then it is a StorageError, and the caller decides.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO, ClassVar
from urllib.parse import urlsplit

from emitter.errors import CommitConflictError, StorageError, StorageNotFoundError, UsageError
from emitter.storage.base import Entry, Storage, StoredFile, moved
from emitter.storage.s3 import ATTEMPTS_MAX, S3Access
from emitter.storage.s3_errors import code_of, s3_failures

OPERATION_SECONDS_MAX = 600  # of one call, with all its attempts
_BLOCK_BYTES = 4 * 2**20  # fetched at a time; most files are smaller, and are fetched at once
_PROBES, _PROBE = "_emitter", "check-"  # the folder and the names of objects that were only made to try things
_REFUSED = frozenset({"PreconditionFailed", "412"})
_BUSY = "ConditionalRequestConflict"  # two conditional writes met, and neither was judged


class ObjectStorage(Storage):
    """A prefix of a bucket. Other libraries reach the same place through `access`."""

    has_locks: ClassVar[bool] = False
    reads_at_once: ClassVar[int] = 16  # each waits for the server most of its time

    def __init__(self, uri: str, access: S3Access) -> None:
        """`uri`: `s3://bucket` or `s3://bucket/prefix`. Raises UsageError for any other."""
        parts = urlsplit(uri)
        self.uri = uri.rstrip("/")
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        if parts.scheme != "s3" or not self.bucket or parts.query or parts.fragment or "//" in self.prefix:
            raise UsageError(f"{uri} is no place on S3", hint="give a URI like s3://bucket/shop")
        self.access = access
        self._held_file_system: Any = None

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _uri_of(self, path: str) -> str:
        return f"s3://{self.bucket}/{self._key(path)}"

    def check(self) -> None:
        self.list("_emitter")
        with self._probe() as path:
            is_new, is_new_again = self.put_if_absent(path, b"1"), self.put_if_absent(path, b"2")
            if not is_new or is_new_again or self.read(path) != b"1":
                raise self._unconditional("If-None-Match", "the journal and Delta's log")

    def check_versions(self) -> None:
        with self._probe() as path:
            version = self.replace_version(path, b"1", None)
            self.replace_version(path, b"2", version)
            try:
                self.replace_version(path, b"3", version)
            except CommitConflictError:
                return
            raise self._unconditional("If-Match", "the progress of Parquet tables; the other formats do not")

    @contextmanager
    def _probe(self) -> Iterator[str]:
        """The path of an object to try things with."""
        from emitter.randomness import unique_name

        path = f"{_PROBES}/{_PROBE}{unique_name()}"
        try:
            yield path
        finally:
            self.remove(path)

    def read(self, path: str) -> bytes:
        return self._fetch("read", path)[0]

    def size(self, path: str) -> int:
        return self._fetch_block("measure", path)[1]

    def written_wall_seconds(self, path: str) -> float:
        # No HEAD: it does not say whether the object is absent or the bucket.
        try:
            _, response = self._fetch("measure", path, Range="bytes=0-0")
        except StorageError as error:
            if code_of(error.__cause__ or error) != "InvalidRange":
                raise
            _, response = self._fetch("measure", path)  # it is empty
        written: datetime = response["LastModified"]
        return written.timestamp()

    def open_file(self, path: str) -> BinaryIO:
        data, size, version = self._fetch_block("open", path, _BLOCK_BYTES)
        if len(data) == size:
            return io.BytesIO(data)
        return io.BufferedReader(_ObjectFile(self, path, size, version), _BLOCK_BYTES)

    def write(self, path: str, data: Any) -> None:
        self._call("write", path, "put_object", Key=self._key(path), Body=_body(data))

    def replace(self, path: str, data: bytes) -> None:
        self.write(path, data)

    def put_if_absent(self, path: str, data: Any) -> bool:
        return self._put_if(path, _body(data), IfNoneMatch="*") is not None

    def read_version(self, path: str) -> tuple[bytes, str]:
        data, response = self._fetch("read", path)
        return data, response["ETag"]

    def replace_version(self, path: str, data: bytes, version: str | None) -> str:
        """The data must be such as no other writer would write: then what is found after a lost reply tells whose it
        is.
        """
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        written = self._put_if(path, data, **condition)
        if written is None:
            raise moved(path)
        return written

    def list(self, folder: str, after: str = "") -> list[Entry]:
        prefix = self._prefix_of(folder)
        begin = {"StartAfter": prefix + after} if after else {}
        entries: list[Entry] = []
        for page in self._pages(folder, Delimiter="/", **begin):
            folders = (found["Prefix"].removeprefix(prefix).rstrip("/") for found in page.get("CommonPrefixes", ()))
            entries += (Entry(name, True, 0) for name in folders)
            files = ((found["Key"].removeprefix(prefix), found) for found in page.get("Contents", ()))
            entries += (  # "": a folder that a tool has marked
                Entry(name, False, found["Size"], found["LastModified"].timestamp()) for name, found in files if name
            )
        return sorted((entry for entry in entries if entry.name > after), key=lambda entry: entry.name)

    def walk(self, folder: str, first: str = "") -> Iterator[StoredFile]:
        """A thousand files a request, whatever folders they lie in."""
        prefix = self._prefix_of("")
        for page in self._pages(folder, **({"StartAfter": f"{self._prefix_of(folder)}{first}"} if first else {})):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):  # a folder that a tool has marked
                    path, written = found["Key"].removeprefix(prefix), found["LastModified"]
                    yield StoredFile(path, found["Size"], written.timestamp())

    def leftovers(self, folder: str, *, below: bool = True) -> Iterator[StoredFile]:  # noqa: ARG002 (all lie in one)
        for entry in self.list(folder) if folder == _PROBES else ():
            if entry.name.startswith(_PROBE):
                yield StoredFile(f"{folder}/{entry.name}", entry.size_bytes, entry.written_wall_seconds)

    def _prefix_of(self, folder: str) -> str:
        return "".join(f"{part}/" for part in (self.prefix, folder) if part)

    def _pages(self, folder: str, **asked: str) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = self._call("list", folder, "list_objects_v2", Prefix=self._prefix_of(folder), **asked, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, path: str) -> None:
        self._call("remove", path, "delete_object", Key=self._key(path))

    def rename(self, source: str, target: str) -> None:
        """Repeated after a crash in between, it finishes. The target is durable at once."""
        place = {"Bucket": self.bucket, "Key": self._key(source)}
        self._call("rename", source, "copy_object", Key=self._key(target), CopySource=place)
        self.remove(source)

    def sync_folders(self, folders: set[str]) -> None:
        pass  # what was written is durable

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:  # noqa: ARG002 (there are no locks)
        yield

    def _call(self, operation: str, path: str, method: str, **arguments: Any) -> Any:
        with s3_failures(operation, self._uri_of(path)):
            return self._file_system.call_s3(method, Bucket=self.bucket, timeout=OPERATION_SECONDS_MAX, **arguments)

    @property
    def _file_system(self) -> Any:
        if self._held_file_system is None:
            self._held_file_system = self.access.file_system()
        return self._held_file_system

    def _put_if(self, path: str, body: bytes, **condition: str) -> str | None:
        """The version that was written; None if the condition did not hold."""
        key, attempt = self._key(path), 0
        while True:
            attempt += 1
            try:
                written: str = self._call("write", path, "put_object", Key=key, Body=body, **condition)["ETag"]
                return written
            except StorageError as error:
                code = code_of(error.__cause__ or error)
                if code in _REFUSED or isinstance(error, StorageNotFoundError):
                    return self._landed(path, body)
                if code != _BUSY or attempt == ATTEMPTS_MAX:
                    raise

    def _landed(self, path: str, body: bytes) -> str | None:
        """The version, if the object is what was to be written."""
        try:
            data, version = self.read_version(path)
        except StorageNotFoundError:
            return None
        return version if data == body else None

    def _fetch(self, operation: str, path: str, **more: str) -> tuple[bytes, dict[str, Any]]:
        """An object, or a part of it, and what the server says of it."""
        from fsspec.asyn import sync
        from s3fs.core import S3_RETRYABLE_ERRORS

        system, key = self._file_system, self._key(path)

        async def fetch() -> tuple[bytes, dict[str, Any]]:
            attempt = 0
            while True:
                attempt += 1
                response = await system._call_s3("get_object", Bucket=self.bucket, Key=key, **more)
                try:
                    async with response["Body"] as stream:
                        return await stream.read(), response
                except S3_RETRYABLE_ERRORS:  # cut short: botocore's retries end where the body begins
                    if attempt == ATTEMPTS_MAX:
                        raise

        with s3_failures(operation, self._uri_of(path)):
            found: tuple[bytes, dict[str, Any]] = sync(system.loop, fetch, timeout=OPERATION_SECONDS_MAX)
            return found

    def _fetch_block(self, operation: str, path: str, size: int = 1) -> tuple[bytes, int, str]:
        """The beginning of an object, how many bytes it has in all, and its version."""
        try:
            data, response = self._fetch(operation, path, Range=f"bytes=0-{size - 1}")
        except StorageError as error:
            if code_of(error.__cause__ or error) == "InvalidRange":  # which only an empty object has no part of
                return b"", 0, ""
            raise
        place = response.get("ContentRange")  # none from a server that knows of no ranges, and sends all
        return data, int(place.rpartition("/")[2]) if place else len(data), response["ETag"]

    def _unconditional(self, header: str, users: str) -> StorageError:
        return StorageError(
            "rely on",
            self.uri,
            f"this storage ignores the header {header} of a write, which is needed for {users}",
            hint="use a storage that honours conditional writes: without them two writers overwrite each other, and"
            " rows are lost without a word",
        )


class _ObjectFile(io.RawIOBase):
    """One version of an object, fetched in ranges."""

    def __init__(self, storage: ObjectStorage, path: str, size: int, version: str) -> None:
        self._storage, self._path, self._size, self._version = storage, path, size, version
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        end = min(self._place + len(buffer), self._size)
        if self._place >= end:
            return 0
        part, _ = self._storage._fetch(
            "read", self._path, Range=f"bytes={self._place}-{end - 1}", IfMatch=self._version
        )
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)


def _body(data: Any) -> bytes:
    return data if isinstance(data, bytes) else bytes(memoryview(data))
