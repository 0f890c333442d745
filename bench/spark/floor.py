"""The least that a first run can be in Spark: every record staged once, then the five models; by eight statements that check nothing."""

from __future__ import annotations

from lakehouse.contracts import MODEL_TABLES
from lakehouse.sources import sql_files
from pyspark.sql import SparkSession

import plain

_DAY = "date_from_unix_date(cast({time} div 86400000 as int)) as reading_date"
STAGED = {
    "customer_staging": (
        "select customerName, lower(email) as email, phone, birthDay, serialNumber, registrationDate, lastUpdateDate, "
        "shareWithResearchAsOfDate, shareWithPublicAsOfDate, shareWithFriendsAsOfDate from customer_landing"
    ),
    "accelerometer_staging": f"select lower(user) as user, timestamp, x, y, z, {_DAY.format(time='timestamp')} from accelerometer_landing",
    "step_trainer_staging": f"select *, {_DAY.format(time='sensorReadingTime')} from step_trainer_landing",
}


def run(spark: SparkSession, landing: str, namespace: str) -> None:
    """Builds the tables in a namespace of their own."""
    spark.sql(f"create namespace if not exists lake.{namespace}")
    spark.sql(f"use lake.{namespace}")
    plain.view_landing(spark, landing, infer=False)
    for table, select in STAGED.items():
        days = "partitioned by (reading_date)" if "reading_date" in select else ""
        _create(spark, f"{namespace}.{table}", days, f"select distinct * from ({select})")
    spark.sql("select 'person-and-time' as ml_join, 'any-time' as consent_from").createOrReplaceTempView("policy")
    spark.sql(sql_files("models")["current_customer"]).createOrReplaceTempView("current_customer")
    for table in MODEL_TABLES:
        _create(spark, f"{namespace}.{table}", "", sql_files("models")[table])


def _create(spark: SparkSession, table: str, partitioned: str, rows: str) -> None:
    spark.sql(f"drop table if exists lake.{table}")
    spark.sql(f"create table lake.{table} using iceberg {partitioned} as {rows}")
