"""How pyiceberg reads and writes its files on S3: through the file system of the writer that uses it.

pyiceberg's own would find its credentials by another way, remember listings, and try again without a limit of ours. It
names this class in the properties of a catalogue (`S3Access.iceberg_properties`).
"""

from __future__ import annotations

from typing import Any

from pyiceberg.io.fsspec import FsspecFileIO


class S3FileIO(FsspecFileIO):
    """pyiceberg's fsspec files, on an `S3Access`."""

    def get_fs(self, scheme: str, hostname: str | None = None) -> Any:
        """The file system of a scheme."""
        if scheme in ("s3", "s3a", "s3n"):
            return self.properties["emitter.s3"].file_system()
        return super().get_fs(scheme, hostname)
