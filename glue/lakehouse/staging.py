"""Stages a landing table: every valid record that ever landed, typed, once; with loads and rejects.

Clean lines go through Spark's own functions (shapes.py says which are), all others through records.py. The driver holds a few
numbers for each file, and nothing else of the data.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses
from pyspark.sql import types as T  # noqa: N812

from lakehouse import landing, storage
from lakehouse.contracts import LandingContract, landing_contract, table_contract
from lakehouse.errors import LandingChangedError
from lakehouse.landing import LandingFile
from lakehouse.records import LONGEST_LINE, judge_line
from lakehouse.shapes import Shape, common_shapes, shape_of

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import Column, SparkSession

    from lakehouse.branches import Branches
    from lakehouse.run_files import ManifestFile, RunFiles

_TYPE: dict[str, T.DataType] = {
    "text": T.StringType(),
    "email": T.StringType(),
    "integer": T.LongType(),
    "time": T.LongType(),
    "consent": T.LongType(),
    "double": T.DoubleType(),
}
# Records of one day go to one task until they are more than this.
_BYTES_PER_BUCKET = 512 * 1024 * 1024
# Files that Spark's own reader does not read go to one task until they are more than this; opening one counts as so many bytes.
_BYTES_PER_PACK = 32 * 1024 * 1024
_BYTES_PER_FILE = 256 * 1024
_DAY_MS = 86_400_000


@dataclass
class Load:
    """What became of the records of one file version."""

    key: str
    version: str
    landed: int = 0
    staged: int = 0
    duplicate: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    unknown_fields: list[str] = field(default_factory=list)

    def as_metrics(self) -> dict[str, Any]:
        """As in `metrics/<step>.json`."""
        return {
            "key": self.key,
            "version": self.version,
            "landed": self.landed,
            "staged": self.staged,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
            "reasons": dict(sorted(self.reasons.items())),
            "unknownFields": self.unknown_fields,
        }


@dataclass(frozen=True)
class StageContext:
    """What staging needs of a job."""

    spark: SparkSession
    branches: Branches
    run_files: RunFiles
    landing: str
    lake: str


def stage(context: StageContext, table: str, claimed: Iterable[ManifestFile]) -> dict[str, Any]:
    """Stages the claimed files of a landing table into the run's version; returns the metrics.

    File versions that an earlier run has published are not read again.
    """
    started = time.monotonic()
    contract = landing_contract(table)
    files = [file for file in claimed if file.table == table]
    rows_before = context.branches.published_rows(contract.feeds)
    held = _already_loaded(context, table, files)
    fresh = [file for file in files if (file.key, file.version) not in held]
    loads = []
    if fresh:
        looked = landing.look(fresh, contract, context.landing, context.lake)
        loads = _Staging(context, contract, looked, rows_before).run()
        landing.check_unchanged(fresh, context.landing, context.lake)
    return {
        "landingTable": table,
        "seconds": round(time.monotonic() - started, 3),
        "rows": context.spark.table(contract.feeds).count(),
        "rowsBefore": rows_before,
        "files": [load.as_metrics() for load in [*held.values(), *loads]],
    }


def _already_loaded(context: StageContext, table: str, files: list[ManifestFile]) -> dict[tuple[str, str], Load]:
    """What the lake knows of file versions that an earlier run has published, though the ledger does not."""
    if not files or context.branches.published_rows("loads") == 0:
        return {}
    wanted = context.spark.createDataFrame([(file.key, file.version) for file in files], "file STRING, version STRING")
    loads = context.branches.published("loads").where(F.col("landing_table") == table)
    rows = loads.join(F.broadcast(wanted), ["file", "version"], "left_semi").collect()
    return {
        (row["file"], row["version"]): Load(row["file"], row["version"], row["landed"], row["staged"], row["duplicate"], row["rejected"])
        for row in rows
    }


class _Staging:
    """One landing table's files on their way into staging."""

    def __init__(self, context: StageContext, contract: LandingContract, files: list[LandingFile], rows_before: int) -> None:
        self._context = context
        self._rows_before = rows_before
        self._spark = context.spark
        self._contract = contract
        self._files = files
        self._shapes = common_shapes((file.names for file in files), contract)
        self._shape_of = [self._own_shape(file) for file in files]
        self._loads = [Load(file.key, file.version) for file in files]
        self._dirty: list[LandingFile] = []
        self._judged: DataFrame | None = None

    def run(self) -> list[Load]:
        """Stages the files; one Load each, in their order."""
        self._reject_broken_gzip()
        self._count_clean()
        try:
            valid = self._clean_records()
            if self._dirty:
                valid = valid.unionByName(self._judged_records(self._judge()))
            self._stage(valid)
            self._keep_rejects()
            self._keep_loads()
        finally:
            if self._judged is not None:
                self._judged.unpersist()
        return self._loads

    # Lines

    def _own_shape(self, file: LandingFile) -> int:
        shape = None if file.names is None else shape_of(file.names, self._contract)
        return self._shapes.index(shape) if shape in self._shapes else 0

    def _reject_broken_gzip(self) -> None:
        packed = [(file, 0) for file in self._files if file.gzip]
        if not packed:
            return
        for number in self._packed(packed, _broken_files).collect():
            load = self._loads[number]
            load.landed = load.rejected = 1
            load.reasons = {"broken_gzip": 1}

    def _readable(self) -> list[LandingFile]:
        return [file for file in self._files if "broken_gzip" not in self._loads[file.number].reasons]

    def _lines(self, files: list[LandingFile]) -> DataFrame:
        """Lines of files: `file`, `shape`, `block` and `row` (for line numbers), `value` (text, not checked), `bytes`."""
        native = [file for file in files if file.native]
        other = [file for file in files if not file.native]
        lines = [self._native_lines(native)] if native else []
        if other:
            lines.append(self._other_lines(other))
        return lines[0] if len(lines) == 1 else lines[0].unionByName(lines[1])

    def _native_lines(self, files: list[LandingFile]) -> DataFrame:
        """Spark's own text reader splits large files and packs small ones. A lone carriage return is no line end."""
        reader = self._spark.read.option("lineSep", "\n").option("recursiveFileLookup", "true")
        numbers = F.broadcast(
            self._spark.createDataFrame(
                [(file.place, file.number, self._shape_of[file.number]) for file in files], "place STRING, file INT, shape INT"
            )
        )
        lines = reader.text([file.place for file in files]).select(
            F.regexp_replace("_metadata.file_path", "^file:/+", "/").alias("place"),
            F.col("_metadata.file_block_start").alias("block"),
            F.monotonically_increasing_id().alias("row"),
            "value",
        )
        return lines.join(numbers, "place").select("file", "shape", "block", "row", "value")

    def _other_lines(self, files: list[LandingFile]) -> DataFrame:
        shapes = [(file, self._shape_of[file.number]) for file in files]
        rows = self._packed(shapes, _lines_of_files)
        lines = self._spark.createDataFrame(rows, "file INT, shape INT, row BIGINT, value BINARY", verifySchema=False)
        return lines.select("file", "shape", F.lit(-1).cast("bigint").alias("block"), "row", F.col("value").cast("string").alias("value"))

    def _packed(self, files: list[tuple[LandingFile, int]], work: Callable[[Iterable[tuple[LandingFile, int]]], Iterator[Any]]) -> RDD[Any]:
        """Work on files in Spark's Python workers, many small files in one task."""
        packs: list[list[tuple[LandingFile, int]]] = [[]]
        size = 0
        for file, shape in files:
            if size > _BYTES_PER_PACK:
                packs.append([])
                size = 0
            packs[-1].append((file, shape))
            size += file.size + _BYTES_PER_FILE
        return self._spark.sparkContext.parallelize(packs, len(packs)).flatMap(work)

    def _is_clean(self) -> Column:
        clean = F.lit(False)
        for number, shape in enumerate(self._shapes):
            clean = F.when(F.col("shape") == number, F.col("value").rlike(shape.pattern)).otherwise(clean)
        return clean

    def _count_clean(self) -> None:
        """Counts the clean lines of each file, and finds the files that have others."""
        readable = self._readable()
        if not readable:
            return
        counted = (
            self._lines(readable)
            .groupBy("file")
            .agg(
                F.count(F.lit(1)).alias("lines"),
                F.count_if(self._is_clean()).alias("clean"),
                F.sum(F.octet_length("value") + 1).alias("bytes"),
            )
            .collect()
        )
        by_file: dict[int, Row] = {row["file"]: row for row in counted}
        for file in readable:
            row = by_file.get(file.number)
            lines, clean, read = (row["lines"], row["clean"], row["bytes"]) if row else (0, 0, 0)
            # A reader that skips a file, or a part of one, would lose records without a trace. The last line may lack its line feed,
            # and the reader takes off a byte order mark.
            if file.native and not file.size - 3 <= read <= file.size + 1:
                raise LandingChangedError(f"{file.key} has {file.size} bytes, but {read} were read; start a new run")
            load = self._loads[file.number]
            load.landed = clean
            if clean > 0:
                load.unknown_fields = list(self._shape(file).unknown_fields)
            if lines > clean:
                self._dirty.append(file)

    def _shape(self, file: LandingFile) -> Shape:
        return self._shapes[self._shape_of[file.number]]

    # Records

    def _clean_records(self) -> DataFrame:
        """Clean lines as typed records with the number of their file."""
        readable = [file for file in self._readable() if self._loads[file.number].landed > 0]
        records: DataFrame | None = None
        for number, shape in enumerate(self._shapes):
            files = [file for file in readable if self._shape_of[file.number] == number]
            if not files:
                continue
            found = self._records_of(files, shape)
            records = found if records is None else records.unionByName(found)
        return self._none() if records is None else records

    def _records_of(self, files: list[LandingFile], shape: Shape) -> DataFrame:
        rules = {column.name: column.rule for column in self._contract.columns}
        schema = T.StructType([T.StructField(name, _TYPE[rules[column]]) for column, name in shape.spelling])
        record = F.from_json("value", schema, {"mode": "PERMISSIVE"})
        spelling = dict(shape.spelling)
        values = [_clean_value(rules[name], F.col("record")[spelling[name]]).alias(name) for name in spelling]
        lines = self._lines(files).where(F.col("value").rlike(shape.pattern))
        return lines.select("file", record.alias("record")).select(*values, "file")

    def _none(self) -> DataFrame:
        fields = [T.StructField(column.name, _TYPE[column.rule]) for column in self._contract.columns]
        return self._spark.createDataFrame([], T.StructType([*fields, T.StructField("file", T.IntegerType())]))

    def _judge(self) -> DataFrame:
        """Every value of the lines that are not clean: a record, or a rejected one with its reason. Kept, for it is asked several times."""
        lines = self._lines(self._dirty)
        outcome = _judge_udf(self._contract)
        limited = F.when(F.octet_length("value") <= LONGEST_LINE, F.col("value").cast("binary"))
        judged = (
            lines.where(~self._is_clean())
            .select("file", "block", "row", F.explode(outcome(limited)).alias("outcome"))
            .select("file", "block", "row", "outcome.*")
            .persist(StorageLevel.MEMORY_AND_DISK)
        )
        self._judged = judged
        self._count_judged(judged)
        return judged

    def _count_judged(self, judged: DataFrame) -> None:
        names = F.array_distinct(F.flatten(F.collect_set("unknown_fields"))).alias("names")
        for row in judged.groupBy("file", "reason").agg(F.count(F.lit(1)).alias("values"), names).collect():
            load = self._loads[row["file"]]
            load.landed += row["values"]
            if row["reason"] is not None:
                load.rejected += row["values"]
                load.reasons[row["reason"]] = row["values"]
            load.unknown_fields += sorted(set(row["names"]) - set(load.unknown_fields))

    def _judged_records(self, judged: DataFrame) -> DataFrame:
        return judged.where(F.col("reason").isNull()).select("values.*", "file")

    # Staging

    def _stage(self, valid: DataFrame) -> None:
        """Keeps each record once: that of the first file, unless it is staged already."""
        contract = self._contract
        arrived = self._with_date(valid)
        expected = sum(load.landed - load.rejected for load in self._loads)
        if expected == 0:
            return
        first = self._first_of_equals(arrived)
        if self._rows_before > 0:
            first = self._not_staged(first, arrived)
        columns = [column.name for column in table_contract(contract.feeds).columns]
        # Distribution and order are those of the table already: one shuffle serves them and the search for equals.
        ordered = {"use-table-distribution-and-ordering": "false", "fanout-enabled": "true"}
        self._context.branches.append(first.select(*columns), contract.feeds, **ordered)
        added = self._context.branches.added_records(contract.feeds)
        staged = {row["file"]: row["count"] for row in first.groupBy("file").count().collect()} if added < expected else None
        for number, load in enumerate(self._loads):
            records = load.landed - load.rejected
            load.staged = records if staged is None else staged.get(number, 0)
            load.duplicate = records - load.staged

    def _with_date(self, records: DataFrame) -> DataFrame:
        time_column = self._contract.time
        if time_column is None:
            return records
        return records.withColumn("reading_date", F.expr(f"date_from_unix_date(cast(`{time_column}` div {_DAY_MS} as int))"))

    def _first_of_equals(self, arrived: DataFrame) -> DataFrame:
        contract = table_contract(self._contract.feeds)
        size = sum(file.size for file in self._files)
        buckets = max(1, -(-size // _BYTES_PER_BUCKET))
        leading = [F.col(contract.partition)] if contract.partition else []
        sort = list(contract.sort or self._contract.identity[:2])
        bucket = F.pmod(F.hash(*[F.col(name) for name in sort[:1]]), F.lit(buckets))
        spread = [*leading, F.col("bucket")] if leading else [F.col(name) for name in self._contract.identity]
        rest = [name for name in self._contract.identity if name not in sort]
        equals = [*leading, F.col("bucket"), *[F.col(name) for name in [*sort, *rest] if name in self._contract.identity]]
        place = F.row_number().over(Window.partitionBy(*equals).orderBy("file"))
        return (
            arrived.withColumn("bucket", bucket if leading else F.lit(0))
            .repartition(*spread)
            .withColumn("place", place)
            .where(F.col("place") == 1)
            .drop("place", "bucket")
        )

    def _not_staged(self, first: DataFrame, arrived: DataFrame) -> DataFrame:
        """Of staged records only those of days that arrived can be equal; the other days' files are not opened."""
        contract = table_contract(self._contract.feeds)
        # Published: the run's version is the same until this very statement writes to it.
        staged = self._context.branches.published(self._contract.feeds)
        keys = list(self._contract.identity)
        if contract.partition is not None:
            days = [row[0] for row in arrived.select(contract.partition).distinct().limit(1001).collect()]
            if len(days) <= 1000:
                staged = staged.where(F.col(contract.partition).isin(days))
            keys.append(contract.partition)
        staged = staged.select(*[F.col(name).alias(f"staged_{name}") for name in keys])
        same = [F.col(name).eqNullSafe(F.col(f"staged_{name}")) for name in keys]
        return first.join(staged, same, "left_anti")

    # What is kept of a load

    def _keep_rejects(self) -> None:
        broken = [self._rejected_file(file) for file in self._files if "broken_gzip" in self._loads[file.number].reasons]
        columns = [column.name for column in table_contract("rejected").columns]
        rejects = self._spark.createDataFrame(broken, self._spark.table("rejected").schema) if broken else None
        if self._judged is not None and any(set(load.reasons) - {"broken_gzip"} for load in self._loads):
            found = self._rejected_values(self._judged).select(*columns)
            rejects = found if rejects is None else rejects.unionByName(found)
        if rejects is None:
            return
        self._context.branches.append(rejects, "rejected")
        self._write_rejects()

    def _rejected_file(self, file: LandingFile) -> tuple[Any, ...]:
        run_id = self._context.run_files.run_id
        return (self._contract.table, file.key, file.version, 1, 1, "broken_gzip", None, "utf-8", "", run_id)

    def _rejected_values(self, judged: DataFrame) -> DataFrame:
        rejected = judged.where(F.col("reason").isNotNull())
        blocks = F.broadcast(self._blocks())
        files = F.broadcast(
            self._spark.createDataFrame(
                [(file.number, file.key, file.version) for file in self._files], "number INT, key STRING, version STRING"
            )
        )
        here = (rejected["file"] == blocks["in_file"]) & (rejected["block"] == blocks["in_block"])
        return (
            rejected.join(blocks, here, "left")
            .join(files, rejected["file"] == files["number"])
            .select(
                F.lit(self._contract.table).alias("landing_table"),
                F.col("key").alias("file"),
                "version",
                F.when(F.col("block") == -1, F.col("row")).otherwise(F.col("row") + F.col("offset")).alias("line"),
                F.col("position").cast("bigint").alias("position"),
                "reason",
                "field",
                "encoding",
                "record",
                F.lit(self._context.run_files.run_id).alias("run_id"),
            )
        )

    def _blocks(self) -> DataFrame:
        """What turns a row of a block into a line number: rows are numbered through a block, and blocks follow each other.

        The plan is the one that read the rejects; another one would number rows differently.
        """
        schema = "in_file INT, in_block BIGINT, offset BIGINT"
        files = [file for file in self._dirty if file.native]
        if not files:
            return self._spark.createDataFrame([], schema)
        blocks = self._native_lines(files).groupBy("file", "block").agg(F.min("row").alias("first"), F.count(F.lit(1)).alias("lines"))
        before: dict[int, int] = defaultdict(int)
        offsets = []
        for row in sorted(blocks.collect(), key=lambda row: (row["file"], row["block"])):
            offsets.append((row["file"], row["block"], before[row["file"]] - row["first"] + 1))
            before[row["file"]] += row["lines"]
        return self._spark.createDataFrame(offsets, schema)

    def _write_rejects(self) -> None:
        """Leaves the rejects of the run as JSON lines, as on one machine: they tell what happened where the run is not published."""
        run_files = self._context.run_files
        own = (F.col("run_id") == run_files.run_id) & (F.col("landing_table") == self._contract.table)
        rows = self._spark.table("rejected").where(own).toLocalIterator()
        lines = (json.dumps(row.asDict(), ensure_ascii=False, separators=(",", ":")) for row in rows)
        name = f"{self._contract.table}.ndjson"
        scratch = os.path.join(tempfile.gettempdir(), f"{run_files.run_id}-{os.getpid()}-{name}")
        storage.write_lines(storage.join(run_files.folder, "rejects", name), lines, scratch)

    def _keep_loads(self) -> None:
        run_id = self._context.run_files.run_id
        rows = [
            (self._contract.table, load.key, load.version, load.landed, load.staged, load.duplicate, load.rejected, run_id)
            for load in self._loads
        ]
        self._context.branches.append(self._spark.createDataFrame(rows, self._spark.table("loads").schema).coalesce(1), "loads")


def _clean_value(rule: str, field: Column) -> Column:
    """From a field of a clean line to the column's value."""
    match rule:
        case "email":
            return F.lower(field)  # in a clean line it is ASCII, where lower() is A–Z to a–z
        case "consent":
            return F.when(field != 0, field)
        case "double":
            return field + F.lit(0.0)  # -0 becomes 0
        case _:
            return field


def _judge_udf(contract: LandingContract) -> Any:  # noqa: ANN401 - a Spark user-defined function
    values = T.StructType([T.StructField(column.name, _TYPE[column.rule]) for column in contract.columns])
    outcome = T.StructType(
        [
            T.StructField("position", T.IntegerType()),
            T.StructField("reason", T.StringType()),
            T.StructField("field", T.StringType()),
            T.StructField("encoding", T.StringType()),
            T.StructField("record", T.StringType()),
            T.StructField("values", values),
            T.StructField("unknown_fields", T.ArrayType(T.StringType())),
        ]
    )

    def judge(line: bytearray | None) -> list[tuple[Any, ...]]:
        if line is None:
            return [(1, "line_too_long", None, "utf-8", "", None, [])]
        return [
            (found.position, found.reason, found.field, found.encoding, found.record, found.values or None, list(found.unknown_fields))
            for found in judge_line(bytes(line), contract)
        ]

    return F.udf(judge, T.ArrayType(outcome))


def _broken_files(files: Iterable[tuple[LandingFile, int]]) -> Iterator[int]:
    for file, _ in files:
        if not landing.is_whole_gzip(file.place):
            yield file.number


def _lines_of_files(files: Iterable[tuple[LandingFile, int]]) -> Iterator[tuple[int, int, int, bytearray]]:
    for file, shape in files:
        for line, text in landing.lines_of(file):
            yield file.number, shape, line, bytearray(text)
