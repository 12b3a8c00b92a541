"""Compares tables with the truth partition by partition: an hour at a time, by count and order-free digest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial

from emitter import arrow
from emitter.clock import SLOT_END, text_of
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, Table, Window
from emitter.truth.reading import Contents, Found
from emitter.truth.rows import HOUR_SECONDS, ControlTotals, Segment, add_by_hour, cut, new_hours, true_rows
from emitter.truth.rowwise import compare
from emitter.truth.verdict import TableVerification


class Comparison:
    """Compares partition by partition. `later` holds what is not yet required, and may be there."""

    def __init__(
        self,
        generator: GeneratorBase,
        contents: Mapping[str, Contents],
        required: Mapping[str, list[Segment]],
        later: Mapping[str, list[Segment]],
        results: Mapping[str, TableVerification],
    ) -> None:
        self._generator, self._contents, self._results = generator, contents, results
        self._required, self._later = required, later
        self._any_time: dict[str, Found] = {}

    def look_at_rows_of_any_time(self, window: Window, whole: Window | None) -> None:
        """Count the rows that lie in no certain partition; `whole` is where the run has any."""
        for name, contents in self._contents.items():
            found = contents.totals(None, window, whole)
            self._note(name, found, "rows of other times than the run's, or than their partition says")
            self._any_time[name] = found

    def look_at(self, window: Window) -> None:
        """A partition, or what the period has of it."""
        spec = self._generator.partition
        partition = spec.values(window.first)
        span = Window(spec.start(window.first), spec.end(window.first))
        expected = {name: new_hours() for name in self._contents}
        for names, parts in _same_segments({name: cut(each, window) for name, each in self._required.items()}):
            for name, rows in true_rows(self._generator, parts, names):
                add_by_hour(self._generator.table(name), rows, expected[name])
        for name, contents in self._contents.items():
            before = self._results[name].wrong()
            found = contents.totals(partition, window, span)
            self._note(name, found, f"rows of other times in the partition from {text_of(span.first)}")
            for hour, totals in self._any_time[name].hours.items():
                if window.first - HOUR_SECONDS < hour < window.end:
                    found.hours[hour].add(totals.rows, totals.digest)
            self._judge(name, partition, window, expected[name], found.hours)
            self._results[name].note_partition(spec.path(window.first), before)

    def _judge(
        self,
        name: str,
        partition: tuple[int, ...],
        window: Window,
        expected: Mapping[int, ControlTotals],
        found: Mapping[int, ControlTotals],
    ) -> None:
        result, table = self._results[name], self._generator.table(name)
        later = cut(self._later.get(name, ()), window)
        coming = self._coming(table, later)
        result.rows_expected += sum(totals.rows for totals in expected.values())
        result.rows_found += sum(totals.rows for totals in found.values())
        for hour in sorted(expected.keys() | found.keys() | coming.keys()):
            wanted, there = expected.get(hour, ControlTotals()), found.get(hour, ControlTotals())
            everything = ControlTotals(wanted.rows, wanted.digest)
            for totals, _ in coming.get(hour, {}).values():
                everything.add(totals.rows, totals.digest)
            if there.same_rows(everything):
                continue
            if there.same_rows(wanted):
                for slice, (totals, first_slot) in coming[hour].items():
                    result.to_come(slice, totals.rows, first_slot)
                continue
            span = Window(max(hour, window.first), min(hour + HOUR_SECONDS, window.end))
            parts, read = cut(self._required[name], span), partial(self._contents[name].rows, partition, span)
            compare(self._generator, table, span, parts, cut(later, span), read, result)

    def _coming(self, table: Table, later: Iterable[Segment]) -> dict[int, dict[Slice, tuple[ControlTotals, int]]]:
        """By hour and slice, what is not yet required, and the slot of its first row."""
        found: defaultdict[int, dict[Slice, tuple[ControlTotals, int]]] = defaultdict(dict)
        for part in later:
            for _, rows in true_rows(self._generator, [part], [table.name]):
                hours, first_slot = new_hours(), int(arrow.slots(rows.column("event_time")).min(initial=SLOT_END))
                add_by_hour(table, rows, hours)  # `true_rows` gives no more than an hour at a time
                for hour, totals in hours.items():
                    known, slot = found[hour].setdefault(part.slice, (ControlTotals(), first_slot))
                    known.add(totals.rows, totals.digest)
                    found[hour][part.slice] = known, min(slot, first_slot)
        return found

    def look_outside(self, whole: Window) -> None:
        """Rows where no partition of the run is: readers find them, and none belongs there."""
        inside = set(self._generator.partition.partitions(whole))
        for name, contents in self._contents.items():
            for partition in contents.partitions():
                if partition not in inside:
                    found = contents.count(partition)
                    found.misplaced_rows += found.hours.pop(0, ControlTotals()).rows
                    self._note(name, found, "rows of a file outside the partitions of the run")

    def _note(self, name: str, found: Found, misplaced: str) -> None:
        """Add what is wrong whatever the truth is."""
        result = self._results[name]
        unexpected = [(found.misplaced_rows, misplaced)] if found.misplaced_rows else []
        unexpected += [(rows, f"rows of a file without the table's columns ({why})") for rows, why in found.unreadable]
        for rows, what in unexpected:
            result.unexpected += rows
            result.rows_found += rows
            result.example(f"unexpected: {rows} {what}")
        for error in found.broken:  # their rows are lost, and they are told by name
            result.broken_files += 1
            result.example(f"broken: {error.problem}")
        result.misshapen_files += len({path for path, _ in found.shapes})
        for path, fault in found.shapes:
            result.example(f"misshapen: {path}: {fault}")


def _same_segments(parts: Mapping[str, list[Segment]]) -> list[tuple[list[str], list[Segment]]]:
    """The tables whose segments are the same, together: those that share their making are then made once."""
    groups: list[tuple[list[str], list[Segment]]] = []
    for name, each in parts.items():
        for names, same in groups:
            if same == each:
                names.append(name)
                break
        else:
            groups.append(([name], each))
    return groups
