"""Queries that come along: what people ask of a shop, each a file of SQL whose first lines tell what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from emitter.errors import UsageError
from emitter.settings.declaring import nearest


@dataclass(frozen=True, slots=True)
class ReferenceQuery:
    """A query by its name, and one line of what it tells."""

    name: str
    summary: str
    text: str


def reference_queries() -> dict[str, ReferenceQuery]:
    """All of them, by name."""
    found = {}
    folder = files("emitter.truth").joinpath("queries")
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        name, _, kind = path.name.rpartition(".")
        if kind == "sql":
            text = path.read_text("utf-8")
            summary = text.splitlines()[1].removeprefix("--").strip()
            found[name] = ReferenceQuery(name, summary, text)
    return found


def reference_query(name: str) -> ReferenceQuery:
    """The one of a name. Raises UsageError."""
    known = reference_queries()
    if name not in known:
        hint = f"{nearest(name, known)} choose one of: {', '.join(known)}".strip()
        raise UsageError(f"there is no reference query {name!r}", hint=hint)
    return known[name]
