"""Which of several equal records is staged: that of the first file that has it, unless one is staged already.

Records are equal if their identity fields are. If equal records differ in other columns, the smallest values stay, whichever came first
(docs/records.md); even then, the first file counts as the one that brought the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame

    from lakehouse.contracts import LandingContract, TableContract

# The file number of records that are staged already; files are numbered from 0.
STAGED = -1


class Duplicates:
    """The search for equal records of one landing table: one shuffle, which also distributes and sorts rows for the staging table."""

    def __init__(self, contract: LandingContract, feeds: TableContract) -> None:
        self._identity = list(contract.identity)
        self._partition = [F.col(feeds.partition)] if feeds.partition else []
        # Equal records have equal values in these.
        self._sort = [name for name in feeds.sort if name in contract.identity] or list(contract.identity)
        self._others = [column.name for column in contract.columns if column.name not in contract.identity]

    @property
    def may_replace(self) -> bool:
        """Whether an arrived record can take the place of an equal one that is staged."""
        return bool(self._others)

    def first(self, arrived: DataFrame, staged: DataFrame | None, buckets: int, watch: Callable[[DataFrame], DataFrame]) -> DataFrame:
        """Each arrived record once, with the number of the first `file` that has it, without those that are staged.

        If arrived records may replace staged ones, the result includes the staged ones, with STAGED as their file. `buckets`: over how
        many tasks a large day is spread. `watch` is given all rows once, at a point where each is in one task only.
        """
        rows = arrived if staged is None else arrived.unionByName(staged.withColumn("file", F.lit(STAGED)))
        # By person and time, not by person alone: all of a large day may be of one.
        bucket = F.pmod(F.hash(*[F.col(name) for name in self._sort]), F.lit(buckets)) if self._partition else F.lit(0)
        spread = [*self._partition, F.col("bucket")] if self._partition else [F.col(name) for name in self._identity]
        rows = watch(rows.withColumn("bucket", bucket).repartition(*spread))
        # The bucket last: a sort is quickest if what tells most rows apart comes early. The day first, because files are written by day.
        names = dict.fromkeys([*self._sort, *self._identity])
        equals = Window.partitionBy(*self._partition, *[F.col(name) for name in names], F.col("bucket"))
        if not self.may_replace:
            first = rows.withColumn("place", F.row_number().over(equals.orderBy("file")))
            return first.where((F.col("place") == 1) & (F.col("file") != STAGED)).drop("place", "bucket")
        smallest = [F.col(name).asc_nulls_first() for name in self._others]
        ranked = rows.withColumn("place", F.row_number().over(equals.orderBy(*smallest, "file")))
        ranked = ranked.withColumn("file", F.min("file").over(equals))
        return ranked.where(F.col("place") == 1).drop("place", "bucket")
