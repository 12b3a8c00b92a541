"""What a comparison of tables with the truth comes to: what is wrong, and how far each table is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emitter.clock import text_of
from emitter.model import Slice
from emitter.showing import Grid, Shown

EXAMPLES_MAX = 10
SLICES_SHOWN_MAX = PARTITIONS_SHOWN_MAX = 20
WRONG_ROWS = ("lost", "duplicated", "altered", "unexpected", "behind")
_WRONG_FILES = ("broken_files", "misshapen_files")
_IN_PARTITIONS = (*WRONG_ROWS[:-1], *_WRONG_FILES)
_KINDS = ("rows_expected", "rows_found", *WRONG_ROWS, "under_way", *_WRONG_FILES)


@dataclass(slots=True)
class TableVerification:
    """What was found of one table in a period.

    Wrong are rows that the table says it has and lacks (`lost`), extra copies, rows with another content under a true
    key, rows under no true key, files that no reader can read, and files of another shape than the table's: their
    types, field ids, size or number of rows. `behind` are rows that are not there, though others are further by more
    than a batch under way explains; `under_way` are those that it does explain, which is no fault.

    `complete_slot` is where the first row is missing that is neither wrong nor lost, or the end of the period; `slices`
    says the same of those slices that are not as far. `partitions` has by folder what is wrong in it, `behind` aside.
    """

    table: str
    from_slot: int
    to_slot: int
    rows_expected: int = 0
    rows_found: int = 0
    lost: int = 0
    duplicated: int = 0
    altered: int = 0
    unexpected: int = 0
    behind: int = 0
    under_way: int = 0
    broken_files: int = 0
    misshapen_files: int = 0
    complete_slot: int = 0
    slices: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    examples_max: int = EXAMPLES_MAX
    partitions: dict[str, dict[str, int]] = field(default_factory=dict)
    _missing: dict[Slice, tuple[int, int]] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether all is there that has to be, and nothing else."""
        return not (self.is_wrong or self.behind)

    @property
    def is_wrong(self) -> bool:
        """Whether what the table says it has differs from the truth."""
        rows = self.lost or self.duplicated or self.altered or self.unexpected
        return bool(rows or self.broken_files or self.misshapen_files)

    @property
    def examples_left(self) -> int:
        """How many more examples are taken."""
        return self.examples_max - len(self.examples)

    def example(self, text: str) -> None:
        if self.examples_left:
            self.examples.append(text)

    def wrong(self) -> dict[str, int]:
        """What is wrong so far, by kind, `behind` aside."""
        return {kind: getattr(self, kind) for kind in _IN_PARTITIONS}

    def note_partition(self, folder: str, before: Mapping[str, int]) -> None:
        """What has become wrong since `wrong` said so is of this partition."""
        found = {kind: count - before[kind] for kind, count in self.wrong().items() if count > before[kind]}
        if found:
            self.partitions[folder] = found

    def to_come(self, slice: Slice, rows: int, first_slot: int) -> None:
        """Rows of a slice that it has not done, the first of them in this slot."""
        known, slot = self._missing.get(slice, (0, first_slot))
        self._missing[slice] = known + rows, min(slot, first_slot)

    def settle(self, watermarks: Watermarks) -> None:
        """Decide what becomes of the rows that are still to come."""
        self.complete_slot = min([self.to_slot, *(slot for _, slot in self._missing.values())])
        self.slices = {str(slice): slot for slice, (_, slot) in self._missing.items()}
        for slice, (rows, slot) in self._missing.items():
            if watermarks.explains(slice, slot):
                self.under_way += rows
                continue
            self.behind += rows
            self.example(
                f"behind: {rows:,} rows of slice {slice} are not there, from {text_of(slot)} on, where others are at"
                f" {text_of(watermarks.furthest_slot)}"
            )


@dataclass(frozen=True, slots=True)
class Watermarks:
    """How far a run is, by slice, and what may be missing before that.

    A batch commits its tables one after the other, and the shards of a run commit without a meeting. So of a slice rows
    may be missing that lie in its last batch, and a slice may be `apart_seconds` behind the furthest; or whatever it
    is, while a live process is seen to hold it, and brings it.
    """

    furthest_slot: int
    slots: Mapping[Slice, int]  # where the furthest table of each slice is
    batch_slots: Mapping[Slice, int]  # where the batch begins that has brought it there
    held: frozenset[Slice]
    apart_seconds: int

    def explains(self, slice: Slice, first_missing_slot: int) -> bool:
        """Whether rows of a slice may be missing from this slot on."""
        if slice in self.held:
            return True
        own = self.slots.get(slice)
        if own is not None and first_missing_slot < self.batch_slots.get(slice, own - self.apart_seconds):
            return False
        return self.furthest_slot - max(first_missing_slot, own or 0) <= self.apart_seconds


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What was asked for beyond the end of all tables: `ends_slot` is where they end, `to_slot` up to where was asked,
    and `rows` about how many rows come there.
    """

    ends_slot: int
    to_slot: int
    rows: float


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """The verdict over all tables. It shows itself as a table."""

    tables: Sequence[TableVerification]
    unwritten: Unwritten | None = None

    @property
    def ok(self) -> bool:
        return not self.unwritten and all(table.ok for table in self.tables)

    @property
    def is_wrong(self) -> bool:
        """Whether what the tables say they have differs from the truth. Else they are at worst behind."""
        return any(table.is_wrong for table in self.tables)

    @property
    def complete_slot(self) -> int:
        """Up to where no row is still to come, in any table and slice."""
        ends = [table.complete_slot for table in self.tables]
        return min([*ends, self.unwritten.ends_slot] if self.unwritten else ends, default=0)

    def completeness(self) -> list[str]:
        """Lines that say up to where no row is still to come; and which tables and slices are not at the end."""
        behind = sorted((slot, each.table, slice) for each in self.tables for slice, slot in each.slices.items())
        lines = [f"  {table}: slice {slice} up to {text_of(slot)}" for slot, table, slice in behind[:SLICES_SHOWN_MAX]]
        if len(behind) > SLICES_SHOWN_MAX:
            lines.append(f"  and {len(behind) - SLICES_SHOWN_MAX} more that are further")
        return [f"Complete up to {text_of(self.complete_slot)}.", *lines]

    def partition_lines(self) -> list[str]:
        """What is wrong by table and partition, a line each."""
        lines = [
            f"{table.table} {folder}: {_counts_text(found)}"
            for table in self.tables
            for folder, found in table.partitions.items()
        ]
        more = [f"and {len(lines) - PARTITIONS_SHOWN_MAX} more partitions"] if len(lines) > PARTITIONS_SHOWN_MAX else []
        return [*lines[:PARTITIONS_SHOWN_MAX], *more]

    def sentence(self) -> str:
        """The verdict."""
        rows, coming, beyond = self._total("rows_expected"), self._total("under_way"), ""
        if self.unwritten:
            beyond = (
                f" The tables end at {text_of(self.unwritten.ends_slot)}: of about {self.unwritten.rows:,.0f} rows that"
                f" were asked for beyond it, up to {text_of(self.unwritten.to_slot)}, none is written yet."
            )
        if all(table.ok for table in self.tables):
            more = f"; {coming:,} more are on their way" if coming else ""
            return f"All {rows:,} rows are there, each once{more}.{beyond}"
        wrong = {kind: self._total(kind) for kind in (*WRONG_ROWS, *_WRONG_FILES)}
        return f"Of {rows + self._total('behind'):,} rows: {_counts_text(wrong)}.{beyond}"

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        beyond = self.unwritten
        return {
            "ok": self.ok,
            "verdict": self.sentence(),
            "complete_up_to": text_of(self.complete_slot),
            "unwritten": {
                "from": text_of(beyond.ends_slot),
                "to": text_of(beyond.to_slot),
                "rows_estimated": round(beyond.rows),
            }
            if beyond
            else None,
            "tables": {table.table: _table_json(table) for table in self.tables},
        }

    def grid(self) -> Grid:
        rows = [(table.table, *(getattr(table, kind) for kind in _KINDS)) for table in self.tables]
        examples = [f"{table.table}: {example}" for table in self.tables for example in table.examples]
        below = (*self.partition_lines(), *examples, *self.completeness(), self.sentence())
        return Grid(("table", *(kind.replace("_", " ") for kind in _KINDS)), rows, below)

    def _total(self, kind: str) -> int:
        return sum(getattr(table, kind) for table in self.tables)


def _counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)


def _table_json(table: TableVerification) -> dict[str, Any]:
    return {
        "ok": table.ok,
        "from": text_of(table.from_slot),
        "to": text_of(table.to_slot),
        "complete_up_to": text_of(table.complete_slot),
        **{kind: getattr(table, kind) for kind in _KINDS},
        "slices": {name: text_of(slot) for name, slot in table.slices.items()},
        "partitions": table.partitions,
        "examples": table.examples,
    }
