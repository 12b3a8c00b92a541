"""Whether a query has one right answer: refuses what gives another one each time it is asked."""

from __future__ import annotations

from emitter.duck import Connection
from emitter.errors import UsageError
from emitter.sql.statements import Statement

MADE = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"})
"""Functions that a FROM may name: what they give depends on nothing but their arguments."""

_CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
_READ_CLOCK = frozenset(
    {
        *_CLOCKS,
        *("ago", "current_localtime", "current_localtimestamp", "get_current_time", "get_current_timestamp", "now"),
        *("pg_conf_load_time", "pg_postmaster_start_time", "today", "transaction_timestamp"),
    }
)
_BY_ORDER = {  # whose result depends on the order in which threads bring the rows
    "approx_quantile": "quantile_cont",
    "approx_top_k": "count and ORDER BY",
    "reservoir_quantile": "quantile_cont",
}
_CLOCK_HINT = "give the time itself, such as TIMESTAMPTZ '2026-02-01': the truth is that of simulated time"
_HINT = "ask without it: the answer must be the same whenever it is asked"


def check_repeatable(connection: Connection, statement: Statement) -> None:
    """Raises UsageError for a sample, and for a function whose result is not given by its arguments."""
    changing = {
        str(name)
        for (name,) in connection.execute(
            "SELECT function_name FROM duckdb_functions()"
            " WHERE stability <> 'CONSISTENT' AND schema_name <> 'information_schema'"
        ).fetchall()
    }
    for node in statement.nodes:
        if node.get("sample"):
            raise UsageError("a sample is refused: it takes other rows each time", hint="filter by a column instead")
        name = str(node.get("function_name", "")).lower()
        columns = node.get("column_names") or [""]
        if node.get("type") == "COLUMN_REF" and str(columns[-1]).lower() in _CLOCKS and len(columns) == 1:
            name = str(columns[-1]).lower()
        if name in _READ_CLOCK or (name == "age" and len(node.get("children", ())) < 2):
            raise UsageError(f"the function {name} is refused: it reads the clock of this machine", hint=_CLOCK_HINT)
        if name in _BY_ORDER:
            raise UsageError(
                f"the function {name} is refused: its result depends on the order of rows",
                hint=f"use {_BY_ORDER[name]}",
            )
        if name in changing:
            raise UsageError(f"the function {name} is refused: it gives another result each time", hint=_HINT)
