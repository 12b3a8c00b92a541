"""Which small files of a partition are worth being put together, so that each row is written again but a few times.

Appended files are taken when there are `small_files_min` of them. What that makes is taken again when there are
`_FAN_IN` of about a size, and so on, until files hold half the rows wanted: after 50 * 8 * 8 commits a row has been
written four times, and at no time are there more than about 70 small files. A partition that is complete gets only
stragglers, and waits for fewer of them.

The newest appended file of each slice stays as it is: its name tells how far the slice has come, by which a progress
that was set back is found out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from emitter.model import Slice
from emitter.writers.base import parse_file_name
from emitter.writers.ducklake.files import LakeFile
from emitter.writers.upkeep import UpkeepPolicy

_FAN_IN = 8
_FILES_MAX = 300  # in one go: so long a transaction becomes
_APPENDED = -1

Partition = tuple[int, ...]


def groups(
    files: Iterable[LakeFile], policy: UpkeepPolicy, is_closed: Callable[[Partition], bool]
) -> list[list[LakeFile]]:
    """Groups of a table's files that are each to become one, in the order of their partitions. `is_closed`: whether a
    partition is complete.
    """
    files = list(files)
    kept = _newest_of_slices(files)
    by_partition: defaultdict[Partition, list[LakeFile]] = defaultdict(list)
    for file in files:
        if file.partition is not None and file.number not in kept and file.rows * 2 < policy.file_rows_target:
            by_partition[file.partition].append(file)
    return [
        group
        for partition, small in sorted(by_partition.items())
        for group in _of_partition(small, policy, is_closed=is_closed(partition))
    ]


def _newest_of_slices(files: Sequence[LakeFile]) -> set[int]:
    """The numbers of those with the latest window of their slice, in the last partition that it has come to."""
    newest: dict[Slice, tuple[Partition, int, int]] = {}
    for file in files:
        named = parse_file_name(file.path)
        if named and file.partition is not None:
            slice, window = named
            place = (file.partition, window.end, file.number)
            newest[slice] = max(newest.get(slice, place), place)
    return {number for _, _, number in newest.values()}


def _of_partition(small: Sequence[LakeFile], policy: UpkeepPolicy, *, is_closed: bool) -> Iterator[list[LakeFile]]:
    fan_in = min(_FAN_IN, policy.small_files_min)
    tiers: defaultdict[int, list[LakeFile]] = defaultdict(list)
    for file in small:
        is_appended = parse_file_name(file.path) is not None
        tiers[_APPENDED if is_appended else _tier(file.rows, policy.file_rows_target)].append(file)
    for tier, members in sorted(tiers.items()):
        many = policy.small_files_min if tier == _APPENDED and not is_closed else fan_in
        yield from _filled(members, max(2, many), policy.file_rows_target)


def _tier(rows: int, target: int) -> int:
    """How often a file of so many rows is to be put together with its like until it is as large as wanted."""
    tier = 0
    while max(1, rows) * 2 * _FAN_IN**tier < target:
        tier += 1
    return tier


def _filled(members: Sequence[LakeFile], many: int, target: int) -> Iterator[list[LakeFile]]:
    """Groups of `many` or more in the order in which they came, or of as many as hold the rows wanted."""
    group: list[LakeFile] = []
    rows = 0
    for file in sorted(members, key=lambda file: (file.first_snapshot, file.row_id_start or 0, file.number)):
        if group and (rows + file.rows > target or len(group) == _FILES_MAX):
            if len(group) > 1:
                yield group
            group, rows = [], 0
        group.append(file)
        rows += file.rows
    if len(group) >= many:
        yield group
