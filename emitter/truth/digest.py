"""Order-free digests of rows: a 64-bit word per row from its logical values, and their sum.

Equal rows have equal words, whatever wrote them: money counts as cents, times as microseconds, strings as their UTF-8
bytes whether dictionary-encoded or not. The sum modulo 2**64 doesn't depend on order, and a lost, doubled or altered
row changes it.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.model import Column, Table
from emitter.randomness import Stream, Words

_NULL_WORD = np.uint64(0x9E3779B97F4A7C15)
_SHORT_BYTES_MAX = 256  # longer strings are rare, and are hashed one by one
_MIX = Stream(0, "digest")


def row_words(table: Table, rows: pa.RecordBatch, columns: tuple[str, ...] | None = None) -> Words:
    """A word per row of the inside form, from all columns or the named ones."""
    total = np.zeros(rows.num_rows, dtype=np.uint64)
    for column in table.columns:
        if columns is None or column.name in columns:
            total += Stream(0, f"digest.{column.name}").words(_value_words(column, rows.column(column.name)))
    return _MIX.words(total)


def total(words: Words) -> int:
    """The order-free digest of rows."""
    return int(words.sum(dtype=np.uint64))


def _value_words(column: Column, values: arrow.Values) -> Words:
    if isinstance(values, pa.DictionaryArray):
        codes = values.indices.fill_null(0).to_numpy(zero_copy_only=False)
        words = (
            _value_words(column, values.dictionary)[codes]
            if len(values.dictionary)
            else np.zeros(len(values), np.uint64)
        )
    elif column.type == "string":
        words = _string_words(values)
    elif column.type == "timestamp":
        words = arrow.micros(values.fill_null(0)).view(np.uint64)
    elif column.type == "float64":
        words = values.fill_null(0.0).to_numpy(zero_copy_only=False).view(np.uint64)
    elif column.type == "bool":
        words = values.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64)
    else:
        words = values.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    if values.null_count:
        words = np.where(np.asarray(values.is_null()), _NULL_WORD, words)
    return words


def _string_words(values: arrow.Values) -> Words:
    """Eight bytes at a time, all strings at once."""
    plain = values.fill_null("").cast(pa.large_string())
    _, places, data = plain.buffers()
    if not len(plain) or places is None:
        return np.empty(0, dtype=np.uint64)
    offsets = np.frombuffer(places, dtype=np.int64)[plain.offset : plain.offset + len(plain) + 1]
    lengths = np.diff(offsets)
    padded = np.zeros((data.size if data else 0) + 8, dtype=np.uint8)
    if data:
        padded[: data.size] = np.frombuffer(data, dtype=np.uint8)
    eights = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded.data, strides=(1,))
    words = lengths.astype(np.uint64)
    for done in range(0, min(int(lengths.max()), _SHORT_BYTES_MAX), 8):
        left = lengths - done
        inside = np.flatnonzero(left > 0)
        kept = np.minimum(left[inside], 8).astype(np.uint64)
        mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - kept * np.uint64(8))
        words[inside] = _MIX.words(words[inside] ^ (eights[offsets[inside] + done] & mask))
    for row in np.flatnonzero(lengths > _SHORT_BYTES_MAX):
        digest = hashlib.blake2b(padded[offsets[row] : offsets[row + 1]], digest_size=8).digest()
        words[row] = int.from_bytes(digest, "little")
    return words
