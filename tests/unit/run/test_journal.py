"""The journal: one log for everybody, in which what was sealed stays as it was."""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.errors import DamagedStateError, IdentityMismatchError, StateError, StorageError
from emitter.model import Epoch, Inputs
from emitter.run.journal import Journal
from emitter.testing import MemoryStorage
from tests.unit.run.journal_case import IDENTITY, ORIGIN, begun, entry_path, inputs, loaded


class InterruptedStorage(MemoryStorage):
    """Lets others act just before or just after an object is put."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Callable[[], object]] = []
        self.after: list[Callable[[], object]] = []

    def put_if_absent(self, path: str, data: bytes) -> bool:
        if self.before:
            self.before.pop(0)()
        won = super().put_if_absent(path, data)
        if self.after:
            self.after.pop(0)()
        return won


class IdentityTest(unittest.TestCase):
    def setUp(self):
        self.storage = MemoryStorage()

    def test_there_is_no_journal_at_first(self):
        self.assertIsNone(Journal.load(self.storage))

    def test_entry_0_is_the_identity_and_its_digest_the_run(self):
        journal = Journal.create(self.storage, IDENTITY)
        self.assertEqual(json.loads(self.storage.objects[entry_path(0)]), {"kind": "identity", "identity": IDENTITY})
        self.assertEqual((journal.identity, journal.origin_slot, journal.sealed_slot), (IDENTITY, ORIGIN, ORIGIN))
        self.assertRegex(journal.run_id, re.compile("^[0-9a-f]{32}$"))
        self.assertEqual(loaded(self.storage).run_id, journal.run_id)
        self.assertEqual(Journal(dict(reversed(IDENTITY.items()))).run_id, journal.run_id)  # in whatever order
        for key, other in (("seed", 8), ("partition", "hour"), ("options", {"customers": 51})):
            self.assertNotEqual(Journal({**IDENTITY, key: other}).run_id, journal.run_id)

    def test_who_creates_second_loads_the_first(self):
        first = Journal.create(self.storage, IDENTITY)
        second = Journal.create(self.storage, {**IDENTITY, "seed": 8})
        self.assertEqual(second.identity, first.identity)
        with self.assertRaises(IdentityMismatchError):
            second.check_identity({**IDENTITY, "seed": 8})

    def test_another_identity_is_refused_with_the_difference(self):
        journal = Journal.create(self.storage, IDENTITY)
        journal.check_identity(json.loads(json.dumps(IDENTITY)))
        asked = {**IDENTITY, "seed": 8, "options": {"customers": 51, "time_zones": [["Europe/Berlin", 1.0]], "new": 1}}
        with self.assertRaises(IdentityMismatchError) as caught:
            journal.check_identity(asked)
        self.assertEqual(
            caught.exception.differences,
            (("ecommerce.customers", "50", "51"), ("ecommerce.new", "its default", "1"), ("seed", "7", "8")),
        )
        self.assertIn("seed: stored 7, asked for 8", caught.exception.problem)
        self.assertEqual(caught.exception.exit_code, 2)

    def test_every_part_of_the_identity_counts(self):
        journal = Journal.create(self.storage, IDENTITY)
        for key in IDENTITY:
            with self.subTest(key), self.assertRaises(IdentityMismatchError):
                journal.check_identity({**IDENTITY, key: "other"})


class LogTest(unittest.TestCase):
    def setUp(self):
        self.storage = InterruptedStorage()

    def entries(self) -> list[dict]:
        return [json.loads(self.storage.objects[path]) for path in sorted(self.storage.objects)]

    def test_the_first_inputs_hold_from_the_origin(self):
        journal = begun(self.storage)
        self.assertEqual(journal.epochs, (Epoch(ORIGIN, inputs()),))
        self.assertEqual([journal.inputs_at(slot) for slot in (0, ORIGIN, ORIGIN + 9)], [inputs()] * 3)

    def test_a_change_holds_beyond_the_last_seal(self):
        journal = begun(self.storage)
        journal.seal(ORIGIN + 100)
        self.assertEqual(journal.change(inputs(2.0)), ORIGIN + 100)
        self.assertEqual(journal.inputs_at(ORIGIN + 99), inputs())
        self.assertEqual(journal.inputs_at(ORIGIN + 100), inputs(2.0))
        self.assertEqual(journal.latest_inputs, inputs(2.0))

    def test_the_inputs_in_force_are_not_written_again(self):
        journal = begun(self.storage)
        journal.seal(ORIGIN + 100)
        self.assertEqual(journal.change(inputs()), ORIGIN)
        self.assertEqual(len(self.entries()), 3)

    def test_a_change_that_nobody_made_anything_of_is_replaced(self):
        journal = begun(self.storage)
        journal.change(inputs(2.0))
        journal.change(inputs(3.0))
        self.assertEqual(journal.epochs, (Epoch(ORIGIN, inputs(3.0)),))
        self.assertEqual(loaded(self.storage).epochs, journal.epochs)

    def test_what_is_sealed_is_not_sealed_again(self):
        journal = begun(self.storage)
        journal.seal(ORIGIN + 100)
        journal.seal(ORIGIN + 40)
        journal.seal(ORIGIN + 100)
        self.assertEqual((journal.sealed_slot, len(self.entries())), (ORIGIN + 100, 3))

    def test_tables_that_were_ever_in_force(self):
        journal = begun(self.storage)
        journal.seal(ORIGIN + 1)
        journal.change(inputs(tables=("customers",)))
        journal.seal(ORIGIN + 2)
        journal.change(inputs(tables=("customers", "products")))
        self.assertEqual(journal.tables(), ("customers", "orders", "products"))

    def test_a_table_that_was_withdrawn_before_the_next_seal_stays_known_if_it_may_have_rows(self):
        few = inputs(tables=("customers",))
        journal = begun(self.storage)
        journal.change(few)
        self.assertEqual(journal.epochs, (Epoch(ORIGIN, few),))  # nothing was sealed yet
        journal.seal(ORIGIN + 10)
        for tables, known in (
            (("customers", "orders"), ("customers", "orders")),
            (("customers", "products"), ("customers", "products", "orders")),
            (("customers",), ("customers", "products", "orders")),
        ):
            journal.change(inputs(tables=tables))
            self.assertEqual(journal.tables(), known)
        self.assertEqual(journal.epochs, (Epoch(ORIGIN, few), Epoch(ORIGIN + 10, few, ("products", "orders"))))
        journal.change(inputs(tables=("customers", "products")))
        self.assertEqual(journal.epochs[-1].withdrawn, ("orders",))
        self.assertEqual(loaded(self.storage).epochs, journal.epochs)

    def test_another_rate_that_is_replaced_withdraws_nothing(self):
        journal = begun(self.storage)
        journal.seal(ORIGIN + 10)
        journal.change(inputs(2.0))
        journal.change(inputs(3.0, tables=("customers",)))  # orders end here, as they were in force before
        self.assertEqual(journal.epochs[-1], Epoch(ORIGIN + 10, inputs(3.0, tables=("customers",))))

    def test_others_entries_are_seen_when_asked_for(self):
        journal = begun(self.storage)
        other = loaded(self.storage)
        other.seal(ORIGIN + 100)
        self.assertEqual(journal.sealed_slot, ORIGIN)
        self.assertTrue(journal.refresh())
        self.assertFalse(journal.refresh())
        self.assertEqual(journal.sealed_slot, ORIGIN + 100)

    def test_a_seal_that_came_first_moves_the_change(self):
        journal, other = begun(self.storage), loaded(self.storage)
        self.storage.before = [lambda: other.seal(ORIGIN + 100)]
        self.assertEqual(journal.change(inputs(2.0)), ORIGIN + 100)
        self.assertEqual(journal.epochs, (Epoch(ORIGIN, inputs()), Epoch(ORIGIN + 100, inputs(2.0))))

    def test_a_seal_right_behind_leaves_the_change_where_it_is(self):
        journal, other = begun(self.storage), loaded(self.storage)
        self.storage.after = [lambda: other.seal(ORIGIN + 100)]
        self.assertEqual(journal.change(inputs(2.0)), ORIGIN)
        self.assertEqual(journal.inputs_at(ORIGIN), inputs(2.0))

    def test_who_seals_learns_of_a_change_that_came_first(self):
        journal, other = begun(self.storage), loaded(self.storage)
        self.storage.before = [lambda: other.change(inputs(2.0))]
        journal.seal(ORIGIN + 100)
        self.assertEqual(journal.inputs_at(ORIGIN), inputs(2.0))

    def test_two_seal_the_same_and_one_is_enough(self):
        journal, other = begun(self.storage), loaded(self.storage)
        self.storage.before = [lambda: other.seal(ORIGIN + 100)]
        journal.seal(ORIGIN + 100)
        self.assertEqual(len(self.entries()), 3)

    def test_a_lower_seal_that_came_first_is_not_enough(self):
        journal, other = begun(self.storage), loaded(self.storage)
        self.storage.before = [lambda: other.seal(ORIGIN + 50)]
        journal.seal(ORIGIN + 100)
        self.assertEqual([loaded(self.storage).sealed_slot, journal.sealed_slot], [ORIGIN + 100] * 2)

    def test_who_always_loses_gives_up(self):
        journal, other = begun(self.storage), loaded(self.storage)
        storage = self.storage
        slots = iter(range(ORIGIN + 1, ORIGIN + 10_000))

        class Busy(list):
            def __bool__(self):
                return True

            def pop(self, _):
                def act():
                    storage.before = []
                    other.seal(next(slots))
                    storage.before = Busy()

                return act

        storage.before = Busy()
        with self.assertRaises(DamagedStateError):
            journal.seal(ORIGIN + 1_000_000)

    def test_a_lost_reply_is_no_second_entry(self):
        journal = begun(self.storage)

        def lose() -> None:
            raise StorageError("write", "the entry", "no answer")

        self.storage.after = [lose]
        with self.assertRaises(StorageError):
            journal.seal(ORIGIN + 100)
        journal.seal(ORIGIN + 100)
        self.storage.after = [lose]
        with self.assertRaises(StorageError):
            journal.change(inputs(2.0))
        journal.change(inputs(2.0))
        self.assertEqual([entry["kind"] for entry in self.entries()], ["identity", "change", "seal", "change"])


class RevisionTest(unittest.TestCase):
    """A change with a revision: older configurations do not come back."""

    def setUp(self):
        self.storage = InterruptedStorage()
        self.journal = Journal.create(self.storage, IDENTITY)
        self.journal.change(inputs(shard_count=2), 1)
        self.journal.seal(ORIGIN + 100)

    def in_force(self) -> tuple[int, int | None]:
        journal = loaded(self.storage)
        assert journal.latest_inputs is not None
        self.assertEqual((journal.epochs, journal.revision), (self.journal.epochs, self.journal.revision))
        return journal.latest_inputs.shard_count, journal.revision

    def test_a_higher_one_changes_and_a_lower_one_or_none_changes_nothing(self):
        self.assertEqual(self.journal.change(inputs(shard_count=4), 2), ORIGIN + 100)
        entries = len(self.storage.objects)
        for revision in (1, 0, None):
            self.assertEqual(self.journal.change(inputs(shard_count=2), revision), ORIGIN + 100)
        self.assertEqual((self.in_force(), len(self.storage.objects)), ((4, 2), entries))
        self.journal.change(inputs(shard_count=2), 3)
        self.assertEqual(self.in_force(), (2, 3))

    def test_the_same_again_is_not_written_again(self):
        entries = len(self.storage.objects)
        self.journal.change(inputs(shard_count=2), 1)
        self.assertEqual(len(self.storage.objects), entries)

    def test_a_higher_one_with_the_same_inputs_keeps_out_what_came_between(self):
        self.journal.change(inputs(shard_count=2), 3)
        self.journal.change(inputs(shard_count=4), 2)
        self.assertEqual(self.in_force(), (2, 3))
        self.assertEqual(self.journal.epochs, (Epoch(ORIGIN, inputs(shard_count=2)),))

    def test_the_same_one_with_other_inputs_is_refused_with_the_difference(self):
        before = dict(self.storage.objects)
        with self.assertRaises(StateError) as caught:
            self.journal.change(inputs(2.0, 4), 1)
        self.assertEqual(caught.exception.exit_code, 2)
        self.assertIn("\n  shard.count: stored 2, asked for 4", caught.exception.problem)
        self.assertIn("\n  ecommerce.orders_per_second: stored 1.0, asked for 2.0", caught.exception.problem)
        self.assertIn("a higher revision", caught.exception.hint)
        self.assertEqual(self.storage.objects, before)

    def test_one_that_came_first_keeps_out_a_lower_one(self):
        other = loaded(self.storage)
        self.storage.before = [lambda: other.change(inputs(shard_count=8), 3)]
        self.journal.change(inputs(shard_count=4), 2)
        self.assertEqual(self.in_force(), (8, 3))

    def test_a_run_without_revisions_takes_them_up(self):
        storage = self.storage = InterruptedStorage()
        self.journal = begun(storage)
        self.journal.seal(ORIGIN + 100)
        self.journal.change(inputs(shard_count=4))
        self.assertEqual(self.in_force(), (4, None))
        self.journal.change(inputs(shard_count=2), 0)
        self.journal.change(inputs(shard_count=4))
        self.assertEqual(self.in_force(), (2, 0))


_WHO = st.integers(0, 2)
_SEAL = st.tuples(_WHO, st.just("seal"), st.integers(0, 400))
_INPUTS = st.builds(inputs, st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([1, 2]))
_CHANGE = st.tuples(_WHO, st.just("change"), st.tuples(_INPUTS, st.none() | st.integers(0, 3)))
_ACT = st.one_of(_SEAL, _CHANGE)


class AnyInterleavingTest(unittest.TestCase):
    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(_ACT, st.lists(_ACT, max_size=3), st.lists(_ACT, max_size=3)), min_size=1, max_size=12))
    def test_there_is_one_log_and_what_is_sealed_stays(self, plan):
        storage = InterruptedStorage()
        begun(storage)
        journals = [loaded(storage) for _ in range(3)]
        settled: dict[int, Inputs] = {}  # what somebody may have generated by, once it was sealed

        def note(journal: Journal) -> None:
            for slot in range(ORIGIN, journal.sealed_slot, 20):
                self.assertEqual(settled.setdefault(slot, journal.inputs_at(slot)), journal.inputs_at(slot))

        def act(who: int, kind: str, what: object) -> None:
            before, storage.before = storage.before, []  # whoever interrupts is not interrupted
            after, storage.after = storage.after, []
            self._act(journals[who], kind, what)
            note(journals[who])
            storage.before, storage.after = before, after

        for (who, kind, what), before, after in plan:
            # Nobody interrupts itself: a journal belongs to one thread.
            storage.before = [lambda each=each: act(*each) for each in before if each[0] != who]
            storage.after = [lambda each=each: act(*each) for each in after if each[0] != who]
            self._act(journals[who], kind, what)
            note(journals[who])
        storage.before, storage.after = [], []
        for journal in journals:
            journal.refresh()
            note(journal)
        readers = [*journals, loaded(storage)]
        self.assertEqual(len({(str(reader.epochs), reader.sealed_slot) for reader in readers}), 1)
        self._check_log(storage)

    def _act(self, journal: Journal, kind: str, what: object) -> None:
        if kind == "seal":
            journal.seal(ORIGIN + what)
            self.assertGreaterEqual(journal.sealed_slot, ORIGIN + what)
            return
        wanted, revision = what
        try:
            self.assertGreaterEqual(journal.change(wanted, revision), ORIGIN)
        except StateError:
            self.assertNotEqual(journal.latest_inputs, wanted)
            self.assertEqual(journal.revision, revision)
        else:
            if revision is not None and revision == journal.revision:
                self.assertEqual(journal.latest_inputs, wanted)
            elif revision is not None:
                self.assertGreater(journal.revision, revision)

    def _check_log(self, storage: MemoryStorage) -> None:
        """Read without the code that wrote it."""
        paths = sorted(storage.objects)
        self.assertEqual(paths, [entry_path(number) for number in range(len(paths))])
        sealed, revisions = ORIGIN, list[int]()
        for path in paths[1:]:
            entry = json.loads(storage.objects[path])
            if entry["kind"] == "seal":
                self.assertGreater(entry["to_slot"], sealed)
                sealed = entry["to_slot"]
            else:
                self.assertGreaterEqual(entry["from_slot"], sealed)
                revisions += [entry["revision"]] if "revision" in entry else []
                self.assertEqual("revision" in entry, bool(revisions))
        self.assertEqual(revisions, sorted(set(revisions)))
