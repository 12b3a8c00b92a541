"""pyiceberg's SQL catalogue, which reads each metadata file of a table once.

A metadata file lists every snapshot, so that it grows with each commit: with 500 of them it takes 15 ms to read, with
10,000 a third of a second. A start looks at each table five times until its first commit, and the library at
every commit once more. The file that the catalogue names is never written to again, so what was read of it stays true.
"""

from __future__ import annotations

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.table import Table


class RememberingSqlCatalog(SqlCatalog):
    """See the module. Of each table it keeps the newest metadata that it has read."""

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self._read: dict[tuple[str, str], Table] = {}

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        key = (str(orm_table.table_namespace), str(orm_table.table_name))
        known = self._read.get(key)
        if known is None or known.metadata_location != orm_table.metadata_location:
            known = self._read[key] = super()._convert_orm_to_iceberg(orm_table)
        # A table of its own: who commits with it puts other metadata into it.
        return Table(known.name(), known.metadata, known.metadata_location, known.io, self)
