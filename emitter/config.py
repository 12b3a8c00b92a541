"""Configuration: a YAML file, then environment variables, then flags, into one frozen `EmitterConfig`.

    file < EMITTER_CLOCK__SPEED=60 (`__` between the parts, YAML values) < --set clock.speed=60

Everything wrong anywhere is told at once in one ConfigurationError. Secrets never come from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from emitter.clock import parse_time
from emitter.errors import ConfigurationError, Fault
from emitter.generators import DOMAINS, domain_tables
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.settings.connections import CatalogConfig, S3Config, path_faults
from emitter.settings.declaring import Check, flatten, leaf_keys, nearest, read_settings, validate_options
from emitter.settings.rules import checked, number, one_of, optional, or_name, text, whole, yes_or_no
from emitter.settings.sources import read_sources
from emitter.writers import FORMATS

__all__ = [
    "CatalogConfig",
    "ClockConfig",
    "EmitterConfig",
    "LogConfig",
    "MaintenanceConfig",
    "OutputConfig",
    "Reload",
    "S3Config",
    "ServerConfig",
    "ShardConfig",
    "VerificationConfig",
    "flatten",
    "load_config",
    "reload_differences",
    "validate",
    "validate_options",
]

Restart = Literal["catch_up", "continue"]


def _read_start(value: Any) -> datetime | Literal["now"]:
    if value == "now":
        return "now"
    return parse_time(value)


def _read_tables(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError("not a list of names")
    return tuple(value)


def _history_faults(
    history: str | None, start: datetime | str, speed: float | str, on_restart: str | None
) -> Iterable[tuple[Any, str, str]]:
    if history is None:
        return
    if start == "now":
        yield history, "nothing where clock.start is now", "give clock.start a time in the past"
    if speed != 1:
        yield history, "nothing but at clock.speed 1", "it ends level with the wall clock, and stays there"
    if on_restart == "continue":
        yield history, "nothing where clock.on_restart is continue", "leave clock.on_restart out"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockConfig:
    """Simulated time: where it begins, how fast it runs, and how it is cut into batches."""

    CHECKS: ClassVar[tuple[Check, ...]] = (Check(("history", "start", "speed", "on_restart"), _history_faults),)

    start: Annotated[
        datetime | Literal["now"],
        checked(
            "now, or a time in whole seconds from 2020-01-01 to 2087-12-31, such as 2026-01-01T00:00:00Z",
            _read_start,
        ),
        Field(description="The origin: before it nothing exists. `now` is resolved once, at the first start."),
    ] = "now"
    speed: Annotated[
        float | Literal["max"],
        or_name("max", number(0, 1_000_000, above=True)),
        Field(description="Simulated seconds per real second, or `max`: never wait."),
    ] = 1.0
    history: Annotated[
        Literal["max"] | None,
        optional(one_of(("max",))),
        Field(
            description="With `start` in the past: `max` makes all up to now at full speed, and goes on in real time"
            " from there. Not given: simulated time begins at `start`."
        ),
    ] = None
    history_jobs: Annotated[
        int | None,
        optional(whole(1, 256)),
        Field(
            description="Processes that make what is far behind. Not given: one for two cores and, if limited, 2 GiB."
        ),
    ] = None
    batch_seconds: Annotated[
        int,
        whole(1, 2_678_400),
        Field(description="Simulated seconds per batch, cut at its multiples since 2020."),
    ] = 60
    batch_rows_max: Annotated[
        int,
        whole(1, 100_000_000),
        Field(description="A batch of more rows is cut: this bounds memory, and the time it takes to stop."),
    ] = 1_000_000
    on_restart: Annotated[
        Restart | None,
        optional(one_of(("catch_up", "continue"))),
        Field(
            description="After downtime: `catch_up` makes what was missed, `continue` goes on as if time"
            " had stood still. Not given: catch_up at speed 1, else continue."
        ),
    ] = None

    @property
    def on_restart_resolved(self) -> Restart:
        """What holds where nothing was given: only real time has a "missed" to make up for."""
        return self.on_restart or ("catch_up" if self.speed == 1 else "continue")


def _shard_faults(index: int, count: int) -> Iterable[tuple[Any, str, str]]:
    if index >= count:
        yield index, f"a whole number from 0 to {count - 1}, as shard.count is {count}", "shards count from 0"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardConfig:
    """Which part of the rows this process makes."""

    CHECKS: ClassVar[tuple[Check, ...]] = (Check(("index", "count"), _shard_faults),)

    count: Annotated[int, whole(1, 1024), Field(description="Into how many shards the rows are dealt.")] = 1
    index: Annotated[int, whole(0, 1023), Field(description="Which of them this process is, from 0.")] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputConfig:
    """Where the tables go, and how they are stored."""

    CHECKS: ClassVar[tuple[Check, ...]] = (Check(("uri",), path_faults),)

    format: Annotated[str, one_of(FORMATS), Field(description="The table format.")] = "parquet"
    uri: Annotated[
        str,
        text(
            "a folder such as ./data/shop, or a URI such as file:///data/shop or s3://bucket/shop",
            # Some library takes ? and # for the end of a path, and . and .. in a key for a step, out of the bucket too.
            r"file:///[^?#]{1,4000}|s3://[A-Za-z0-9._-]{3,63}(/(?!\.\.?(/|$))[A-Za-z0-9._=-]+)*/?"
            r"|(?![\w+.-]{2,}:).{1,4000}",
        ),
        Field(description="The folder of the output: a path from the working directory, a file:// or an s3:// URI."),
    ]
    s3: S3Config = field(default_factory=S3Config)
    catalog: CatalogConfig = field(default_factory=CatalogConfig)
    compression: Annotated[
        Literal["zstd", "snappy", "lz4", "gzip", "none"],
        Field(description="How Parquet pages are compressed, but for times and money, which hardly can be."),
    ] = "zstd"
    file_rows_target: Annotated[
        int, whole(1, 10_000_000), Field(description="Rows after which a new file is begun.")
    ] = 250_000
    adopt: Annotated[
        bool,
        yes_or_no,
        Field(description="Whether to go on with tables of the right schema that another tool has made."),
    ] = False
    retry_attempts_max: Annotated[
        int, whole(0, 100), Field(description="How often a storage operation that failed is tried again.")
    ] = 8
    retry_wait_seconds_max: Annotated[
        float, number(0, 300), Field(description="The longest wait between two tries; waits double up to it.")
    ] = 30.0


def _keep_faults(keep_seconds: int, read_seconds_max: int) -> Iterable[tuple[Any, str, str]]:
    if keep_seconds < read_seconds_max:
        allowed = f"at least maintenance.read_seconds_max, {read_seconds_max}"
        yield keep_seconds, allowed, "a reader who takes as long as that would find files gone"


def _orphan_faults(orphan_seconds: int, keep_seconds: int) -> Iterable[tuple[Any, str, str]]:
    if orphan_seconds < keep_seconds:
        allowed = f"at least maintenance.keep_seconds, {keep_seconds}"
        yield orphan_seconds, allowed, "what no version names yet may be about to be committed"


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceConfig:
    """How the tables are kept from ageing while the daemon runs, and by `emitter maintain`."""

    CHECKS: ClassVar[tuple[Check, ...]] = (
        Check(("keep_seconds", "read_seconds_max"), _keep_faults),
        Check(("orphan_seconds", "keep_seconds"), _orphan_faults),
    )

    enabled: Annotated[
        bool, yes_or_no, Field(description="Whether `run` looks after its tables, in a process beside it.")
    ] = True
    interval_seconds: Annotated[
        int, whole(5, 86_400), Field(description="How often, in real time, a round of it begins.")
    ] = 300
    interval_batches: Annotated[
        int, whole(1, 1_000_000), Field(description="After so many batches a round begins before its time.")
    ] = 200
    small_files_min: Annotated[
        int, whole(2, 10_000), Field(description="So many small files of one partition are put together.")
    ] = 50
    read_seconds_max: Annotated[
        int,
        whole(1, 31_536_000),
        Field(description="How long one query of yours may take, and still find every file that it began with."),
    ] = 3_600
    keep_seconds: Annotated[
        int,
        whole(1, 31_536_000),
        Field(description="How long what a newer version has replaced can still be read."),
    ] = 3_600
    versions_max: Annotated[
        int,
        whole(1, 10_000),
        Field(description="So many versions an Iceberg table lists at most: each makes every commit a little longer."),
    ] = 100
    orphan_seconds: Annotated[
        int,
        whole(60, 31_536_000),
        Field(description="How old a file must be, that no version ever named, before it is removed."),
    ] = 86_400
    round_seconds_max: Annotated[
        int, whole(10, 86_400), Field(description="After so long a round is ended, and counted as failed.")
    ] = 1_800
    memory_mib_max: Annotated[
        int, whole(256, 1_048_576), Field(description="A round that takes more memory is ended, and counted as failed.")
    ] = 1_024

    @property
    def due_seconds(self) -> int | None:
        """How often, at least, a round begins; None where none does."""
        return self.interval_seconds if self.enabled else None


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationConfig:
    """Whether and how the tables are compared with the truth while the daemon runs."""

    enabled: Annotated[
        bool, yes_or_no, Field(description="Whether `run` verifies its tables now and then, in a process beside it.")
    ] = False
    interval_seconds: Annotated[
        int, whole(5, 604_800), Field(description="How often, in real time, a verification begins.")
    ] = 3_600
    period_seconds: Annotated[
        int,
        whole(1, 2_147_483_647),
        Field(description="So much simulated time is compared, up to where the tables are written."),
    ] = 86_400
    round_seconds_max: Annotated[
        int, whole(10, 86_400), Field(description="After so long a verification is ended, without a verdict.")
    ] = 1_800
    memory_mib_max: Annotated[
        int,
        whole(256, 1_048_576),
        Field(description="A verification that takes more memory is ended, without a verdict."),
    ] = 1_024

    @property
    def due_seconds(self) -> int | None:
        """How often a verification begins; None where none does."""
        return self.interval_seconds if self.enabled else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """Where /metrics, /livez and /readyz answer."""

    host: Annotated[
        str,
        text("a host name or an IP address", r"[A-Za-z0-9:._%-]{1,255}"),
        Field(description="The address to listen on. There is no login: keep it on a closed network."),
    ] = "127.0.0.1"
    port: Annotated[int, whole(0, 65535), Field(description="The port; 0 is any free one.")] = 9108


@dataclass(frozen=True, kw_only=True, slots=True)
class LogConfig:
    """What is logged, and in which form."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="The least severe level that is logged."),
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"],
        Field(description="`auto` is coloured lines when a person watches, else JSON."),
    ] = "auto"


def _table_faults(tables: tuple[str, ...] | None, domain: str) -> Iterable[tuple[Any, str, str]]:
    parents = dict(domain_tables(domain))
    asked = tables or ()
    for name in dict.fromkeys(asked):
        if name not in parents:
            yield name, f"tables of {domain}: {', '.join(parents)}", nearest(name, parents)
            continue
        if asked.count(name) > 1:
            yield name, "each table once", f"it is there {asked.count(name)} times"
        missing = [parent for parent in parents[name] if parent not in asked]
        if missing:
            yield name, "its parents too, as its rows refer to theirs", f"add {', '.join(missing)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EmitterConfig:
    """All that one daemon is told. A domain's own options are in the section of its name."""

    CHECKS: ClassVar[tuple[Check, ...]] = (Check(("tables", "domain"), _table_faults),)

    domain: Annotated[str, one_of(DOMAINS), Field(description="Whose events are made.")] = "ecommerce"
    seed: Annotated[
        int, whole(0, 2**63 - 1), Field(description="Another seed makes another world of the same kind.")
    ] = 42
    tables: Annotated[
        tuple[str, ...] | None,
        optional(checked("a list of at least one table, such as [customers, orders]", _read_tables)),
        Field(description="Only these tables, parents included; not given: all of the domain."),
    ] = None
    revision: Annotated[
        int | None,
        optional(whole(0, 2**63 - 1)),
        Field(
            description="A number that grows with every change of inputs: a process that starts with a lower one goes"
            " on with the inputs that are in force. Not given: the last one to start changes them."
        ),
    ] = None
    clock: ClockConfig = field(default_factory=ClockConfig)
    shard: ShardConfig = field(default_factory=ShardConfig)
    partition: Annotated[
        Literal["month", "day", "hour"], Field(description="How finely tables are partitioned by event time.")
    ] = "day"
    output: OutputConfig
    maintenance: MaintenanceConfig = field(default_factory=MaintenanceConfig)
    verification: VerificationConfig = field(default_factory=VerificationConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    log: LogConfig = field(default_factory=LogConfig)
    ecommerce: EcommerceOptions = field(default_factory=EcommerceOptions)

    @property
    def options(self) -> Any:
        """The options of the domain in use."""
        return getattr(self, self.domain)

    @property
    def table_names(self) -> tuple[str, ...]:
        """The tables in use, in the domain's order: parents first."""
        return tuple(name for name, _ in domain_tables(self.domain) if self.tables is None or name in self.tables)


RELOADABLE = frozenset(
    {
        *("clock.speed", "clock.batch_seconds", "clock.batch_rows_max"),
        *("output.file_rows_target", "output.compression"),
        *(f"maintenance.{each.name}" for each in fields(MaintenanceConfig)),
        *(f"verification.{each.name}" for each in fields(VerificationConfig)),
        *("log.level", "log.format"),
    }
)
"""What a running daemon takes over on SIGHUP: nothing here shapes the content."""


@dataclass(frozen=True, slots=True)
class Reload:
    """Paths whose values differ: `safe` can be taken over while running, `refused` need a restart."""

    safe: tuple[str, ...]
    refused: tuple[str, ...]


def reload_differences(old: EmitterConfig, new: EmitterConfig) -> Reload:
    """What a reload would change."""
    before, after = flatten(old), flatten(new)
    changed = [path for path in before if before[path] != after[path]]
    return Reload(
        safe=tuple(path for path in changed if path in RELOADABLE),
        refused=tuple(path for path in changed if path not in RELOADABLE),
    )


def validate(mapping: Mapping[str, Any]) -> EmitterConfig:
    """The configuration from a mapping, nested as in the file. ConfigurationError with every fault."""
    faults: list[Fault] = []
    config = read_settings(EmitterConfig, mapping, "", faults)
    if config is None:
        raise ConfigurationError(faults)
    return config


def load_config(
    path: Path | None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] = MappingProxyType({}),
    *,
    on_log: Callable[[LogConfig], None] | None = None,
) -> EmitterConfig:
    """The configuration from a file (None: without one), flags such as "clock.speed=60", and the environment.

    ConfigurationError with every fault of all three, also where the file cannot be read. Before that `on_log` is told
    how to log, if that much is right.
    """
    sources = read_sources(path, sets, environ, tuple(leaf_keys(EmitterConfig)))
    log = read_settings(LogConfig, sources.mapping.get("log") or {}, "log", [])
    if log and on_log:
        on_log(log)
    faults: list[Fault] = []
    config = read_settings(EmitterConfig, sources.mapping, "", faults) if sources.complete else None
    faults = [*sources.faults, *map(sources.with_origin, faults)]
    if config is None or faults:
        raise ConfigurationError(faults)
    return config
