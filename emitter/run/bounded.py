"""The same rows for a bounded period: the daemon's loop with an end and no waiting."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from emitter.clock import Clock, SystemClock, text_of, time_of
from emitter.config import EmitterConfig
from emitter.encoder import Encoder
from emitter.errors import UsageError, wrong_type
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, StepReport, Window
from emitter.run.assembly import configured_daemon, configured_writer, run_of, worker_stager
from emitter.run.daemon import Daemon
from emitter.run.factory import whole_tables
from emitter.run.journal import Journal
from emitter.run.lease import LOOK_SECONDS
from emitter.run.opening import Settings
from emitter.showing import Grid, Shown
from emitter.watch.observer import DaemonStatus, Observer, Observers, Tally
from emitter.watch.progressbar import OnProgress, progress_bar
from emitter.writers.base import TableWriter

WINDOW_SECONDS = 86_400  # bounded runs are cut at the days, and by the row limit
_DEALT_SLACK = 1.05  # windows are cut at whole seconds, and nothing is to be left for one more
_DEALT_ROWS_MIN = 100_000  # a window of fewer is not worth its files, whoever has nothing to do
_SAMPLE_ROWS = 100_000

_MAKE_GENERATOR = 'make one: create_generator("ecommerce", start="2026-01-01", end="2026-01-02")'
_MAKE_WRITER = 'make one: create_writer("parquet", "data/shop")'


@dataclass(frozen=True, repr=False)
class GenerateReport(Shown):
    """What a bounded run wrote: from where to where, and by table rows, files and bytes; and what other processes hold
    of what older shard counts have left to it, so that it is not there yet: slices, and the first slot that is missing.
    It shows itself as a table.
    """

    from_slot: int
    to_slot: int
    rows: Mapping[str, int]
    files: Mapping[str, int]
    bytes: Mapping[str, int]
    left_to_others: Mapping[Slice, int] = field(default_factory=dict)

    def grid(self) -> Grid:
        rows = [(table, count, self.files[table], self.bytes[table]) for table, count in self.rows.items()]
        left = [f"Left to others: {text}." for text in self.left_texts()]
        return Grid(("table", "rows", "files", "bytes"), rows, (self.sentence(), *left))

    @property
    def from_time(self) -> datetime:
        """`from_slot` as a time."""
        return time_of(self.from_slot)

    @property
    def to_time(self) -> datetime:
        """`to_slot` as a time."""
        return time_of(self.to_slot)

    @property
    def has_written(self) -> bool:
        """Whether there was anything to do."""
        return self.from_slot < self.to_slot or bool(self.left_to_others)

    def sentence(self) -> str:
        """From where to where it was."""
        if self.has_written:
            return f"Written from {text_of(self.from_slot)} to {text_of(self.to_slot)}."
        return f"Nothing to do: everything up to {text_of(self.to_slot)} is there."

    def left_texts(self) -> list[str]:
        """What is left to others, a text for each slice."""
        return [f"slice {slice} from {text_of(slot)} on" for slice, slot in self.left_to_others.items()]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a bounded run would write: the mean rows by table, and about how many bytes and files."""

    rows: Mapping[str, float]
    bytes: Mapping[str, float]
    files: Mapping[str, int]


def generate(
    config: EmitterConfig,
    from_slot: int | None,
    to_slot: int,
    *,
    jobs: int = 1,
    clock: Clock | None = None,
    observer: Observer | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    begin_worker: Callable[[], None] | None = None,
) -> GenerateReport:
    """Write what is missing up to `to_slot`, or to the end of the batch in which `stop` is set; a repeat does nothing.
    `begin_worker` (picklable) is the first thing that each of several processes calls. Raises UsageError for a period
    that ends before it begins, and for one that begins beyond what is there: a gap could never be told from lost rows.
    """
    config = _bounded(config, from_slot)
    clock = clock or SystemClock()
    generator, first = _begin_of(config, configured_writer(config), from_slot, to_slot, clock)
    stager = None
    if jobs > 1:
        config = _dealt(config, generator, Window(first, max(first, to_slot)), jobs)
        stager = worker_stager(config, clock, jobs, begin_worker)
    tally = _ToldTally(on_progress)
    daemon = configured_daemon(
        config,
        clock=clock,
        observer=Observers(tally, observer) if observer else tally,
        until_slot=to_slot,
        stager=stager,
    )
    stop = stop or threading.Event()
    while not daemon.take(patiently=False):  # on S3 another process writes the slice, or was killed a moment ago
        if clock.wait(stop, LOOK_SECONDS):
            return GenerateReport(first, first, {}, {}, {})
    with daemon:
        return _run(daemon, tally, first, to_slot, stop)


def estimate(config: EmitterConfig, from_slot: int | None, to_slot: int, *, clock: Clock | None = None) -> Estimate:
    """What `generate` would write, from the rates and a sample; nothing is written."""
    config = _bounded(config, from_slot)
    writer = configured_writer(config)
    generator, first = _begin_of(config, writer, from_slot, to_slot, clock or SystemClock())
    tables, slice = config.table_names, Slice(config.shard.index, config.shard.count)
    window = Window(first, max(first, to_slot))
    rows = {table: expected / slice.count for table, expected in generator.expected_rows(window).items()}
    rows = {table: rows[table] for table in tables}
    row_bytes = _row_bytes(generator, writer, window, slice, tables)
    batches = max(sum(rows.values()) / config.clock.batch_rows_max, window.seconds / WINDOW_SECONDS)
    files = {
        table: math.ceil(min(rows[table], max(rows[table] / config.output.file_rows_target, batches)))
        for table in tables
    }
    return Estimate(rows, {table: rows[table] * row_bytes.get(table, 0.0) for table in tables}, files)


def write_dataset(
    generator: GeneratorBase,
    writer: TableWriter,
    tables: Sequence[str] | None = None,
    *,
    progress: bool | None = None,
    on_progress: OnProgress | None = None,
    clock: Clock | None = None,
) -> GenerateReport:
    """Write a generator's period (its `start` to its `end`) with a writer, exactly once: what is there already is not
    written again. `tables` must include their parents; None is all of them.

    `progress`: whether a line on stderr tells how far it is; None is where somebody watches, at a terminal or in a
    notebook. `on_progress` is told the same after each step.

    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> report = emitter.write_dataset(shop, emitter.create_writer("parquet", "data/written"), ["customers"])
    >>> report.rows
    {'customers': 50}
    """
    if not isinstance(generator, GeneratorBase):
        raise wrong_type("the generator of write_dataset", generator, hint=_MAKE_GENERATOR)
    if not isinstance(writer, TableWriter):
        raise wrong_type("the writer of write_dataset", writer, hint=_MAKE_WRITER)
    if generator.period is None:
        raise UsageError("write_dataset needs a bounded period", hint="give start and end to create_generator")
    period = generator.period
    names = generator.tables() if tables is None else whole_tables(generator, tables)
    settings = Settings(period.slice, names, batch_seconds=period.batch_seconds)
    writer = writer.placing(generator.partition)
    clock = clock or SystemClock()
    wanted = False if progress is None and on_progress else progress  # who is told is shown nothing unasked
    with progress_bar("write_dataset", wanted, clock) as bar:
        tally = _ToldTally(on_progress, bar)
        end = period.window.end
        with Daemon(generator, writer, settings, clock=clock, observer=tally, until_slot=end) as daemon:
            return _run(daemon, tally, daemon.status().reached_slot, end)


def _bounded(config: EmitterConfig, from_slot: int | None) -> EmitterConfig:
    """A configuration whose clock never waits. Where the origin is to be `now` and there is none yet, it is the
    beginning of the period.
    """
    clock = replace(config.clock, speed="max", batch_seconds=WINDOW_SECONDS)
    if clock.start == "now" and from_slot is not None and Journal.load(configured_writer(config).storage) is None:
        clock = replace(clock, start=time_of(from_slot))
    return replace(config, clock=clock)


def _dealt(config: EmitterConfig, generator: GeneratorBase, window: Window, jobs: int) -> EmitterConfig:
    """With windows as large as is allowed, of which each of so many processes gets as many."""
    expected = generator.expected_rows(window)
    rows = sum(expected[table] for table in config.table_names) / config.shard.count
    rounds = max(1, math.ceil(rows / (config.clock.batch_rows_max * jobs)))
    rows_max = max(math.ceil(_DEALT_SLACK * rows / (rounds * jobs)), _DEALT_ROWS_MIN)
    clock = replace(config.clock, batch_rows_max=min(rows_max, config.clock.batch_rows_max))
    return replace(config, clock=clock)


def _begin_of(
    config: EmitterConfig, writer: TableWriter, from_slot: int | None, to_slot: int, clock: Clock
) -> tuple[GeneratorBase, int]:
    """The generator, and the slot from which on a period up to `to_slot` is still to be made."""
    generator, journal = run_of(config, writer, clock)
    origin, own = generator.origin_slot, Slice(config.shard.index, config.shard.count)
    tables = journal.tables() if journal else ()
    slots = [stands.slot for table in tables for slice, stands in writer.progress(table).items() if slice == own]
    first = max([origin, *slots])
    begin = origin if from_slot is None else from_slot
    if to_slot <= begin:
        raise UsageError(
            f"the period ends at {text_of(to_slot)}, which is not after its beginning at {text_of(begin)}",
            hint="give a later --to",
        )
    if begin > first:
        raise UsageError(
            f"cannot leave out what lies between {text_of(first)} and {text_of(begin)}",
            hint=f"give no --from: rows are made from {text_of(first)} on",
        )
    return generator, first


def _run(
    daemon: Daemon, tally: _ToldTally, first_slot: int, to_slot: int, stop: threading.Event | None = None
) -> GenerateReport:
    tally.first, tally.total_seconds = first_slot, max(0, to_slot - first_slot)

    def is_stopped() -> bool:
        return stop is not None and stop.is_set()

    while not daemon.finished and not is_stopped():
        daemon.step()
    left = daemon.left_to_others()
    while left and not is_stopped() and daemon.step() is not None:  # whoever had it may be gone by now
        left = daemon.left_to_others()
    if not daemon.finished:
        to_slot = daemon.status().reached_slot
    return GenerateReport(first_slot, max(first_slot, to_slot), tally.rows, tally.files, tally.bytes, left)


class _ToldTally(Tally):
    """Tells after each step how far it is, too."""

    def __init__(self, *told: OnProgress | None) -> None:
        super().__init__()
        self._told = [each for each in told if each]
        self.first = self.total_seconds = 0

    def stepped(self, report: StepReport, status: DaemonStatus) -> None:  # noqa: ARG002 (an observer's)
        done = min(max(0, status.reached_slot - self.first), self.total_seconds)
        for tell in self._told:
            tell(done, self.total_seconds, sum(self.rows.values()))


def _row_bytes(
    generator: GeneratorBase, writer: TableWriter, window: Window, slice: Slice, tables: tuple[str, ...]
) -> dict[str, float]:
    """Bytes a row takes, by table, in an encoded sample of the period's first rows."""
    encoder = Encoder([generator.table(table) for table in tables], writer.options)
    sample = Window(window.first, min(window.end, window.first + WINDOW_SECONDS))
    chunks, seen = [], 0
    for frame in generator.rows(sample, slice, tables):
        chunks += encoder.add(frame)
        seen += frame.rows.num_rows
        if seen > _SAMPLE_ROWS and frame.table == tables[-1]:
            break
    sizes: dict[str, list[int]] = {}
    for chunk in [*chunks, *encoder.finish()]:
        encoded = encoder.encode(chunk)
        size = sizes.setdefault(encoded.table, [0, 0])
        size[0] += encoded.data.size
        size[1] += encoded.rows
    return {table: size / rows for table, (size, rows) in sizes.items()}
