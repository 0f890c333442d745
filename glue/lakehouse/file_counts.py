"""How many rows of each file a write lets through, counted while it writes: asking afterwards would read, shuffle and sort them again."""

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
# A sketch has three rows, each with this many counters per file.
_COUNTERS_PER_FILE = 64
# Spark reports what it has observed a moment after the write; if that message is lost, the wait for it would never end.
_PATIENCE_SECONDS = 60.0


class FileCounts:
    """Counts of rows by their column `file`, a number from 0 to `files` - 1."""

    def __init__(self, spark: SparkSession, files: int) -> None:
        self._spark = spark
        self._files = files
        self._seen = Observation() if files <= MOST_FILES else None
        self._seen_arrived = Observation()

    def watch(self, rows: DataFrame) -> DataFrame:
        """The same rows, counted by whatever writes them. For one statement only."""
        if self._seen is None:
            return rows
        width, three_rows = F.lit(2 / (_COUNTERS_PER_FILE * self._files)), F.lit(0.87)
        return rows.observe(self._seen, F.count_min_sketch("file", width, three_rows, F.lit(1)).alias("sketch"))

    def watch_arrived(self, rows: DataFrame) -> DataFrame:
        """The same rows; whatever writes their outcome also counts those that have a file. For one statement only."""
        has_file = F.col("file") >= 0
        return rows.observe(self._seen_arrived, F.sum(has_file.cast("bigint")).alias("arrived"))

    def arrived(self) -> int | None:
        """How many rows that have a file were seen; None if Spark does not report it. Too many if Spark ran a task twice."""
        return _told(self._seen_arrived, "arrived")

    def exact(self, total: int) -> list[int] | None:
        """The count of each file, once `total` rows have been written; None if it must be found in another way.

        A count-min sketch never gives too low a count (Cormode and Muthukrishnan 2005). So if its counts add up to the total, each is
        exact; if they don't, files shared all their counters, or Spark ran a task twice.
        """
        if total == 0:
            return [0] * self._files  # Spark observes nothing in a plan that it finds to be empty
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
