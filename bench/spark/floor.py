"""The least that a run can do in Spark: stage every record once and build the five models, with plain statements.

No line is checked, nothing is rejected, nobody's standing is looked at, and a reader sees the tables change one after another.
"""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from lakehouse import days, views
from lakehouse.contracts import MODEL_TABLES
from lakehouse.counts import count_rows
from lakehouse.run_files import Manifest
from lakehouse.sources import sql_files
from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

import plain

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import SparkSession

_DAY_OF = f"date_from_unix_date(cast({{time}} div 86400000 as int)) as {days.DAY}"
STAGED = {
    "customer_staging": (
        "select customerName, lower(email) as email, phone, birthDay, serialNumber, registrationDate, lastUpdateDate, "
        "shareWithResearchAsOfDate, shareWithPublicAsOfDate, shareWithFriendsAsOfDate from customer_landing"
    ),
    "accelerometer_staging": (
        f"select lower(user) as user, timestamp, x, y, z, {_DAY_OF.format(time='timestamp')} from accelerometer_landing"
    ),
    "step_trainer_staging": f"select *, {_DAY_OF.format(time='sensorReadingTime')} from step_trainer_landing",
}
_WITH_DAYS = ("accelerometer_staging", "step_trainer_staging")
# The usual policies, and nothing claimed.
_MANIFEST = Manifest(definition="", definition_changed=False, ml_join="person-and-time", consent_from="any-time", files=())
# Audits of tables that only a real run has.
_OF_LOADS = ("loaded_once", "rejected_as_loaded")


def first(spark: SparkSession, landing: str, namespace: str) -> None:
    """Builds the tables in a namespace of their own."""
    spark.sql(f"create namespace if not exists lake.{namespace}")
    _view_landing(spark, landing, namespace)
    for table, select in STAGED.items():
        _create(spark, table, f"select distinct * from ({select})", table in _WITH_DAYS)
    views.create(spark, _MANIFEST)
    for table in MODEL_TABLES:
        _create(spark, table, sql_files("models")[table], table in days.INPUTS)


def second(spark: SparkSession, more: str, namespace: str) -> None:
    """Adds the files of another landing folder: new records, the models on their days, and the audits, which read all rows."""
    _view_landing(spark, more, namespace)
    arrived = {row[0] for table in _WITH_DAYS for row in spark.sql(STAGED[table]).select(days.DAY).distinct().collect()}
    for table in STAGED:
        _append_new(spark, table, sorted(arrived))
    views.create(spark, _MANIFEST)
    for table in MODEL_TABLES:
        rows = spark.sql(sql_files("models")[table])
        to_build = F.col(days.DAY).isin(arrived) if table in days.INPUTS else F.lit(True)
        rows.where(to_build).writeTo(table).overwrite(to_build)
    count_rows(spark, {name: text for name, text in sql_files("audits").items() if name not in _OF_LOADS})


def _view_landing(spark: SparkSession, landing: str, namespace: str) -> None:
    spark.sql(f"use lake.{namespace}")
    plain.view_landing(spark, landing, infer=False)


def _create(spark: SparkSession, table: str, rows: str, with_days: bool) -> None:
    partitioned = f"partitioned by ({days.DAY})" if with_days else ""
    spark.sql(f"create table {table} using iceberg {partitioned} as {rows}")


def _append_new(spark: SparkSession, table: str, arrived: list[date]) -> None:
    new, staged = spark.sql(STAGED[table]).distinct(), spark.table(table)
    if table in _WITH_DAYS:
        staged = days.on(staged, arrived)
    same = reduce(and_, [new[name].eqNullSafe(staged[name]) for name in new.columns])
    new.join(staged, same, "left_anti").writeTo(table).append()
