"""The truth as a program or a notebook asks for it: of a generator and its writer, or of a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import emitter
from emitter.clock import parse_time, text_of
from emitter.errors import EmitterError, IdentityMismatchError, MissingJournalError, UsageError
from emitter.generators.base import GeneratorBase
from emitter.truth import oracle
from emitter.writers.base import TableWriter
from tests.support.case import DaemonCase
from tests.support.shop import ORIGIN, START, run, shop_mapping

END = text_of(ORIGIN + 300)


class AskingTest(DaemonCase):
    def generator(self, **options: Any) -> GeneratorBase:
        known = {"customers": 50, "products": 20, "orders_per_second": 0.5, "customer_growth_per_year": 1.0}
        return emitter.create_generator("ecommerce", start=START, end=END, **{**known, **options})

    def writer(self) -> TableWriter:
        return emitter.create_writer("parquet", self.output)

    def test_what_was_written_is_all_there_and_shows_itself(self) -> None:
        report = emitter.write_dataset(self.generator(), self.writer(), clock=self.clock)
        self.assertEqual((text_of(report.from_slot), text_of(report.to_slot)), (START, END))
        self.assertEqual((report.from_time, report.to_time), (parse_time(START), parse_time(END)))
        found = emitter.verify(self.generator(), self.writer())
        self.assertTrue(found.ok)
        for shown in (repr(found), found._repr_html_(), repr(report)):
            self.assertIn("order_items", shown)
        self.assertRegex(repr(found), rf"orders +{report.rows['orders']} +{report.rows['orders']}( +0){{8}}\n")
        self.assertIn("rows are there, each once.", repr(found))
        self.assertIn("Written from", repr(report))

    def test_what_is_lost_is_told(self) -> None:
        emitter.write_dataset(self.generator(), self.writer(), clock=self.clock)
        next(self.output.glob("orders/**/*.parquet")).unlink()
        found = emitter.verify(self.generator(), self.writer(), table="orders")
        self.assertFalse(found.ok)
        self.assertIn("orders: lost: order_id=", repr(found))
        self.assertTrue(emitter.verify(self.generator(), self.writer(), table="customers").ok)

    def test_a_generator_that_partitions_otherwise_is_followed_here_too(self) -> None:
        hourly = self.generator()
        hourly.partition = emitter.PartitionSpec.of("hour")
        emitter.write_dataset(hourly, self.writer(), clock=self.clock)
        self.assertTrue(emitter.verify(hourly, self.writer()).ok)

    def test_a_configuration_is_an_object_or_a_file(self) -> None:
        run(self.config(), 300)
        path = self.output / "shop.yaml"
        path.write_text(json.dumps(shop_mapping(self.output)))
        for source in (self.config(), path, str(path)):
            self.assertTrue(emitter.verify(source).ok)
            self.assertEqual(emitter.expect(source, end=END), oracle.expect(self.config(), None, ORIGIN + 300))

    def test_an_open_run_makes_the_rows_of_the_inputs_that_were_in_force(self) -> None:
        run(self.config(), 100)
        run(self.config(ecommerce__orders_per_second=2), 300)
        opened = emitter.open_run(self.config(ecommerce__orders_per_second=7))
        truth = emitter.expect(self.config(), end=END)["tables"]
        for table, expected in truth.items():
            made = sum(frame.height for frame in opened.batches_for(table, end=END))
            self.assertEqual(made, expected["rows"], table)
        self.assertEqual([inputs.options["orders_per_second"] for inputs in opened.inputs.values()], [0.5, 2])
        self.assertGreaterEqual(opened.sealed_until, parse_time(END))
        whole = sum(frame.height for frame in opened.generator.batches_for("orders"))
        self.assertGreaterEqual(whole, truth["orders"]["rows"])
        self.assertIn("sealed until", repr(opened))
        self.assertEqual(list(opened.batches_for("orders", start=END, end=START)), [])

    def test_what_was_never_begun_cannot_be_opened(self) -> None:
        with self.assertRaises(MissingJournalError):
            emitter.open_run(self.config(output__uri=str(self.output / "nothing")))
        with self.assertRaises(emitter.UsageError):
            emitter.open_run(7)  # type: ignore[arg-type]

    def test_the_truth_is_that_of_the_command_line(self) -> None:
        run(self.config(), 100)
        run(self.config(ecommerce__orders_per_second=2), 300)
        by_journal = emitter.expect(self.generator(orders_per_second=7.0), self.writer())
        self.assertEqual(by_journal, oracle.expect(self.config(), None, ORIGIN + 300))
        by_itself = emitter.expect(self.generator(orders_per_second=7.0), start=START)
        self.assertGreater(by_itself["tables"]["orders"]["rows"], by_journal["tables"]["orders"]["rows"])
        self.assertEqual(json.loads(json.dumps(by_itself)), by_itself)
        digest = by_itself["tables"]["orders"]["digest"]
        for shown in (repr(by_itself), by_itself._repr_html_()):
            self.assertIn(digest, shown)
            self.assertIn(f"From {START} to {END}.", shown)

    def test_a_part_of_the_time(self) -> None:
        emitter.write_dataset(self.generator(), self.writer(), clock=self.clock)
        begin, end = text_of(ORIGIN + 60), text_of(ORIGIN + 120)
        truth = emitter.expect(self.generator(), start=begin, end=end)
        found = emitter.verify(self.generator(), self.writer(), start=begin, end=end)
        self.assertEqual(
            {table.table: table.rows_found for table in found.tables},
            {name: table["rows"] for name, table in truth["tables"].items()},
        )

    def test_what_cannot_be_answered_is_refused_with_what_to_do(self) -> None:
        open_end = emitter.create_generator("ecommerce", start=START)
        wrong: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any], type[EmitterError], str]] = [
            (emitter.verify, (self.generator(), self.writer()), {}, MissingJournalError, "write_dataset(generator"),
            (emitter.verify, (self.generator(),), {}, UsageError, "give a generator and its writer"),
            (emitter.verify, (self.generator(), "parquet"), {}, UsageError, "give a generator and its writer"),
            (emitter.verify, (7,), {}, UsageError, "give a generator and its writer"),
            (emitter.verify, (self.config(), self.writer()), {}, UsageError, "leave it out"),
            (emitter.verify, (self.generator(), self.writer()), {"end": "soon"}, UsageError, "such as 2026-01-31"),
            (emitter.expect, (open_end,), {}, UsageError, "give end to expect, or to create_generator"),
            (emitter.expect, (self.config(),), {}, UsageError, "end="),
        ]  # fmt: skip
        for function, arguments, options, kind, hint in wrong:
            with self.subTest(arguments=arguments, options=options), self.assertRaises(kind) as caught:
                function(*arguments, **options)
            self.assertIn(hint, caught.exception.hint)

    def test_the_output_of_another_run_is_refused(self) -> None:
        emitter.write_dataset(self.generator(), self.writer(), clock=self.clock)
        for function in (emitter.verify, emitter.expect):
            with self.assertRaises(IdentityMismatchError):
                function(self.generator(customers=51), self.writer())
