"""Builds a table from its model, byte for byte the text that the engine on one machine runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse import days, views
from lakehouse.contracts import table_contract
from lakehouse.sources import sql_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from pyspark.sql import SparkSession

    from lakehouse.branches import Branches


def build(spark: SparkSession, branches: Branches, table: str, definition: str, to_build: Sequence[date] | None) -> None:
    """Replaces a table's rows in the run's version by those of its model, on the days `to_build`, or on all days if that is None."""
    columns = [column.name for column in table_contract(table).columns]
    readings = {} if to_build is None else {name: days.on(spark.table(name), to_build) for name in days.INPUTS[table].readings}
    with views.shadows(spark, readings):
        rows = spark.sql(sql_files("models")[table]).select(*columns)
    branches.replace(rows, table, to_build, days.origin(branches, table, definition))
