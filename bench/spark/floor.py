"""The least that a run can be in Spark: every record staged once and the five models, by plain statements.

No line is checked, nothing is rejected, nobody's standing is looked at, and a reader sees the tables change one after the other.
"""

from __future__ import annotations

from functools import reduce
from operator import and_

from lakehouse.contracts import MODEL_TABLES
from lakehouse.sources import sql_files
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

import plain

DAY = "reading_date"
_DAY_OF = f"date_from_unix_date(cast({{time}} div 86400000 as int)) as {DAY}"
STAGED = {
    "customer_staging": (
        "select distinct customerName, lower(email) as email, phone, birthDay, serialNumber, registrationDate, lastUpdateDate, "
        "shareWithResearchAsOfDate, shareWithPublicAsOfDate, shareWithFriendsAsOfDate from customer_landing"
    ),
    "accelerometer_staging": (
        f"select distinct lower(user) as user, timestamp, x, y, z, {_DAY_OF.format(time='timestamp')} from accelerometer_landing"
    ),
    "step_trainer_staging": f"select distinct *, {_DAY_OF.format(time='sensorReadingTime')} from step_trainer_landing",
}
# Audits of tables that only a real run has.
_OF_LOADS = ("loaded_once", "rejected_as_loaded")


def first(spark: SparkSession, landing: str, namespace: str) -> None:
    """Builds the tables in a namespace of their own."""
    spark.sql(f"create namespace if not exists lake.{namespace}")
    _view(spark, landing, namespace)
    for table, select in STAGED.items():
        _create(spark, table, select)
    _view_people(spark)
    for table in MODEL_TABLES:
        _create(spark, table, sql_files("models")[table])


def second(spark: SparkSession, more: str, namespace: str) -> None:
    """Adds the files of another landing folder: new records, the models on their days, and the audits, which ask all rows."""
    _view(spark, more, namespace)
    days = [row[0] for table in STAGED for row in _days(spark, table)]
    for table, select in STAGED.items():
        _append_new(spark, table, select, days)
    _view_people(spark)
    for table in MODEL_TABLES:
        rows = spark.sql(sql_files("models")[table])
        of_days = F.col(DAY).isin(days) if DAY in rows.columns else F.lit(True)
        rows.where(of_days).writeTo(table).overwrite(of_days)
    audits = [text for name, text in sql_files("audits").items() if name not in _OF_LOADS]
    spark.sql(" union all ".join(f"select count(*) from (\n{text}\n)" for text in audits)).collect()


def _view(spark: SparkSession, landing: str, namespace: str) -> None:
    spark.sql(f"use lake.{namespace}")
    plain.view_landing(spark, landing, infer=False)


def _view_people(spark: SparkSession) -> None:
    spark.sql("select 'person-and-time' as ml_join, 'any-time' as consent_from").createOrReplaceTempView("policy")
    spark.sql(sql_files("models")["current_customer"]).createOrReplaceTempView("current_customer")


def _create(spark: SparkSession, table: str, rows: str) -> None:
    days = f"partitioned by ({DAY})" if DAY in spark.sql(rows).columns else ""
    spark.sql(f"create table {table} using iceberg {days} as {rows}")


def _days(spark: SparkSession, table: str) -> list:
    rows = spark.sql(STAGED[table])
    return rows.select(DAY).distinct().collect() if DAY in rows.columns else []


def _append_new(spark: SparkSession, table: str, select: str, days: list) -> None:
    new, staged = spark.sql(select), spark.table(table)
    if DAY in new.columns:
        staged = staged.where(F.col(DAY).isin(days))
    same = reduce(and_, [new[name].eqNullSafe(staged[name]) for name in new.columns])
    new.join(staged, same, "left_anti").writeTo(table).append()
