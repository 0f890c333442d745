"""How many rows of each file a write lets through, counted while it writes: to ask afterwards is to read, shuffle and sort them again."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

from pyspark.sql import Observation
from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

from lakehouse.session import jvm

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Each task sends its sketch, 1.5 KB for each file, to the driver.
MOST_FILES = 1000
# A sketch has three rows of so many counters for each file.
_COUNTERS_PER_FILE = 64
# Spark tells what it has observed a moment after the write; where the message is lost, it would be waited for without end.
_PATIENCE_SECONDS = 60.0


class FileCounts:
    """Counts of rows by their column `file`, a number from 0 up to how many files there are."""

    def __init__(self, spark: SparkSession, files: int) -> None:
        self._spark = spark
        self._files = files
        self._seen = Observation() if files <= MOST_FILES else None
        self._seen_arrived = Observation()

    def watch(self, rows: DataFrame) -> DataFrame:
        """The same rows; whatever writes them counts them. For one statement."""
        if self._seen is None:
            return rows
        width, three_rows = F.lit(2 / (_COUNTERS_PER_FILE * self._files)), F.lit(0.87)
        return rows.observe(self._seen, F.count_min_sketch("file", width, three_rows, F.lit(1)).alias("sketch"))

    def watch_arrived(self, rows: DataFrame) -> DataFrame:
        """The same rows; whatever writes what becomes of them counts those that have a file. For one statement."""
        has_file = F.col("file") >= 0
        return rows.observe(self._seen_arrived, F.sum(has_file.cast("bigint")).alias("arrived"))

    def arrived(self) -> int | None:
        """How many rows that have a file were seen; None when Spark does not tell. More than there are where it ran a task twice."""
        return _told(self._seen_arrived, "arrived")

    def exact(self, total: int) -> list[int] | None:
        """The count of each file, once so many rows were written; None where it must be asked otherwise.

        A count-min sketch never says too little (Cormode and Muthukrishnan 2005). So when its counts add up to the total, each is exact;
        when they do not, files shared all their counters, or Spark ran a task twice.
        """
        if total == 0:
            return [0] * self._files  # of a plan that Spark finds to be empty nothing is observed
        found = None if self._seen is None else _told(self._seen, "sketch")
        if found is None:
            return None
        sketch = jvm(self._spark).org.apache.spark.util.sketch.CountMinSketch.readFrom(found)
        counts = [int(sketch.estimateCount(number)) for number in range(self._files)]
        return counts if sum(counts) == total else None


def _told(seen: Observation, name: str) -> Any:  # noqa: ANN401 - whatever is observed
    found: list[Any] = []
    asking = Thread(target=lambda: found.append(seen.get[name]), daemon=True)
    asking.start()
    asking.join(_PATIENCE_SECONDS)
    return found[0] if found else None
