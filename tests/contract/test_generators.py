"""What every domain must do. One suite, run against the shop and against the small domain that tests use."""

from __future__ import annotations

import unittest
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from unittest import mock

import numpy as np
import polars as pl
import pyarrow as pa
from polars.testing import assert_frame_equal

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS, parse_time, slot_of
from emitter.errors import UsageError
from emitter.generators.base import FRAME_ROWS_MAX, GeneratorBase, Period, batch_windows
from emitter.generators.ecommerce import generator as shop
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.kit import followers, memos
from emitter.generators.shop import generator as whole_shop
from emitter.generators.shop.generator import ShopGenerator
from emitter.model import Frame, Slice, Window
from emitter.partitioning import PartitionSpec
from emitter.randomness import Stream
from emitter.run.factory import create_generator
from emitter.testing import HeartbeatGenerator, HeartbeatOptions

ORIGIN = slot_of(parse_time("2026-01-01T22:53:20Z"))
DAY = 86_400
WHOLE = Slice()
# Over the origin and the hour after it, and over an edge of the days since the origin.
OPENING = Window(ORIGIN - 50, ORIGIN + 650)
LATER = Window(ORIGIN + DAY - 200, ORIGIN + DAY + 400)

Rows = dict[str, pl.DataFrame]


class GeneratorContract:
    """Subclasses make a domain: each time a new instance of the same one."""

    windows = (OPENING, LATER)
    """In each table there is something in one of these, at least."""

    def make(self, period: Period | None = None) -> GeneratorBase:
        raise NotImplementedError

    def make_large(self) -> tuple[GeneratorBase, Window]:
        """One with more rows in a window than a frame may hold."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        cls.whole = {window: gather(cls().make(), [window]) for window in cls.windows}

    # What a frame is

    def test_frames_have_rows_of_the_declared_schema(self) -> None:
        generator = self.make()
        for frame in (frame for window in self.whole for frame in everything(generator, window)):
            table = generator.table(frame.table)
            self.assertGreater(frame.rows.num_rows, 0)
            self.assertEqual(frame.rows.schema.names, [column.name for column in table.columns])
            for column, values in zip(table.columns, frame.rows.columns, strict=True):
                declared = arrow.inside_schema(table).field(column.name).type
                found = values.type.value_type if isinstance(values.type, pa.DictionaryType) else values.type
                self.assertEqual(found, declared, f"{frame.table}.{column.name}")
                if not column.nullable:
                    self.assertEqual(values.cast(declared).null_count, 0, f"{frame.table}.{column.name}")
            frame.rows.validate(full=True)

    def test_rows_of_a_table_come_in_order_of_their_slots(self) -> None:
        generator = self.make()
        last: dict[str, int] = {}
        for frame in everything(generator, Window(ORIGIN, ORIGIN + DAY // 4)):
            slots = slots_of(frame)
            self.assertTrue((np.diff(slots) >= 0).all())
            self.assertLessEqual(last.get(frame.table, 0), int(slots[0]))
            last[frame.table] = int(slots[-1])

    def test_no_frame_is_larger_than_allowed(self) -> None:
        generator, window = self.make_large()
        rows: dict[str, int] = defaultdict(int)
        for frame in everything(generator, window):
            self.assertTrue(0 < frame.rows.num_rows <= FRAME_ROWS_MAX)
            rows[frame.table] += frame.rows.num_rows
        self.assertGreater(max(rows.values()), 2 * FRAME_ROWS_MAX)

    # When things happen

    def test_rows_lie_in_the_window_that_was_asked_for(self) -> None:
        generator = self.make()
        windows = [Window(ORIGIN - 3, ORIGIN + 1), Window(ORIGIN + 17, ORIGIN + 18), LATER]
        for window in windows:
            for frame in everything(generator, window):
                slots = slots_of(frame)
                self.assertTrue(((slots >= window.first) & (slots < window.end)).all(), f"{frame.table} {window}")

    def test_nothing_exists_before_the_origin(self) -> None:
        generator = self.make()
        for window in (Window(ORIGIN - 5000, ORIGIN), Window(0, 100), Window(ORIGIN, ORIGIN), LATER_EMPTY):
            self.assertEqual(list(everything(generator, window)), [])
        early, exact = Window(ORIGIN - 5000, ORIGIN + 60), Window(ORIGIN, ORIGIN + 60)
        self.assert_same(gather(generator, [early]), gather(self.make(), [exact]))
        self.assertEqual(dict(generator.expected_rows(early)), dict(generator.expected_rows(exact)))
        self.assertEqual(set(generator.expected_rows(Window(ORIGIN - 100, ORIGIN)).values()), {0.0})

    # Random access in time

    def test_however_a_window_is_cut_the_rows_are_the_same(self) -> None:
        for seconds in (1, 7, 3600):
            for window, whole in self.whole.items():
                with self.subTest(seconds=seconds, window=window):
                    self.assert_same(gather(self.make(), cut(window, seconds)), whole)

    def test_windows_can_be_asked_in_any_order_and_again(self) -> None:
        """One instance goes forward, then backward, then jumps between far days; another only jumps."""
        used = self.make()
        for window, whole in self.whole.items():
            parts = cut(window, 97)
            self.assert_same(gather(used, parts), whole)
            self.assert_same(gather(used, parts[::-1]), whole)
        jumps = shuffled([(window, part) for window in self.whole for part in cut(window, 61)])
        for generator in (used, self.make()):
            made = [(window, gather(generator, [part])) for window, part in jumps]
            for window, whole in self.whole.items():
                self.assert_same(joined(rows for each, rows in made if each == window), whole)

    def test_a_window_far_away_asked_first_changes_nothing(self) -> None:
        generator = self.make()
        for days in (700, 30, 2):
            list(everything(generator, Window(ORIGIN + days * DAY, ORIGIN + days * DAY + 30)))
        self.assert_same(gather(generator, [OPENING]), self.whole[OPENING])

    def test_two_windows_can_be_read_side_by_side(self) -> None:
        generator = self.make()
        every = generator.tables()
        mine, other = generator.rows(OPENING, WHOLE, every), generator.rows(LATER, WHOLE, every)
        frames: dict[bool, list[Frame]] = {True: [], False: []}
        running = {True: mine, False: other}
        while running:
            for which in list(running):
                frame = next(running[which], None)
                if frame is None:
                    del running[which]
                else:
                    frames[which].append(frame)
        self.assert_same(collected(generator, frames[True]), self.whole[OPENING])
        self.assert_same(collected(generator, frames[False]), self.whole[LATER])

    def test_a_new_instance_and_a_rebuilt_one_make_the_same(self) -> None:
        self.assert_same(gather(self.make(), [LATER]), self.whole[LATER])
        self.assert_same(gather(self.make().rebuilt(ORIGIN), [LATER]), self.whole[LATER])

    def test_another_seed_makes_other_rows(self) -> None:
        generator = self.make()
        other = type(generator)(seed=generator.seed + 1, origin_slot=ORIGIN, options=generator.options)
        for table, rows in gather(other, [OPENING]).items():
            self.assertFalse(rows.equals(self.whole[OPENING][table]), table)

    # Shards and tables

    def test_the_union_of_the_shards_is_the_same_for_every_count(self) -> None:
        for window, whole in self.whole.items():
            generator = self.make()
            for count in (1, 2, 3, 4, 5, 8, 100):
                shards = [Slice(index, count) for index in shuffled(range(count))]
                parts = [gather(generator, [window], slice) for slice in shards]
                with self.subTest(window=window, shards=count):
                    self.assert_same(joined(parts), whole)

    def test_shards_share_the_work_evenly(self) -> None:
        generator = self.make()
        window = Window(ORIGIN, ORIGIN + 3000)
        for count in (2, 5, 8):
            sizes = [
                sum(frame.rows.num_rows for frame in generator.rows(window, Slice(index, count), generator.tables()))
                for index in range(count)
            ]
            self.assertLess(max(sizes), 1.3 * min(sizes), sizes)

    def test_shards_cut_into_windows_make_the_same(self) -> None:
        for count in (3, 4):
            generator = self.make()
            asked = [(Slice(i, count), part) for part in cut(OPENING, 7) for i in range(count)]
            self.assert_same(joined(gather(generator, [part], slice) for slice, part in asked), self.whole[OPENING])

    def test_an_instance_can_take_shards_in_turns(self) -> None:
        """What is remembered of one slice is never taken for another's."""
        first, second = Window(ORIGIN, ORIGIN + 60), Window(ORIGIN + 60, ORIGIN + 120)
        mine, other = Slice(0, 2), Slice(1, 2)
        for name in self.make().tables():
            used = self.make()
            gather(used, [first], mine)
            gather(used, [second], other)
            alone = gather(used, [second], mine, tables=[name])
            self.assert_same(alone, gather(self.make(), [second], mine, tables=[name]))

    def test_a_table_alone_has_the_rows_it_has_among_all(self) -> None:
        names = self.make().tables()
        subsets = [{name} for name in names] + [set(names[:2]), set(names[1:]), set(names[-2:])]
        for reused in (False, True):
            generator = self.make()
            for subset in subsets:
                for window, whole in self.whole.items():
                    made = gather(generator if reused else self.make(), cut(window, 300), tables=subset)
                    self.assertLessEqual(set(made), subset)
                    self.assert_same(made, {name: rows for name, rows in whole.items() if name in subset})

    def test_no_tables_have_no_rows(self) -> None:
        self.assertEqual(list(self.make().rows(OPENING, WHOLE, ())), [])

    # What the declarations say

    def test_tables_are_declared_parents_first_with_a_time_and_a_key(self) -> None:
        generator = self.make()
        seen: set[str] = set()
        for name in generator.tables():
            table = generator.table(name)
            self.assertLessEqual(set(table.parents), seen)
            seen.add(name)
            types = {column.name: column.type for column in table.columns}
            self.assertEqual(len(types), len(table.columns))
            self.assertEqual(types["event_time"], "timestamp")
            self.assertLessEqual(set(table.key), set(types))
            self.assertTrue(table.key and table.description and all(column.description for column in table.columns))
        with self.assertRaisesRegex(UsageError, "no table 'nothing'"):
            generator.table("nothing")

    def test_keys_are_unique(self) -> None:
        generator = self.make()
        for name, rows in gather(generator, [Window(ORIGIN, ORIGIN + 4 * 3600)]).items():
            keys = rows.select(generator.table(name).key)
            self.assertEqual(keys.n_unique(), len(keys), name)
            self.assertEqual(sum(keys.null_count().row(0)), 0)

    def test_expected_rows_are_those_that_come_on_average(self) -> None:
        generator = self.make()
        for window in (Window(ORIGIN - 10, ORIGIN + 20_000), Window(ORIGIN + DAY + 1, ORIGIN + DAY + 7000)):
            expected = generator.expected_rows(window)
            made = {name: len(rows) for name, rows in gather(generator, [window]).items()}
            self.assertEqual(set(expected), set(generator.tables()))
            for name, mean in expected.items():
                # Rows come in groups of a few: their spread is at most some times that of single ones.
                self.assertAlmostEqual(made.get(name, 0), mean, delta=10 * mean**0.5 + 3, msg=name)

    # The Python API

    def test_batches_are_the_rows_as_a_reader_sees_them(self) -> None:
        for name in self.make().tables():
            window = self.with_rows(name)
            generator = self.make(Period(window, batch_seconds=100))
            batches = list(generator.batches_for(name))
            schema = generator.schema_for(name)
            self.assertGreater(len(batches), 0)
            for data in batches:
                self.assertIsInstance(data, pl.DataFrame)
                self.assertEqual(dict(data.schema), dict(schema))
            for column in generator.table(name).columns:
                types = {"money": pl.Decimal(12, 2), "timestamp": pl.Datetime("us", "UTC"), "string": pl.String}
                types |= {"int32": pl.Int32, "int64": pl.Int64, "float64": pl.Float64, "bool": pl.Boolean}
                self.assertEqual(schema[column.name], types[column.type], f"{name}.{column.name}")
            key = generator.table(name).key
            inside = gather(self.make(), [window], tables=[name])[name]
            money = [column.name for column in generator.table(name).columns if column.type == "money"]
            cents = pl.concat(batches).with_columns((pl.col(money) * 100).cast(pl.Int64)).sort(key)
            assert_frame_equal(cents, inside)

    def test_batches_of_shards_are_shares_of_the_whole(self) -> None:
        for name in self.make().tables():
            window = self.with_rows(name)
            parts = [
                batch
                for index in range(3)
                for batch in self.make(Period(window, 150, Slice(index, 3))).batches_for(name)
            ]
            whole = pl.concat(self.make(Period(window, 3600)).batches_for(name))
            key = list(self.make().table(name).key)
            assert_frame_equal(pl.concat(parts).sort(key), whole.sort(key))

    def test_batches_need_a_period_and_a_table_that_exists(self) -> None:
        with self.assertRaisesRegex(UsageError, "bounded period"):
            next(self.make().batches_for(self.make().tables()[0]))
        with self.assertRaisesRegex(UsageError, "no table"):
            next(self.make(Period(OPENING)).batches_for("nothing"))
        for ask in (self.make().schema_for, self.make().partition_spec_for):
            with self.assertRaisesRegex(UsageError, "no table"):
                ask("nothing")

    def test_tables_are_partitioned_as_asked(self) -> None:
        generator = self.make()
        self.assertEqual({generator.partition_spec_for(name) for name in generator.tables()}, {PartitionSpec()})
        hourly = type(generator)(
            seed=1, origin_slot=ORIGIN, options=generator.options, partition=PartitionSpec.of("hour")
        )
        self.assertEqual(hourly.partition_spec_for(hourly.tables()[0]).granularity, "hour")
        self.assertEqual(hourly.rebuilt(ORIGIN).partition_spec_for(hourly.tables()[0]).granularity, "hour")

    def with_rows(self, name: str) -> Window:
        """A window in which a table has some."""
        return next(window for window, rows in self.whole.items() if name in rows)

    def assert_same(self, made: Rows, whole: Rows) -> None:
        self.assertEqual(set(made), set(whole))
        for name in whole:
            assert_frame_equal(made[name], whole[name])


LATER_EMPTY = Window(ORIGIN + DAY, ORIGIN + DAY)


def everything(generator: GeneratorBase, window: Window) -> Iterator[Frame]:
    return generator.rows(window, WHOLE, generator.tables())


def slots_of(frame: Frame) -> np.ndarray:
    return arrow.micros(frame.rows.column("event_time")) // 1_000_000 - EPOCH_UNIX_SECONDS


def cut(window: Window, seconds: int) -> list[Window]:
    return list(batch_windows(window, seconds))


def shuffled[T](things: Iterable[T]) -> list[T]:
    """In another order, the same every time."""
    every = list(things)
    order = np.argsort(Stream(0, "order").words(np.arange(len(every))))
    return [every[place] for place in order]


def collected(generator: GeneratorBase, frames: Iterable[Frame]) -> Rows:
    """Frames by table, sorted by key, in the inside form with plain strings."""
    batches: dict[str, list[pa.RecordBatch]] = defaultdict(list)
    for frame in frames:
        batches[frame.table].append(frame.rows.cast(arrow.inside_schema(generator.table(frame.table))))
    found: Rows = {}
    for name, parts in batches.items():
        data = pl.from_arrow(pa.Table.from_batches(parts))
        assert isinstance(data, pl.DataFrame)
        found[name] = data.sort(generator.table(name).key)
    return found


def gather(
    generator: GeneratorBase, windows: Iterable[Window], slice: Slice = WHOLE, tables: Collection[str] | None = None
) -> Rows:
    """All rows of some windows."""
    names = generator.tables() if tables is None else tables
    return collected(generator, (frame for window in windows for frame in generator.rows(window, slice, names)))


def joined(parts: Iterable[Rows]) -> Rows:
    """The rows of several gatherings, sorted by key again (a table's key leads its columns)."""
    tables: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for part in parts:
        for name, rows in part.items():
            tables[name].append(rows)
    return {name: pl.concat(rows).sort(rows[0].columns[:2]) for name, rows in tables.items()}


class BatchWindowsTests(unittest.TestCase):
    def test_batches_end_at_the_multiples_of_their_length_since_2020(self) -> None:
        self.assertEqual(
            [(batch.first, batch.end) for batch in batch_windows(Window(95, 330), 100)],
            [(95, 100), (100, 200), (200, 300), (300, 330)],
        )
        self.assertEqual(list(batch_windows(Window(7, 7), 100)), [])


class HeartbeatContract(GeneratorContract, unittest.TestCase):
    """The small domain of emitter.testing."""

    def make(self, period: Period | None = None) -> GeneratorBase:
        return HeartbeatGenerator(seed=7, origin_slot=ORIGIN, options=HeartbeatOptions(), period=period)

    def make_large(self) -> tuple[GeneratorBase, Window]:
        return self.make(), Window(ORIGIN, ORIGIN + 2 * FRAME_ROWS_MAX + 5)


class EcommerceContract(GeneratorContract, unittest.TestCase):
    """The shop: small and fast growing, with a price change every second."""

    def make(self, period: Period | None = None) -> GeneratorBase:
        generator = create_generator(
            "ecommerce",
            customers=100_000,
            products=100_000,
            orders_per_second=2.0,
            order_growth_per_year=0.5,
            customer_growth_per_year=1.0,
            product_growth_per_year=1.0,
            price_period_days=1,
            promotions={"2026-01-02": 2.0},
        )
        return type(generator)(seed=7, origin_slot=ORIGIN, options=generator.options, period=period)

    def make_large(self) -> tuple[GeneratorBase, Window]:
        # At the hour of the year with most orders, a second's items are too many for one frame.
        generator = create_generator(
            "ecommerce",
            start="2026-12-06T19:00:00Z",
            customers=600_000,
            products=300_000,
            orders_per_second=40_000,
            order_growth_per_year=0.0,
        )
        return generator, Window(generator.origin_slot, generator.origin_slot + 2)

    def test_the_making_in_chunks_never_shows(self) -> None:
        for orders in (10, 100):
            with mock.patch.object(shop, "CHUNK_ORDERS", orders):
                for window, whole in self.whole.items():
                    self.assert_same(gather(self.make(), [window]), whole)

    def test_payments_looked_back_for_are_those_followed_from_their_orders(self) -> None:
        """Each way alone, for shard counts that divide the lanes and ones that don't."""
        for cost in (0, 10**9):
            with mock.patch.object(followers, "_FOLLOWING_COST", cost):
                for window, whole in self.whole.items():
                    for count in (1, 3, 4):
                        shards = [
                            gather(self.make(), cut(window, 200), Slice(index, count), ["payments"])
                            for index in range(count)
                        ]
                        with self.subTest(cost=cost, window=window, shards=count):
                            self.assert_same(joined(shards), {"payments": whole["payments"]})

    def test_amounts_too_many_to_keep_are_made_again(self) -> None:
        for orders in (0, 100, 1000):
            with mock.patch.object(memos, "_VALUES_MAX", orders):
                for window, whole in self.whole.items():
                    parts, alone = cut(window, 60), {"payments": whole["payments"]}
                    self.assert_same(gather(self.make(), parts), whole)
                    self.assert_same(gather(self.make(), parts, tables=["payments"]), alone)

    def test_something_of_everything_is_in_what_is_compared(self) -> None:
        for window, whole in self.whole.items():
            self.assertEqual(set(whole), set(self.make().tables()), window)
        later = self.whole[LATER]
        self.assertGreater(len(later["customers"]), 0)
        self.assertGreater(later["products"].filter(pl.col("product_id") >= 100_000).height, 0)
        self.assertGreater(later["products"].filter(pl.col("product_id") < 100_000).height, 100)
        self.assertEqual(set(later["payments"]["status"]), {"attempted", "declined", "captured"})
        self.assertEqual(set(later["payments"]["attempt"]), {1, 2})


class ShopContract(GeneratorContract, unittest.TestCase):
    """The whole shop, in the making. Weeks after the origin goods come back too."""

    windows = (OPENING, LATER, Window(ORIGIN + 30 * DAY - 100, ORIGIN + 30 * DAY + 200))

    def make(self, period: Period | None = None) -> GeneratorBase:
        options = EcommerceOptions(
            customers=20_000,
            products=20_000,
            orders_per_second=2.0,
            order_growth_per_year=0.5,
            customer_growth_per_year=1.0,
            product_growth_per_year=1.0,
            price_period_days=1,
            promotions=(("2026-01-02", 2.0),),
        )
        return ShopGenerator(seed=7, origin_slot=ORIGIN, options=options, period=period)

    def make_large(self) -> tuple[GeneratorBase, Window]:
        options = EcommerceOptions(customers=600_000, products=20_000, orders_per_second=70_000, curve="flat")
        return ShopGenerator(seed=7, origin_slot=ORIGIN, options=options), Window(ORIGIN, ORIGIN + 3)

    def test_the_making_in_chunks_never_shows(self) -> None:
        for orders in (10, 100):
            with mock.patch.object(whole_shop, "CHUNK_ORDERS", orders):
                for window, whole in self.whole.items():
                    self.assert_same(gather(self.make(), [window]), whole)

    def test_expected_rows_are_those_that_come_on_average(self) -> None:
        """Near enough to cut windows by: what follows in hours and days is told by a few groups of delays."""
        generator, window = self.make(), Window(ORIGIN + 60 * DAY, ORIGIN + 60 * DAY + 7_200)
        expected = generator.expected_rows(window)
        self.assertEqual(set(expected), set(generator.tables()))
        made = {name: len(rows) for name, rows in gather(generator, [window]).items()}
        for name, mean in expected.items():
            self.assertAlmostEqual(made.get(name, 0), mean, delta=0.3 * mean + 10 * mean**0.5 + 3, msg=name)


if __name__ == "__main__":
    unittest.main()
