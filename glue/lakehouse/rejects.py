"""What is kept of records that broke their contract: rows of `rejected`, with the line each was on, and JSON lines in the run's folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

from lakehouse import storage
from lakehouse.contracts import table_contract
from lakehouse.rows import rows_of, schema_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.contracts import LandingContract
    from lakehouse.landing import LandingFile
    from lakehouse.lines import Lines
    from lakehouse.run_files import RunFiles

_BYTES_PER_PART = 32 * 1024 * 1024
# Roughly what a rejected record takes besides its text.
_BYTES_OF_PLACE = 200


class Rejects:
    """The rejects of one landing table's files in one run."""

    def __init__(self, spark: SparkSession, contract: LandingContract, run_files: RunFiles) -> None:
        self._spark = spark
        self._contract = contract
        self._run_files = run_files

    def of_files(self, broken: list[LandingFile]) -> DataFrame:
        """Files that can't be read at all: one reject each."""
        rows = [
            (self._contract.table, file.key, file.version, 1, 1, "broken_gzip", None, "utf-8", "", self._run_files.run_id)
            for file in broken
        ]
        return rows_of(self._spark, rows, schema_of(table_contract("rejected")))

    def of_values(self, judged: DataFrame, lines: Lines, files: list[LandingFile]) -> DataFrame:
        """The rejected values among the judged ones of these files."""
        rejected = judged.where(F.col("reason").isNotNull())
        blocks = F.broadcast(self._blocks(lines, [file for file in files if file.native]))
        named = [(file.number, file.key, file.version) for file in files]
        keys = F.broadcast(rows_of(self._spark, named, "number INT, key STRING, version STRING"))
        here = (rejected["file"] == blocks["in_file"]) & (rejected["block"] == blocks["in_block"])
        found = rejected.join(blocks, here, "left").join(keys, rejected["file"] == keys["number"])
        line = F.when(F.col("block") == -1, F.col("row")).otherwise(F.col("row") + F.col("offset"))
        unknown = F.raise_error(F.lit(f"{self._contract.table}: the lines of rejected records were not found; start a new run"))
        return found.select(
            F.lit(self._contract.table).alias("landing_table"),
            F.col("key").alias("file"),
            "version",
            F.when(line >= 1, line).otherwise(unknown).alias("line"),
            F.col("position").cast("bigint").alias("position"),
            "reason",
            "field",
            "encoding",
            "record",
            F.lit(self._run_files.run_id).alias("run_id"),
        ).select(*[column.name for column in table_contract("rejected").columns])

    def _blocks(self, lines: Lines, native: list[LandingFile]) -> DataFrame:
        """Offsets that turn a row of a block into a line number: rows are numbered within a block, and blocks follow each other.

        The files are those that were judged, in blocks of the same size: another plan would number rows differently.
        """
        offsets = []
        if native:
            blocks = lines.native(native).groupBy("file", "block").agg(F.min("row").alias("first"), F.count(F.lit(1)).alias("lines"))
            before: dict[int, int] = defaultdict(int)
            for row in sorted(blocks.collect(), key=lambda row: (row["file"], row["block"])):
                offsets.append((row["file"], row["block"], before[row["file"]] - row["first"] + 1))
                before[row["file"]] += row["lines"]
        return rows_of(self._spark, offsets, "in_file INT, in_block BIGINT, offset BIGINT")

    def leave(self, rows: DataFrame) -> None:
        """Leaves rows of `rejected` as gzipped JSON lines, as on one machine: they show what happened if the run is not published."""
        # They reach the driver in parts. Each part is a job and must fit into the driver's memory, so the size of the rejects decides how
        # many there are: the size of the files, or the number of tasks that read them, says little about it.
        written = rows.agg(F.sum(F.octet_length("record") + _BYTES_OF_PLACE)).first()
        parts = rows.repartition(1 + ((written and written[0]) or 0) // _BYTES_PER_PART)
        lines = (json.dumps(row.asDict(), ensure_ascii=False, separators=(",", ":")) for row in parts.toLocalIterator())
        name = f"{self._contract.table}.ndjson.gz"
        scratch = os.path.join(tempfile.gettempdir(), f"{self._run_files.run_id}-{os.getpid()}-{name}")
        storage.write_lines(storage.join(self._run_files.folder, "rejects", name), lines, scratch)
