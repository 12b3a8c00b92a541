"""What a text of SQL asks for, and that it only reads.

DuckDB itself takes the text apart. A statement that is no query is refused. A query may still do something by a
function in its FROM: begin a log file, run upkeep in a lake, hand SQL to another database. So only functions that are
known to read are let through, wherever they stand; scalar functions change nothing outside their own connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from emitter.duck import Connection
from emitter.errors import UsageError

READING = frozenset(
    {
        "delta_list_files",
        "delta_scan",
        "ducklake_current_snapshot",
        "ducklake_list_files",
        "ducklake_options",
        "ducklake_settings",
        "ducklake_snapshots",
        "ducklake_table_deletions",
        "ducklake_table_info",
        "ducklake_table_insertions",
        "generate_series",
        "glob",
        "iceberg_column_stats",
        "iceberg_metadata",
        "iceberg_partition_stats",
        "iceberg_scan",
        "iceberg_snapshots",
        "icu_calendar_names",
        "json_each",
        "json_tree",
        "parquet_file_metadata",
        "parquet_full_metadata",
        "parquet_kv_metadata",
        "parquet_metadata",
        "parquet_scan",
        "parquet_schema",
        "pg_timezone_names",
        "query_table",
        "range",
        "read_avro",
        "read_blob",
        "read_csv",
        "read_csv_auto",
        "read_json",
        "read_json_auto",
        "read_json_objects",
        "read_json_objects_auto",
        "read_ndjson",
        "read_ndjson_auto",
        "read_ndjson_objects",
        "read_parquet",
        "read_text",
        "repeat",
        "repeat_row",
        "snapshots",
        "sniff_csv",
        "sqlite_scan",
        "summary",
        "table_changes",
        "table_deletions",
        "table_info",
        "table_insertions",
        "unnest",
    }
)
"""Functions that a FROM may name, beside those about DuckDB itself (`duckdb_tables` and the like)."""

_ABOUT_ITSELF = ("duckdb_", "pragma_")
_COMMENTS = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_BEFORE = re.compile(_COMMENTS, re.DOTALL)
_EXPLAIN = re.compile(rf"EXPLAIN\b{_COMMENTS}(?:ANALYZE\b|\([^()]*\))?", re.IGNORECASE | re.DOTALL)
_HINT = "ask by SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
_PIVOT_HINT = "name the values of a PIVOT, as in PIVOT orders ON currency IN ('EUR') USING sum(amount)"


@dataclass(frozen=True, slots=True)
class Statement:
    """A query: its text, and in lower case the names of the tables and of the functions that it reads from. `nodes` are
    the mappings of DuckDB's own tree of it.
    """

    text: str
    tables: frozenset[str]
    functions: frozenset[str]
    nodes: tuple[Mapping[str, Any], ...] = field(repr=False, hash=False)


def read_statements(
    connection: Connection, text: str, verb: str = "sql", reading: Collection[str] = READING
) -> list[Statement]:
    """The queries of a text, one after the other. Raises UsageError for what does more than to read, and duckdb.Error
    for what is no SQL. `reading`: the functions that a FROM may name; `verb`: who says so.
    """
    statements = connection.extract_statements(text)
    if "PIVOT" in text.upper() and any(each.type == duckdb.StatementType.CREATE for each in statements):
        raise _refused(verb, "a PIVOT without values", _PIVOT_HINT)  # which DuckDB looks up by making a type of them
    return [_query(connection, each, verb, reading) for each in statements]


def _query(connection: Connection, statement: duckdb.Statement, verb: str, reading: Collection[str]) -> Statement:
    text = statement.query.strip()
    bare = text[_before(text) :]
    inner = text
    if statement.type == duckdb.StatementType.EXPLAIN:  # which with ANALYZE carries out what it explains
        prefix = _EXPLAIN.match(bare)
        inner = bare[prefix.end() :] if prefix else ""
        explained = connection.extract_statements(inner)
        if len(explained) != 1 or explained[0].type != duckdb.StatementType.SELECT:
            raise _refused(verb, "EXPLAIN of anything but a query")
    elif statement.type != duckdb.StatementType.SELECT:
        first = re.match(r"\w*", bare)
        word = first[0].upper() if first and first[0] else statement.type.name
        raise _refused(verb, word)
    found = connection.execute("SELECT json_serialize_sql(?)", [inner]).fetchone()
    tree = json.loads(found[0]) if found else {"error": True}
    if tree.get("error"):
        raise _refused(verb, bare.partition(" ")[0].upper())
    nodes = tuple(_nodes(tree))
    functions = {
        str(node["function"].get("function_name")).lower() for node in nodes if node.get("type") == "TABLE_FUNCTION"
    }
    for name in sorted(functions):
        if name not in reading and not name.startswith(_ABOUT_ITSELF):
            raise UsageError(
                f"the function {name} is refused in a FROM: {_only(verb)}",
                hint="ask without it; DuckDB itself, or your own tool, can do more",
            )
    tables = frozenset(str(node["table_name"]).strip('"').lower() for node in nodes if node.get("table_name"))
    return Statement(text, tables, frozenset(functions), nodes)


def _refused(verb: str, what: str, hint: str = _HINT) -> UsageError:
    return UsageError(f"{what} is refused: {_only(verb)}", hint=hint)


def _only(verb: str) -> str:
    return f"`emitter {verb}` only reads"


def _before(text: str) -> int:
    """How long the comments are that a statement begins with."""
    found = _BEFORE.match(text)
    return found.end() if found else 0


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in a tree of mappings and lists."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
