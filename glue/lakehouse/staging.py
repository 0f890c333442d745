"""Stages a landing table: every valid record that ever landed, typed, once; with loads and rejects.

The driver holds a few numbers for each file, and nothing else of the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

from lakehouse import landing, parsing
from lakehouse.contracts import LandingContract, landing_contract, table_contract
from lakehouse.days import MOST_DAYS
from lakehouse.duplicates import STAGED, Duplicates
from lakehouse.errors import JobError, LandingChangedError
from lakehouse.file_counts import FileCounts
from lakehouse.landing import LandingFile
from lakehouse.lines import Lines
from lakehouse.rejects import Rejects
from lakehouse.rows import rows_of, schema_of

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import SparkSession

    from lakehouse.branches import Branches
    from lakehouse.run_files import ManifestFile, RunFiles

# Records of one day go to one task until they exceed this.
_BYTES_PER_BUCKET = 512 * 1024 * 1024
# Roughly what a record takes up in a landing file.
_BYTES_PER_RECORD = 100
# A file that Spark does not read natively is read by one task, several times: above this size the job has to wait for it.
_SLOW_BYTES = 64 * 1024 * 1024
# How many names of unknown fields are kept per file: records may hold any number of them.
_MOST_UNKNOWN_FIELDS = 1000
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
    # An earlier run has published it, although the ledger has forgotten: the counts are that run's.
    known: bool = False

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
            **({"known": True} if self.known else {}),
        }


@dataclass(frozen=True)
class StagingContext:
    """What staging needs of a job."""

    spark: SparkSession
    branches: Branches
    run_files: RunFiles
    landing: str
    lake: str
    log: Callable[[str, dict[str, Any]], None]


def stage(context: StagingContext, table: str, claimed: Iterable[ManifestFile]) -> dict[str, Any]:
    """Stages the claimed files of a landing table into the run's version; returns the metrics.

    File versions that an earlier run has published are not read again.
    """
    started = time.monotonic()
    contract = landing_contract(table)
    files = [file for file in claimed if file.table == table]
    rows_before = context.branches.published_rows(contract.feeds)
    known = _already_loaded(context, table, files)
    fresh = [file for file in files if (file.key, file.version) not in known]
    loads = []
    slow: list[str] = []
    if fresh:
        looked = landing.look(fresh, contract, context.landing, context.lake)
        slow = [file.key for file in looked if not file.native and file.size >= _SLOW_BYTES]
        if slow:
            context.log("slow_files", {"landingTable": table, "keys": slow, "why": "each is read by one task"})
        loads = _Staging(context, contract, looked, rows_before).run()
        landing.check_unchanged(fresh, context.landing, context.lake)
    return {
        "landingTable": table,
        "seconds": round(time.monotonic() - started, 3),
        "rows": context.spark.table(contract.feeds).count(),
        "rowsBefore": rows_before,
        "files": [load.as_metrics() for load in [*known.values(), *loads]],
        **({"slow": slow} if slow else {}),
    }


def _already_loaded(context: StagingContext, table: str, files: list[ManifestFile]) -> dict[tuple[str, str], Load]:
    """The loads of file versions that an earlier run has published: the lake knows of them, although the ledger does not."""
    if not files or context.branches.published_rows("loads") == 0:
        return {}
    wanted = rows_of(context.spark, [(file.key, file.version) for file in files], "file STRING, version STRING")
    loads = context.branches.published("loads").where(F.col("landing_table") == table)
    rows = loads.join(F.broadcast(wanted), ["file", "version"], "left_semi").collect()
    return {
        (row["file"], row["version"]): Load(
            row["file"], row["version"], row["landed"], row["staged"], row["duplicate"], row["rejected"], known=True
        )
        for row in rows
    }


class _Staging:
    """One landing table's files on their way into staging."""

    def __init__(self, context: StagingContext, contract: LandingContract, files: list[LandingFile], rows_before: int) -> None:
        self._context = context
        self._rows_before = rows_before
        self._spark = context.spark
        self._contract = contract
        self._files = files
        self._lines = Lines(context.spark, contract, files)
        self._loads = [Load(file.key, file.version) for file in files]
        self._dirty: list[LandingFile] = []
        self._judged: DataFrame | None = None

    def run(self) -> list[Load]:
        """Stages the files; one Load each, in their order."""
        self._reject_broken_gzip()
        self._count_clean()
        try:
            valid = parsing.clean_records(self._spark, self._contract, self._lines, self._with_clean_lines(), self._dirty)
            if self._dirty:
                valid = valid.unionByName(parsing.judged_records(self._judge()))
            self._stage(valid)
            self._keep_rejects()
            self._keep_loads()
        finally:
            if self._judged is not None:
                self._judged.unpersist()
        return self._loads

    # What the lines are

    def _reject_broken_gzip(self) -> None:
        for number in self._lines.broken_gzip(self._files):
            load = self._loads[number]
            load.landed = load.rejected = 1
            load.reasons = {"broken_gzip": 1}

    def _readable(self) -> list[LandingFile]:
        return [file for file in self._files if not self._is_broken(file)]

    def _is_broken(self, file: LandingFile) -> bool:
        return "broken_gzip" in self._loads[file.number].reasons

    def _with_clean_lines(self) -> list[LandingFile]:
        return [file for file in self._readable() if self._loads[file.number].landed > 0]

    def _count_clean(self) -> None:
        """Counts the clean lines of each file, and finds the files that have others."""
        readable = self._readable()
        if not readable:
            return
        counted = (
            self._lines.of(readable)
            .groupBy("file")
            .agg(
                F.count(F.lit(1)).alias("lines"),
                # Not count_if, which evaluates it twice.
                F.sum(self._lines.is_clean().cast("bigint")).alias("clean"),
                F.sum(F.octet_length("value") + 1).alias("bytes"),
            )
            .collect()
        )
        by_file: dict[int, Row] = {row["file"]: row for row in counted}
        for file in readable:
            row = by_file.get(file.number)
            lines, clean, read = (row["lines"], row["clean"], row["bytes"]) if row else (0, 0, 0)
            # A reader that skips a file, or part of one, would lose records without a trace. The last line may lack its line feed, and
            # the reader strips a byte order mark.
            if file.native and not file.size - 3 <= read <= file.size + 1:
                raise LandingChangedError(f"{file.key} has {file.size} bytes, but {read} were read; start a new run")
            load = self._loads[file.number]
            load.landed = clean
            if clean > 0:
                load.unknown_fields = list(self._lines.shape(file).unknown_fields)
            if lines > clean:
                self._dirty.append(file)

    def _judge(self) -> DataFrame:
        """What becomes of the lines that are not clean. Kept, because it is queried several times."""
        self._judged = parsing.judged_values(self._contract, self._lines, self._dirty).persist(StorageLevel.MEMORY_AND_DISK)
        self._count_judged(self._judged)
        return self._judged

    def _count_judged(self, judged: DataFrame) -> None:
        most = F.max(F.size("unknown_fields")).alias("names")
        counted = judged.groupBy("file", "reason").agg(F.count(F.lit(1)).alias("values"), most).collect()
        for row in counted:
            load = self._loads[row["file"]]
            load.landed += row["values"]
            if row["reason"] is not None:
                load.rejected += row["values"]
                load.reasons[row["reason"]] = row["values"]
        if any(row["names"] > 0 for row in counted):
            self._note_unknown_fields(judged)

    def _note_unknown_fields(self, judged: DataFrame) -> None:
        """Adds the first names of each file. No task holds all of them: every record may have different ones."""
        names = judged.select("file", F.explode("unknown_fields").alias("name")).distinct()
        place = F.row_number().over(Window.partitionBy("file").orderBy("name"))
        first = names.withColumn("place", place).where(F.col("place") <= _MOST_UNKNOWN_FIELDS)
        for row in first.groupBy("file").agg(F.collect_list("name").alias("names")).collect():
            load = self._loads[row["file"]]
            others = sorted(set(row["names"]) - set(load.unknown_fields))
            load.unknown_fields = [*load.unknown_fields, *others][:_MOST_UNKNOWN_FIELDS]

    # What is staged

    def _stage(self, valid: DataFrame) -> None:
        """Stages each record once, from the first file that has it, unless it is staged already."""
        contract = self._contract
        arrived = self._with_date(valid)
        expected = sum(load.landed - load.rejected for load in self._loads)
        if expected == 0:
            return
        staged_before, days = self._staged_before(arrived)
        counts, duplicates = FileCounts(self._spark, len(self._files)), Duplicates(contract, table_contract(contract.feeds))
        first = duplicates.first(arrived, staged_before, self._buckets(staged_before), counts.watch_arrived)
        if duplicates.may_replace and staged_before is not None:
            staged = self._replace(first, days)
        else:
            staged = self._append(first, counts, expected)
        if sum(staged) != expected:
            self._check_arrived(arrived, expected, counts.arrived() if sum(staged) > 0 else None)
        for number, load in enumerate(self._loads):
            load.staged = staged[number]
            load.duplicate = load.landed - load.rejected - load.staged

    def _append(self, first: DataFrame, counts: FileCounts, expected: int) -> list[int]:
        """Adds rows to the staging table; returns how many each file staged."""
        # The rows already have the table's distribution and order: one shuffle serves these and the search for equals. Days come one after
        # another, so a task has only one file open, however many days there are.
        ordered = {"use-table-distribution-and-ordering": "false", "fanout-enabled": "false"}
        self._context.branches.append(self._as_staged(counts.watch(first)), self._contract.feeds, self._contract.table, **ordered)
        added = self._context.branches.added_records(self._contract.feeds)
        if added == expected:
            return [load.landed - load.rejected for load in self._loads]
        return counts.exact(added) or self._ask_staged(first)

    def _replace(self, first: DataFrame, days: list[date] | None) -> list[int]:
        """Rewrites the rows of these days, including those already staged; returns how many each file staged."""
        self._context.branches.replace(self._as_staged(first), self._contract.feeds, days)
        return self._ask_staged(first.where(F.col("file") != STAGED))

    def _as_staged(self, rows: DataFrame) -> DataFrame:
        return rows.select(*[column.name for column in table_contract(self._contract.feeds).columns])

    def _ask_staged(self, first: DataFrame) -> list[int]:
        found = {row["file"]: row["count"] for row in first.groupBy("file").count().collect()}
        return [found.get(number, 0) for number in range(len(self._files))]

    def _check_arrived(self, arrived: DataFrame, expected: int, observed: int | None) -> None:
        """Makes sure that what is not staged was a duplicate: all records that were counted as valid reached the search for equals.

        Raises JobError if they did not.
        """
        # What is observed may get lost, or be counted twice if Spark repeats a task.
        found = expected if observed == expected else arrived.count()
        if found != expected:
            what = f"{expected} valid records were counted, but {found} were read to be staged"
            raise JobError(f"{self._contract.table}: {what}; start a new run")

    def _with_date(self, records: DataFrame) -> DataFrame:
        time_column = self._contract.time
        if time_column is None:
            return records
        return records.withColumn("reading_date", F.expr(f"date_from_unix_date(cast(`{time_column}` div {_DAY_MS} as int))"))

    def _staged_before(self, arrived: DataFrame) -> tuple[DataFrame | None, list[date] | None]:
        """The published rows that arrived ones can be equal to, and their days; None for no rows, and for all days.

        Only those of days that arrived: the files of other days are not opened.
        """
        contract = table_contract(self._contract.feeds)
        if self._rows_before == 0:
            return None, None
        # The published version: the run's own is the same until this very statement writes to it.
        staged = self._context.branches.published(contract.table)
        if contract.partition is None:
            return staged, None
        days = [row[0] for row in arrived.select(contract.partition).distinct().limit(MOST_DAYS + 1).collect()]
        return (staged, None) if len(days) > MOST_DAYS else (staged.where(F.col(contract.partition).isin(days)), days)

    def _buckets(self, staged_before: DataFrame | None) -> int:
        """Over how many tasks a day is spread, as if all records were of one day."""
        staged = 0 if staged_before is None else staged_before.count()  # these are whole days, so the count comes from the table's metadata
        size = sum(file.size for file in self._files) + staged * _BYTES_PER_RECORD
        return max(1, -(-size // _BYTES_PER_BUCKET))

    # What is kept of a load

    def _keep_rejects(self) -> None:
        rejects = Rejects(self._spark, self._contract, self._context.run_files)
        found = []
        broken = [file for file in self._files if self._is_broken(file)]
        if broken:
            found.append(rejects.of_files(broken))
        if self._judged is not None and any(self._loads[file.number].rejected > 0 for file in self._dirty):
            found.append(rejects.of_values(self._judged, self._lines, self._dirty))
        if not found:
            return
        rows = found[0] if len(found) == 1 else found[0].unionByName(found[1])
        self._context.branches.append(rows, "rejected", self._contract.table)
        rejects.leave(rows)

    def _keep_loads(self) -> None:
        run_id = self._context.run_files.run_id
        rows = [
            (self._contract.table, load.key, load.version, load.landed, load.staged, load.duplicate, load.rejected, run_id)
            for load in self._loads
        ]
        self._context.branches.append(rows_of(self._spark, rows, schema_of(table_contract("loads"))), "loads", self._contract.table)
