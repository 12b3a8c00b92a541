"""Which small files of a table are worth to be put together, so that each row is written again only a few times.

Files count by rows, in tiers of a factor of 16 below the target. Where a tier of a partition has enough of them they
become one file, mostly of the tier above: so a row moves up at most once a tier, however long its partition stays open.
In a partition behind the progress few are enough, as no more will come but rows that are late: it ends with some files
a tier, beside those that are full.

Only files of one slice are put together, and the new one tells the slice and all that lies between their windows in
its name: `check_not_set_back` sees of it what it would see of them. The newest file of a slice is left alone: its name
tells where the last batch began. So are files that others have made, and those of half of the target or more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emitter.model import Slice, StagedFile, Window
from emitter.partitioning import PartitionSpec
from emitter.writers.base import parse_file_name
from emitter.writers.upkeep import Chore, Done, UpkeepPolicy

FILES_MAX = 1_000  # of one merge: so long a commit's entry becomes, and so much work a conflict may cost
_CLOSED_FILES_MIN = 4
_TIER_FACTOR = 16


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file of ours. `partition` is its folder in the table."""

    path: str
    partition: str
    slice: Slice
    window: Window
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Merge:
    """Files of one partition and slice, in the order of their windows."""

    files: tuple[SmallFile, ...]

    @property
    def partition(self) -> str:
        return self.files[0].partition

    @property
    def slice(self) -> Slice:
        return self.files[0].slice

    @property
    def window(self) -> Window:
        """From the first to the last that the files were made for."""
        return Window(min(file.window.first for file in self.files), max(file.window.end for file in self.files))

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def chore(self, table: str, file_rows_target: int) -> Chore:
        """As a piece of upkeep."""
        files_after = -(-self.rows // file_rows_target)
        return Chore("compact", table, self.partition, len(self.files), self.size_bytes, files_after)

    def done(self, made: Sequence[StagedFile]) -> Done:
        """What it has come to, with these files in the place of its own."""
        return Done(len(self.files), len(made), self.size_bytes, sum(file.size_bytes for file in made))


def small_file(path: str, partition: str, rows: int | None, size_bytes: int) -> SmallFile | None:
    """What a table registers, if a merge may take it."""
    made = parse_file_name(path)
    return SmallFile(path, partition, *made, rows, size_bytes) if made and rows else None


def choose(
    files: Iterable[SmallFile], slots: Mapping[Slice, int], spec: PartitionSpec, policy: UpkeepPolicy
) -> list[Merge]:
    """The merges that are worth it, those of the oldest partitions first. `slots`: up to where each slice is complete.
    No file is in two of them.
    """
    groups: dict[tuple[str, Slice, int], list[SmallFile]] = defaultdict(list)
    for file in files:
        if 2 * file.rows <= policy.file_rows_target and file.window.end < slots.get(file.slice, file.window.end):
            groups[file.partition, file.slice, _tier(file.rows, policy.file_rows_target)].append(file)
    found = []
    for (partition, slice, _), group in sorted(groups.items(), key=_place):
        is_closed = partition < spec.path(slots[slice])
        least = min(_CLOSED_FILES_MIN, policy.small_files_min) if is_closed else policy.small_files_min
        group.sort(key=lambda file: (file.window.first, file.window.end, file.path))
        found += [Merge(tuple(part)) for part in _cut(group) if len(part) >= max(2, least)]
    return found


def _tier(rows: int, file_rows_target: int) -> int:
    """0 for the largest of the small files."""
    tier, limit = 0, file_rows_target // 2
    while rows * _TIER_FACTOR <= limit:
        tier, limit = tier + 1, limit // _TIER_FACTOR
    return tier


def _place(item: tuple[tuple[str, Slice, int], list[SmallFile]]) -> tuple[str, int, int, int]:
    (partition, slice, tier), _ = item
    return partition, slice.count, slice.index, -tier


def _cut(group: list[SmallFile]) -> Iterator[list[SmallFile]]:
    """The files in pieces of equal length, as few as may be."""
    pieces = -(-len(group) // FILES_MAX)
    for piece in range(pieces):
        yield group[len(group) * piece // pieces : len(group) * (piece + 1) // pieces]
