"""One run of another tool, in the environment that `peers.py` makes: TOOL SIZE FOLDER, where a size is rows, or a scale
factor.

Each makes the matched table (`_matched.py` tells of its columns) the way its documents show first, or its own task.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

DATA = json.loads(Path(__file__).with_name("_matched.json").read_text())
START = datetime(2026, 3, 2, tzinfo=UTC)
SEED = 42
GROUP_ROWS = 250_000
NOTE_LENGTH = 40


def dbgen(scale: float, folder: Path) -> None:
    """TPC-H of a scale factor by DuckDB's extension, each table to a file."""
    connection = _duckdb()
    connection.execute(f"CALL dbgen(sf = {scale})")
    for (table,) in connection.execute("SHOW TABLES").fetchall():
        _copy(connection, f"FROM {table}", folder / f"{table}.parquet")


def duckdb_sql(rows: int, folder: Path) -> None:
    """The matched table as one query over a range of numbers."""
    connection = _duckdb()
    pool = " ".join(word for turn in range(400) for word in DATA["words"][turn % 7 :: 7])
    lists = {name: "[" + ", ".join(f"'{value}'" for value in DATA[name]) + "]" for name in DATA if name != "words"}

    def one_of(name: str, shift: int) -> str:
        return f"({lists[name]})[1 + ((h >> {shift}) % {len(DATA[name])})::INT]"

    query = f"""
        SELECT id, TIMESTAMPTZ '{START.isoformat()}' + to_microseconds((id // 1000) * 1000000 + (h % 1000000)::BIGINT)
            AS event_time, (1 + ((h >> 20) % 99900) / 100)::DECIMAL(12, 2) AS amount,
            {one_of("categories", 0)} AS category, first || ' ' || last AS name,
            lower(first || '.' || last) || '.' || id || '@example.com' AS email,
            substr(pool, 1 + ((h >> 8) % {len(pool) - NOTE_LENGTH})::INT, {NOTE_LENGTH}) AS note
        FROM (SELECT id, h, {one_of("first_names", 30)} AS first, {one_of("last_names", 40)} AS last, '{pool}' AS pool
            FROM (SELECT range AS id, hash(range) AS h FROM range({rows})))"""
    _copy(connection, query, folder / "matched.parquet")


def _duckdb():
    import duckdb
    import duckdb_extension_tpch

    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    found = Path(duckdb_extension_tpch.__file__).parent.rglob("*.duckdb_extension")
    connection.execute(f"LOAD '{next(found)}'")
    return connection


def _copy(connection, query: str, path: Path) -> None:
    how = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {GROUP_ROWS}"
    connection.execute(f"COPY ({query}) TO '{path}' ({how})")


def mimesis(rows: int, folder: Path) -> None:
    """A loop over its providers."""
    from mimesis import Generic, Locale

    generic = Generic(Locale.EN, seed=SEED)

    def row(number: int) -> tuple:
        return (
            number,
            START + timedelta(seconds=number // 1000, microseconds=generic.random.randint(0, 999_999)),
            Decimal(generic.random.randint(100, 99_999)).scaleb(-2),
            generic.random.choice(DATA["categories"]),
            generic.person.full_name(),
            generic.person.email(),
            generic.text.sentence()[:NOTE_LENGTH].ljust(NOTE_LENGTH),
        )

    _write([row(number) for number in range(rows)], folder)


def faker(rows: int, folder: Path) -> None:
    """The same over Faker's."""
    from faker import Faker

    fake = Faker("en_US")
    Faker.seed(SEED)

    def row(number: int) -> tuple:
        return (
            number,
            START + timedelta(seconds=number // 1000, microseconds=fake.random_int(0, 999_999)),
            Decimal(fake.random_int(100, 99_999)).scaleb(-2),
            fake.random_element(DATA["categories"]),
            fake.name(),
            fake.email(),
            fake.sentence(nb_words=9)[:NOTE_LENGTH].ljust(NOTE_LENGTH),
        )

    _write([row(number) for number in range(rows)], folder)


def _write(rows: list[tuple], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.int64(), pa.timestamp("us", "UTC"), pa.decimal128(12, 2), *[pa.string()] * 4]
    names = ["id", "event_time", "amount", "category", "name", "email", "note"]
    columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    table = pa.Table.from_arrays(columns, names=names)
    pq.write_table(table, folder / "matched.parquet", compression="zstd", compression_level=1)


def dbldatagen(rows: int, folder: Path) -> None:
    """A specification on a Spark of two threads in this process."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    import dbldatagen as dg
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("parquet.compression.codec.zstd.level", "1")
        .getOrCreate()
    )
    pool = " ".join(word for turn in range(60) for word in DATA["words"][turn % 7 :: 7])
    spec = (
        dg.DataGenerator(
            spark, name="matched", rows=rows, partitions=8, randomSeed=SEED, randomSeedMethod="hash_fieldname"
        )
        .withIdOutput()
        .withColumn("micros", "long", minValue=0, maxValue=999_999, random=True, omit=True)
        .withColumn("first", "string", values=DATA["first_names"], random=True, omit=True)
        .withColumn("last", "string", values=DATA["last_names"], random=True, omit=True)
        .withColumn("begin", "int", minValue=1, maxValue=len(pool) - NOTE_LENGTH, random=True, omit=True)
        .withColumn(
            "event_time",
            "timestamp",
            baseColumn=["id", "micros"],
            expr=f"timestamp_micros({int(START.timestamp())}000000 + (id div 1000) * 1000000 + micros)",
        )
        .withColumn("amount", "decimal(12,2)", minValue=1, maxValue=999, step=0.01, random=True)
        .withColumn("category", "string", values=DATA["categories"], random=True)
        .withColumn("name", "string", baseColumn=["first", "last"], expr="concat(first, ' ', last)")
        .withColumn(
            "email",
            "string",
            baseColumn=["first", "last", "id"],
            expr="concat(lower(first), '.', lower(last), '.', id, '@example.com')",
        )
        .withColumn("note", "string", baseColumn="begin", expr=f"substr('{pool}', begin, {NOTE_LENGTH})")
    )
    spec.build().write.parquet(str(folder / "matched"))
    spark.stop()


if __name__ == "__main__":
    tools = {each.__name__: each for each in (dbgen, duckdb_sql, mimesis, faker, dbldatagen)}
    size = float(sys.argv[2])
    tools[sys.argv[1]](int(size) if size.is_integer() else size, Path(sys.argv[3]))
