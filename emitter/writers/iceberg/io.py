"""How pyiceberg reads and writes the files of a table: through the `Storage` of the writer that uses it.

pyiceberg's own file classes write to a local disk without syncing, so that a power cut after a commit could leave a
catalogue that points to an empty file; and on S3 they find endpoint, credentials and retries by ways of their own. Here
metadata is as durable as every other object, and fails with the same errors.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream

from emitter.errors import ForeignTableError, StorageNotFoundError
from emitter.storage.base import Storage

_PLACE = "emitter.place"


class Place:
    """A storage, and how other tools name it: `file:///data/shop` or `s3://bucket/shop`, for absolute names are all
    that Iceberg knows.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        uri = storage.uri
        self._folder: Path | None = None
        if "://" not in uri or uri.startswith("file:"):
            self._folder = Path(unquote(urlsplit(uri).path) if "://" in uri else uri).absolute()
        self.location = f"file://{self._folder}" if self._folder else uri.rstrip("/")

    def __deepcopy__(self, memo: object) -> Place:
        return self  # pyiceberg copies the properties that it is given

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self._folder is not None

    def local_path(self, path: str) -> str:
        """Where on this machine `path` is."""
        assert self._folder is not None
        return str(self._folder / path)

    def properties(self) -> dict[str, Any]:
        """What makes a catalogue use this place, in its process only: no table's metadata holds it."""
        return {"py-io-impl": f"{__name__}.{StorageFileIO.__name__}", _PLACE: self}

    def of(self, path: str) -> str:
        """The absolute name of what the storage calls `path`."""
        return f"{self.location}/{path}"

    def path(self, location: str) -> str:
        """The storage's name of what is called `location`, however its scheme is written. Raises ForeignTableError for
        what lies elsewhere.
        """
        below = f"{_plain(self.location)}/"
        plain = _plain(location)
        if not plain.startswith(below) or ".." in plain.split("/"):
            raise ForeignTableError(
                f"the catalogue has a table of this name with {location}, which is not in {self.location}",
                hint="set output.uri to where the tables are, or choose another output.catalog.namespace",
            )
        return plain.removeprefix(below)


def _plain(location: str) -> str:
    """A location as one text: `file:/a`, `file:///a` and `/a` are the same, and so are s3, s3a and s3n."""
    scheme, colon, rest = location.partition(":")
    if not colon or scheme == "file":
        return "/" + (rest if colon else location).lstrip("/")
    return "s3:" + rest if scheme in ("s3a", "s3n") else location


class StorageFileIO(FileIO):
    """pyiceberg's files, in a `Place`. Their errors are those of its storage."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self._place: Place = properties[_PLACE]

    def new_input(self, location: str) -> InputFile:
        return _Input(self._place, location)

    def new_output(self, location: str) -> OutputFile:
        return _Output(self._place, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove metadata that is superseded. The library also removes the manifests of a commit that was refused; but
        where a proxy has repeated a request whose reply was lost, the first may have landed. So they are left to
        maintenance, as all that no snapshot may refer to.
        """
        name = location if isinstance(location, str) else location.location
        if name.endswith(".metadata.json"):
            self._place.storage.remove(self._place.path(name))


class _Input(InputFile):
    def __init__(self, place: Place, location: str) -> None:
        super().__init__(location)
        self._storage, self._path = place.storage, place.path(location)

    def __len__(self) -> int:
        return self._storage.size(self._path)

    def exists(self) -> bool:
        try:
            self._storage.size(self._path)
        except StorageNotFoundError:
            return False
        return True

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002
        if self._path.endswith(".parquet"):
            return self._storage.open_file(self._path)
        return io.BytesIO(self._storage.read(self._path))  # metadata is read whole: so it takes one request


class _Output(OutputFile):
    """Its names hold a random number, so that nothing is ever there before: it is not looked for."""

    def __init__(self, place: Place, location: str) -> None:
        super().__init__(location)
        self._place = place

    def __len__(self) -> int:
        return len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return _Input(self._place, self.location)

    def create(self, overwrite: bool = False) -> OutputStream:  # noqa: ARG002
        return _Upload(self._place.storage, self._place.path(self.location))


class _Upload:
    """Keeps what is written, and stores it whole and durably when it is closed; nothing where writing failed."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage, self._path = storage, path
        self._written = io.BytesIO()

    def write(self, b: bytes) -> int:
        return self._written.write(b)

    def tell(self) -> int:
        return self._written.tell()

    def close(self) -> None:
        self._storage.replace(self._path, self._written.getvalue())

    def __enter__(self) -> _Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
