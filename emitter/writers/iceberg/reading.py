"""How pyiceberg reads manifests and their lists: what it works out of a file's schema, it works out once.

Of each Avro file it makes the schema into Iceberg's, and that into readers, which takes a millisecond: as long as to
read twenty entries, and a small commit's manifest has one. All manifests of a table say the same schema, and so do all
lists. Readers hold nothing of a file, so that threads may share them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any

from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.file import META_SCHEMA, AvroFile, AvroFileHeader
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import construct_reader, resolve_reader
from pyiceberg.schema import Schema
from pyiceberg.typedef import StructProtocol

_SCHEMA = "avro.schema"
_READERS_MAX = 100  # of a few versions of some tables

_Types = tuple[tuple[int, Callable[..., StructProtocol]], ...]
_Enums = tuple[tuple[int, Callable[..., Enum]], ...]


class _Asked:
    """A schema that is asked for, told from others by what it is: to compare two takes as long as to read by them."""

    def __init__(self, schema: Schema | None) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and other.schema is self.schema

    def __hash__(self) -> int:
        return id(self.schema)


_HEADER = construct_reader(META_SCHEMA, {-1: AvroFileHeader})


@lru_cache(_READERS_MAX)
def _worked_out(text: str, asked: _Asked, types: _Types, enums: _Enums) -> tuple[Schema, Schema, Reader]:
    """The schema of files that say `text`, the one that is asked for, and what reads the one as the other."""
    written = AvroFileHeader(b"", {_SCHEMA: text}, b"").get_schema()
    wanted = asked.schema or written
    return written, wanted, resolve_reader(written, wanted, dict(types), dict(enums))


def _enter(file: AvroFile[Any]) -> AvroFile[Any]:
    with file.input_file.open() as stream:
        file.decoder = new_decoder(stream.read())
    file.header = _HEADER.read(file.decoder)
    types, enums = tuple(file.read_types.items()), tuple(file.read_enums.items())
    known = _worked_out(file.header.meta.get(_SCHEMA, ""), _Asked(file.read_schema), types, enums)
    file.schema, file.read_schema, file.reader = known
    return file


AvroFile.__enter__ = _enter  # type: ignore[method-assign]
