"""The inputs that shape content, in order.

A numbered log of small objects, each put only if absent, so that the log's order settles every race. Entry 0 is the
identity; its digest is the run's id. Every later entry is either a change of inputs, in force from a slot on, or a
seal up to a slot. A slot may be generated only once it is sealed, and a change is valid only beyond the last seal:
what was generated once can never become untrue.

A change may carry a revision. The highest one keeps out the lower, and a change without any: a process that starts
again with an older configuration does not bring its inputs back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from emitter.clock import SLOT_END, parse_time, slot_of, text_of
from emitter.errors import (
    DamagedStateError,
    IdentityMismatchError,
    MissingJournalError,
    StateError,
    StorageError,
)
from emitter.model import Epoch, Inputs, Slice
from emitter.run.entries import INDEX_ENTRIES, Entries, Index, canonical_json, damaged
from emitter.run.plan import table_ends
from emitter.storage.base import Storage
from emitter.watch.observer import InputsAhead

FORMAT_VERSION = 1
APPEND_ATTEMPTS_MAX = 1000  # others may append in between, but not for ever


def make_identity(
    *, seed: int, domain: str, content_version: int, origin_slot: int, partition: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What can never change within a run."""
    return {
        "journal_format": FORMAT_VERSION,
        "seed": seed,
        "domain": domain,
        "content_version": content_version,
        "origin": text_of(origin_slot),
        "partition": partition,
        "options": dict(options),
    }


class Journal:
    """The log of one output, as far as it was read."""

    def __init__(self, identity: dict[str, Any], storage: Storage | None = None) -> None:
        self._entries = Entries(storage) if storage else None
        self._next_number = 1
        self._changes: list[int] = []  # the numbers of all that were read
        self._indexed = 0  # the entry from which on the next index is counted
        self._due_index: Index | None = None
        self.identity = identity
        self.origin_slot = slot_of(parse_time(identity["origin"]))
        self.epochs: tuple[Epoch, ...] = ()
        self.revision: int | None = None
        self.sealed_slot = self.origin_slot

    @property
    def run_id(self) -> str:
        return hashlib.sha256(canonical_json(self.identity).encode()).hexdigest()[:32]

    @classmethod
    def load(cls, storage: Storage) -> Journal | None:
        """The journal as it stands; None if there is none."""
        entries = Entries(storage)
        indexed = entries.newest_index()
        begin = indexed[0].last + 1 if indexed else 1
        count = entries.count(begin - 1)  # before they are read: others may append meanwhile, but nothing goes away
        first = entries.read(0)
        if first is None:
            if count:
                raise damaged(0, "it is gone, though later entries are there")
            return None
        identity = first.get("identity")
        if first.get("kind") != "identity" or not isinstance(identity, dict):
            raise damaged(0, "it does not hold the run's identity")
        if identity.get("journal_format") != FORMAT_VERSION:
            raise damaged(0, f"its format is {identity.get('journal_format')!r}, this release reads {FORMAT_VERSION}")
        try:
            journal = cls(identity, storage)
        except (KeyError, ValueError) as error:
            raise damaged(0, f"its origin cannot be read ({error})") from error
        if indexed:
            journal._follow_index(*indexed)
        for entry in entries.read_all(range(begin, count)):
            journal._take_in(entry)
        journal.refresh()
        return journal

    @classmethod
    def create(cls, storage: Storage, identity: dict[str, Any]) -> Journal:
        """Begin a journal, or load the one that somebody else has just begun."""
        Entries(storage).put(0, {"kind": "identity", "identity": identity})
        journal = cls.load(storage)
        if journal is None:
            raise damaged(0, "it vanished after it was written")
        return journal

    def check_identity(self, asked: Mapping[str, Any]) -> None:
        """Refuse a configuration that contradicts the identity, with the difference."""
        differences = self._differences(self.identity, asked)
        if differences:
            raise IdentityMismatchError("the output", differences)

    def _differences(self, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
        """By key of the configuration: what is stored, and what is asked for."""
        before, after = _flatten(stored), _flatten(asked)
        return tuple(
            (_key_of(key, self.identity), _value_text(before, key), _value_text(after, key))
            for key in sorted(before.keys() | after.keys())
            if before.get(key) != after.get(key)
        )

    def check_progress(self, progress: Mapping[str, Mapping[Slice, int]]) -> None:
        """See that no table (table -> slice -> slot) is further than what is sealed. Raises DamagedStateError."""
        for table, slots in progress.items():
            slot = max(slots.values(), default=0)
            if slot > self.sealed_slot:
                raise DamagedStateError(
                    f"table {table} is complete up to {text_of(slot)}, but the journal ends at"
                    f" {text_of(self.sealed_slot)}: its last entries are gone",
                    hint="restore a newer copy of _emitter/journal: without it nobody knows what the rows are made of",
                )

    def check_there(self, reached_slot: int) -> None:
        """See that the output was not taken away from under this run, which has written up to a slot. Raises
        MissingJournalError; says nothing where storage does not answer.
        """
        if self._entries is None:
            return
        with suppress(StorageError):
            if self._entries.read(0) is None:
                raise MissingJournalError(
                    f"{self._entries.uri} was removed, or moved away, under this run, which had written everything up"
                    f" to {text_of(reached_slot)}: its journal is gone",
                    hint="put it back and start again; or choose another output.uri for a new run",
                )

    def refresh(self) -> bool:
        """Read the entries that others have appended; whether there were any."""
        if self._entries is None:
            return False
        before = self._next_number
        while (entry := self._entries.read(self._next_number)) is not None:
            self._take_in(entry)
        return self._next_number > before

    def inputs_at(self, slot: int) -> Inputs:
        """The inputs in force at a slot."""
        return next(epoch.inputs for epoch in reversed(self.epochs) if epoch.from_slot <= max(slot, self.origin_slot))

    def ahead(self, slot: int) -> tuple[InputsAhead, ...]:
        """What is not yet in force at a slot."""
        return tuple(
            InputsAhead(
                epoch.from_slot,
                tuple(
                    f"{key}: {value}, before {known}"
                    for key, known, value in self._differences(_inputs_json(before.inputs), _inputs_json(epoch.inputs))
                ),
            )
            for before, epoch in pairwise(self.epochs)
            if epoch.from_slot > slot
        )

    @property
    def latest_inputs(self) -> Inputs | None:
        return self.epochs[-1].inputs if self.epochs else None

    def tables(self) -> tuple[str, ...]:
        """Every table that was ever in force, parents first, and that rows may have been made of."""
        return tuple(table_ends(self.epochs))

    def change(self, inputs: Inputs, revision: int | None = None) -> int:
        """Put other inputs in force, beyond the last seal; from which slot on. Does nothing where they are already, and
        where a higher revision keeps them out. Raises StateError where the same revision stands for others.
        """
        self.refresh()
        for _ in range(APPEND_ATTEMPTS_MAX):
            if not self._is_due(inputs, revision):
                return self.epochs[-1].from_slot
            from_slot = self.sealed_slot
            entry = {
                "kind": "change",
                "from_slot": from_slot,
                "from": text_of(from_slot),
                "inputs": _inputs_json(inputs),
            }
            if revision is not None:
                entry["revision"] = revision
            if self._append(entry):
                return from_slot  # others may have sealed further since
        raise self._busy()

    def _is_due(self, inputs: Inputs, revision: int | None) -> bool:
        """Whether a change is to be written. A higher revision is, also with the inputs that are in force: it keeps out
        what came between.
        """
        latest = self.latest_inputs
        if latest is None or self.revision is None:
            return latest != inputs or revision is not None
        if revision == self.revision and latest != inputs:
            lines = (
                f"\n  {key}: stored {stored}, asked for {asked}"
                for key, stored, asked in self._differences(_inputs_json(latest), _inputs_json(inputs))
            )
            raise StateError(
                f"revision {revision} has other inputs in the journal than in this configuration:{''.join(lines)}",
                hint="give a configuration whose inputs have changed a higher revision",
            )
        return revision is not None and revision > self.revision

    def seal(self, slot: int) -> None:
        """See to it that everything before a slot is sealed."""
        self.refresh()
        for _ in range(APPEND_ATTEMPTS_MAX):
            if self.sealed_slot >= slot:
                return
            self._append({"kind": "seal", "to_slot": slot, "to": text_of(slot)})
        raise self._busy()

    def _append(self, entry: dict[str, Any]) -> bool:
        """Whether the entry is now the next one; if not, the one that came first has been read."""
        if self._entries is None:
            self._take_in(entry)
            return True
        won = self._entries.put(self._next_number, entry)
        self.refresh()
        if self._due_index:
            self._entries.put_index(self._due_index)
            self._due_index = None
        return won

    def _follow_index(self, index: Index, entries: Sequence[Mapping[str, Any]]) -> None:
        for number, entry in zip((*index.changes, index.last), entries, strict=True):
            self._apply(number, entry)
        self._next_number, self._indexed = index.last + 1, index.last
        self._changes = list(index.changes)

    def _take_in(self, entry: Mapping[str, Any]) -> None:
        """The next entry."""
        number = self._next_number
        self._apply(number, entry)
        self._next_number += 1
        if entry["kind"] == "change":
            self._changes.append(number)
        elif number - self._indexed >= INDEX_ENTRIES and entry["to_slot"] == self.sealed_slot:
            # Every process that reads this log makes the same indexes, whichever it begins from.
            self._due_index = Index(number, tuple(self._changes))
            self._indexed = number

    def _apply(self, number: int, entry: Mapping[str, Any]) -> None:
        try:
            if entry["kind"] == "seal":
                self.sealed_slot = max(self.sealed_slot, _slot(entry["to_slot"]))
                return
            if entry["kind"] != "change":
                raise ValueError(f"its kind is {entry['kind']!r}")
            raw, from_slot = entry["inputs"], _slot(entry["from_slot"])
            inputs = Inputs(dict(raw["options"]), int(raw["shard_count"]), tuple(raw["tables"]))
            if not all(isinstance(table, str) for table in inputs.tables):
                raise TypeError("a table without a name")
            revision = entry.get("revision", self.revision)
            if revision is not None:
                self.revision = int(revision)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged(number, f"it cannot be understood ({error})") from error
        if from_slot < self.sealed_slot:
            raise damaged(number, "it changes what was sealed before it")
        if not self.epochs and from_slot > self.origin_slot:
            raise damaged(number, "nothing says what is in force before it")
        if inputs == self.latest_inputs:
            return
        before = tuple(epoch for epoch in self.epochs if epoch.from_slot < from_slot)
        replaced = self.epochs[len(before) :]
        self.epochs = (*before, Epoch(from_slot, inputs, _withdrawn(before, replaced, inputs)))

    def _busy(self) -> DamagedStateError:
        return damaged(self._next_number, f"others came first {APPEND_ATTEMPTS_MAX} times")


def _withdrawn(before: Sequence[Epoch], replaced: Sequence[Epoch], inputs: Inputs) -> tuple[str, ...]:
    """The tables that the replaced epochs alone had in force: made from the origin on, or from where they had been left
    out, they may have rows. (Not where nothing was ever sealed.)
    """
    if not before:
        return ()
    known = {*before[-1].inputs.tables, *inputs.tables}
    tables = (table for epoch in replaced for table in (*epoch.inputs.tables, *epoch.withdrawn))
    return tuple(dict.fromkeys(table for table in tables if table not in known))


def _slot(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= SLOT_END:
        raise ValueError(f"{value!r:.40} is no slot")
    return value


def _inputs_json(inputs: Inputs) -> dict[str, Any]:
    return {"options": dict(inputs.options), "shard_count": inputs.shard_count, "tables": list(inputs.tables)}


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item})
    return flat


def _value_text(values: Mapping[str, Any], key: str) -> str:
    return canonical_json(values[key]) if key in values else "its default"


def _key_of(name: str, identity: Mapping[str, Any]) -> str:
    """The configuration's key of a part of the identity, or of the inputs."""
    keys = {"origin": "clock.start", "shard_count": "shard.count"}
    return keys.get(name) or name.replace("options.", f"{identity.get('domain')}.", 1)
