"""From claimed files to lines: a DataFrame with the file, a place in it, and the text of each line.

Spark's own text reader reads what it can; gzip files, and names that it would take for something else, are read in Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

from lakehouse import landing, storage
from lakehouse.landing import LandingFile
from lakehouse.records import LONGEST_LINE
from lakehouse.rows import rows_of
from lakehouse.shapes import Shape, common_shapes, shape_of
from lakehouse.workers import forget_archives

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
    from pyspark.sql.types import StructType

    from lakehouse.contracts import LandingContract

# Files that Spark's own reader does not read share a task until they exceed _BYTES_PER_PACK; opening one counts as _BYTES_PER_FILE.
_BYTES_PER_PACK = 32 * 1024 * 1024
_BYTES_PER_FILE = 256 * 1024
# The variable that boto3 reads.
_REGION = "AWS_DEFAULT_REGION"


# By default Spark's JSON reader turns a record with a text of over 20,000,000 characters into one of nulls (SPARK-43263).
ANY_LENGTH = {"maxStringLen": str(2**31 - 1)}


def has_shape(shape: Shape) -> Column:
    """Whether a line has this shape."""
    return (F.octet_length("value") <= LONGEST_LINE) & F.col("value").rlike(shape.pattern)


class Lines:
    """The lines of one landing table's files, and which of them are clean."""

    def __init__(self, spark: SparkSession, contract: LandingContract, files: list[LandingFile]) -> None:
        self._spark = spark
        # Spark cuts files into blocks by the number of cores that it has when it plans. Workers may join later, but all plans must cut
        # alike: line numbers depend on it.
        spark.conf.set("spark.sql.files.minPartitionNum", str(spark.sparkContext.defaultParallelism))
        self.shapes = common_shapes((file.names for file in files), contract)
        self._number_of = {file.number: self._own_shape(file, contract) for file in files}

    def _own_shape(self, file: LandingFile, contract: LandingContract) -> int:
        shape = None if file.names is None else shape_of(file.names, contract)
        return self.shapes.index(shape) if shape in self.shapes else 0

    def shape(self, file: LandingFile) -> Shape:
        """The shape that a file's clean lines have."""
        return self.shapes[self._number_of[file.number]]

    def is_clean(self) -> Column:
        """Whether a line has the shape of its file."""
        clean = F.lit(False)
        for number, shape in enumerate(self.shapes):
            clean = F.when(F.col("shape") == number, has_shape(shape)).otherwise(clean)
        return clean

    def of(self, files: list[LandingFile]) -> DataFrame:
        """Lines of files: `file`, `shape`, `block` and `row` (for line numbers), `value` (text, not checked)."""
        native = [file for file in files if file.native]
        other = [file for file in files if not file.native]
        lines = [self.native(native)] if native else []
        if other:
            lines.append(self._other(other))
        return lines[0] if len(lines) == 1 else lines[0].unionByName(lines[1])

    def native(self, files: list[LandingFile]) -> DataFrame:
        """Spark's own text reader splits large files and packs small ones. A lone carriage return does not end a line."""
        block, row = F.col("_metadata.file_block_start").alias("block"), F.monotonically_increasing_id().alias("row")
        return self._numbered(self._reader().text(_places(files)), files, block, row, F.col("value"))

    def native_records(self, files: list[LandingFile], schema: StructType) -> DataFrame:
        """The records of files whose lines are all clean: `file`, `shape`, and the fields of the schema.

        Spark's own JSON reader takes half the time of its text reader and from_json.
        """
        records = self._reader().options(**ANY_LENGTH).schema(schema).json(_places(files))
        return self._numbered(records, files, *[F.col(name) for name in schema.names])

    def _reader(self) -> DataFrameReader:
        return self._spark.read.option("lineSep", "\n").option("recursiveFileLookup", "true")

    def _numbered(self, read: DataFrame, files: list[LandingFile], *columns: Column) -> DataFrame:
        """What was read from files, with our number of each: deriving it from Spark's name on every line would cost more than reading."""
        named = [(name, file.number, self._number_of[file.number]) for file in files for name in _spark_names(file.place)]
        numbers = F.broadcast(rows_of(self._spark, named, "_place STRING, file INT, shape INT"))
        rows = read.select(F.col("_metadata.file_path").alias("_place"), *columns).join(numbers, "_place")
        return rows.drop("_place")

    def broken_gzip(self, files: list[LandingFile]) -> list[int]:
        """The numbers of the gzip files that can't be decompressed to their end."""
        packed = [(file, 0) for file in files if file.gzip]
        return self._packed(packed, _broken_files).collect() if packed else []

    def _other(self, files: list[LandingFile]) -> DataFrame:
        rows = self._packed([(file, self._number_of[file.number]) for file in files], _lines_of_files)
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

        region = os.environ.get(_REGION)

        def begin(pack: Iterable[tuple[LandingFile, int]]) -> Iterator[Any]:
            forget_archives()
            if region is not None:
                os.environ.setdefault(_REGION, region)  # workers elsewhere don't have the driver's environment
            return work(pack)

        return self._spark.sparkContext.parallelize(packs, len(packs)).flatMap(begin)


def _places(files: list[LandingFile]) -> list[str]:
    return [file.place for file in files]


def _spark_names(place: str) -> list[str]:
    """How Spark may write the name of a file; on S3, as we do."""
    return [place] if storage.is_s3(place) else [f"file:{place}", f"file://{place}"]


def _broken_files(files: Iterable[tuple[LandingFile, int]]) -> Iterator[int]:
    for file, _ in files:
        if not landing.is_whole_gzip(file.place):
            yield file.number


def _lines_of_files(files: Iterable[tuple[LandingFile, int]]) -> Iterator[tuple[int, int, int, bytearray]]:
    for file, shape in files:
        for line, text in landing.lines_of(file):
            yield file.number, shape, line, bytearray(text)
