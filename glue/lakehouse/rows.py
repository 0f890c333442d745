"""Rows that the driver has, as a DataFrame."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.contracts import TableContract


def rows_of(spark: SparkSession, rows: Iterable[tuple[Any, ...]], schema: str) -> DataFrame:
    """The rows with a schema (`name TYPE, …`; texts and whole numbers).

    They are a literal in the plan: `createDataFrame` would make them a job of their own, through Python.
    """
    names = [column.split()[0] for column in schema.split(",")]
    text = json.dumps([dict(zip(names, row, strict=True)) for row in rows])
    return spark.sql("select 1").select(F.inline(F.from_json(F.lit(text), f"ARRAY<STRUCT<{schema}>>")))


def schema_of(contract: TableContract) -> str:
    """The columns of a table, as `rows_of` wants them."""
    return ", ".join(f"{column.name} {column.type}" for column in contract.columns)
