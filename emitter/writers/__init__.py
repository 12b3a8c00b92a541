"""The table formats, by name. Importing this loads no format; `create_writer` does."""

from __future__ import annotations

FORMATS: dict[str, str] = {"parquet": "emitter.writers.parquet"}
"""Format name -> module with a class named WRITER."""
