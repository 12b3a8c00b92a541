"""Which slices a shard brings how far, whatever shard counts there were."""

from __future__ import annotations

import unittest
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.clock import SLOT_END
from emitter.model import Epoch, Inputs, Slice, Window
from emitter.run.plan import (
    Assignment,
    Layout,
    assignments,
    complete_slot,
    layouts,
    next_edge,
    table_ends,
    tables_at,
    tables_that_came_back,
)


def epoch(from_slot: int, shard_count: int = 1, tables: tuple[str, ...] = ("a", "b"), rate: float = 1.0) -> Epoch:
    return Epoch(from_slot, Inputs({"rate": rate}, shard_count, tables))


def assigned(slice: Slice, *stretches: tuple[int, int], is_own: bool = False) -> Assignment:
    return Assignment(slice, tuple(Window(*stretch) for stretch in stretches), is_own)


def changing(*shard_counts: int) -> list[Epoch]:
    """Another shard count every 100 slots."""
    return [epoch(100 * place, count) for place, count in enumerate(shard_counts)]


class LayoutsTest(unittest.TestCase):
    def test_epochs_of_one_shard_count_are_one_layout(self):
        epochs = [epoch(0), epoch(10, rate=2.0), epoch(20, 2), epoch(30, 2, ("a",)), epoch(40, 1)]
        self.assertEqual(layouts(epochs), [Layout(0, 20, 1), Layout(20, 40, 2), Layout(40, SLOT_END, 1)])

    def test_a_table_that_joins_has_rows_from_the_beginning_and_one_that_is_left_out_ends(self):
        epochs = [epoch(10), epoch(20, tables=("a",)), epoch(30, tables=("a", "c"))]
        self.assertEqual(table_ends(epochs), {"a": SLOT_END, "b": 20, "c": SLOT_END})
        self.assertEqual(
            [tables_at(epochs, slot) for slot in (9, 10, 19, 20, 30)],
            [(), ("a", "b", "c"), ("a", "b", "c"), ("a", "c"), ("a", "c")],
        )

    def test_a_table_that_comes_back_has_rows_in_between(self):
        epochs = [epoch(10), epoch(20, tables=("a",)), epoch(30)]
        self.assertEqual(table_ends(epochs), {"a": SLOT_END, "b": SLOT_END})
        self.assertEqual(tables_at(epochs, 25), ("a", "b"))
        self.assertEqual(tables_that_came_back(epochs), {"b"})
        self.assertEqual(tables_that_came_back(epochs[:2]), set())
        self.assertEqual(tables_that_came_back([epoch(10, tables=("a",)), epoch(20)]), set())

    def test_a_table_that_was_withdrawn_at_once_has_rows_up_to_there(self):
        epochs = [
            epoch(10, tables=("a",)),
            Epoch(20, Inputs({}, 1, ("a",)), withdrawn=("b",)),
            epoch(30, tables=("a",)),
        ]
        self.assertEqual(table_ends(epochs), {"a": SLOT_END, "b": 20})
        self.assertEqual([tables_at(epochs, slot) for slot in (10, 19, 20)], [("a", "b"), ("a", "b"), ("a",)])

    def test_the_next_edge(self):
        epochs = [epoch(10), epoch(20), epoch(30)]
        self.assertEqual([next_edge(epochs, slot) for slot in (0, 10, 19, 20, 30)], [10, 20, 20, 30, SLOT_END])


class AssignmentsTest(unittest.TestCase):
    def test_one_shard_does_it_all(self):
        self.assertEqual(assignments(changing(1), Slice()), [assigned(Slice(), (0, SLOT_END), is_own=True)])

    def test_new_shards_finish_what_old_ones_left(self):
        epochs = changing(1, 2, 4, 3)
        self.assertEqual(
            assignments(epochs, Slice(1, 3)),
            [
                assigned(Slice(1, 2), (100, 200)),
                assigned(Slice(1, 4), (200, 300)),
                assigned(Slice(1, 3), (300, SLOT_END), is_own=True),
            ],
        )
        self.assertEqual(
            [each.slice for each in assignments(epochs, Slice(0, 3))],
            [Slice(0, 1), Slice(0, 2), Slice(0, 4), Slice(3, 4), Slice(0, 3)],
        )
        self.assertEqual([each.slice for each in assignments(epochs, Slice(2, 3))], [Slice(2, 4), Slice(2, 3)])

    def test_old_shards_only_finish_their_own(self):
        self.assertEqual(assignments(changing(1, 2, 4), Slice(1, 2)), [assigned(Slice(1, 2), (100, 200), is_own=True)])

    def test_a_count_that_comes_back_is_its_shards_own_from_the_start(self):
        self.assertEqual(
            assignments(changing(2, 1, 2), Slice(0, 2)),
            [assigned(Slice(0, 2), (0, 100), (200, SLOT_END), is_own=True), assigned(Slice(0, 1), (100, 200))],
        )

    def test_what_a_count_left_in_several_stretches_is_one_slice(self):
        older, other, own = assignments(changing(2, 4, 2, 3), Slice(1, 3))
        self.assertEqual(older, assigned(Slice(1, 2), (0, 100), (200, 300)))
        self.assertEqual((other.slice, own.slice), (Slice(1, 4), Slice(1, 3)))
        self.assertEqual((older.first, older.end), (0, 300))
        self.assertEqual([older.next_slot(slot) for slot in (0, 99, 100, 250, 300)], [0, 99, 200, 250, SLOT_END])
        self.assertEqual([older.stretch_at(slot) for slot in (99, 200)], [Window(0, 100), Window(200, 300)])

    def test_a_shard_that_never_was_has_nothing_to_do(self):
        self.assertEqual(assignments(changing(1, 2), Slice(0, 3)), [])

    def check_cover(self, shard_counts: list[int]) -> None:
        epochs = changing(*shard_counts)
        wanted = Counter(
            (Slice(index, layout.shard_count), layout.first, layout.end)
            for layout in layouts(epochs)
            for index in range(layout.shard_count)
        )
        count = shard_counts[-1]
        shared = Counter(
            (each.slice, stretch.first, stretch.end)
            for index in range(count)
            for each in assignments(epochs, Slice(index, count))
            for stretch in each.stretches
        )
        self.assertEqual(shared, wanted)

    def test_the_shards_in_force_cover_every_slice_of_the_past_once(self):
        for length in range(1, 6):
            self.check_cover([1, 2, 4, 3, 1][:length])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    def test_they_do_after_any_changes(self, shard_counts):
        self.check_cover(shard_counts)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 8))
    def test_they_come_in_order_of_time(self, shard_counts, index):
        own = Slice(index % shard_counts[-1], shard_counts[-1])
        firsts = [each.first for each in assignments(changing(*shard_counts), own)]
        self.assertEqual(firsts, sorted(firsts))


class CompleteSlotTest(unittest.TestCase):
    def test_the_slowest_slice_of_the_slowest_table(self):
        epochs = changing(2)
        progress = {"a": {Slice(0, 2): 50, Slice(1, 2): 70}, "b": {Slice(0, 2): 60, Slice(1, 2): 40}}
        self.assertEqual(complete_slot(epochs, progress), 40)
        del progress["b"][Slice(1, 2)]
        self.assertEqual(complete_slot(epochs, progress), 0)

    def test_the_old_shards_come_first(self):
        epochs = changing(2, 1)
        both = {Slice(0, 2): 100, Slice(1, 2): 90, Slice(): 250}
        self.assertEqual(complete_slot(epochs, {"a": both, "b": both}), 90)
        both[Slice(1, 2)] = 100
        self.assertEqual(complete_slot(epochs, {"a": both, "b": both}), 250)

    def test_a_table_that_was_left_out_no_longer_counts_unless_it_comes_back(self):
        epochs = [epoch(0), epoch(100, tables=("a",))]
        progress = {"a": {Slice(): 300}, "b": {Slice(): 100}}
        self.assertEqual(complete_slot(epochs, progress), 300)
        self.assertEqual(complete_slot(epochs, {**progress, "b": {Slice(): 99}}), 99)
        self.assertEqual(complete_slot([*epochs, epoch(200, tables=("a", "b"))], progress), 100)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
    def test_it_only_grows(self, shard_counts, data):
        epochs = changing(*shard_counts)
        slices = {Slice(index, count) for count in shard_counts for index in range(count)}
        slots = st.dictionaries(st.sampled_from(sorted(slices, key=str)), st.integers(0, 500))
        progress = {"a": data.draw(slots), "b": data.draw(slots)}
        further = {
            table: {slice: slot + data.draw(st.integers(0, 50)) for slice, slot in stands.items()}
            for table, stands in progress.items()
        }
        self.assertLessEqual(complete_slot(epochs, progress), complete_slot(epochs, further))
