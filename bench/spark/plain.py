"""The five tables as such projects usually make them: CREATE TABLE AS SELECT over the landing JSON, rebuilt from the raw files each time.

No checks, no search for duplicates, no rejected records, no audits, and a reader sees the tables change one after another.
"""

from __future__ import annotations

from pyspark.sql import SparkSession

SCHEMAS = {
    "customer_landing": (
        "customerName STRING, email STRING, phone STRING, birthDay STRING, serialNumber STRING, registrationDate BIGINT, "
        "lastUpdateDate BIGINT, shareWithResearchAsOfDate BIGINT, shareWithPublicAsOfDate BIGINT, shareWithFriendsAsOfDate BIGINT"
    ),
    "accelerometer_landing": "user STRING, timestamp BIGINT, x DOUBLE, y DOUBLE, z DOUBLE",
    "step_trainer_landing": "sensorReadingTime BIGINT, serialNumber STRING, distanceFromObject BIGINT",
}

MODELS = {
    "customer_trusted": "select * from customer_landing where shareWithResearchAsOfDate is not null",
    "accelerometer_trusted": ("select a.* from accelerometer_landing a join customer_trusted c on c.email = a.user"),
    "customers_curated": "select distinct c.* from customer_trusted c join accelerometer_trusted a on a.user = c.email",
    "step_trainer_trusted": ("select s.* from step_trainer_landing s join customers_curated c on c.serialNumber = s.serialNumber"),
    "machine_learning_curated": (
        "select s.serialNumber, s.sensorReadingTime, s.distanceFromObject, a.x, a.y, a.z "
        "from step_trainer_trusted s join customers_curated c on c.serialNumber = s.serialNumber "
        "join accelerometer_trusted a on a.timestamp = s.sensorReadingTime and a.user = c.email"
    ),
}


def run(spark: SparkSession, landing: str, namespace: str, infer: bool = False) -> None:
    """Builds the tables; with `infer` Spark works out the schema by itself, which reads everything once more."""
    spark.sql(f"create namespace if not exists lake.{namespace}")
    spark.sql(f"use lake.{namespace}")
    view_landing(spark, landing, infer)
    for table, model in MODELS.items():
        spark.sql(f"drop table if exists lake.{namespace}.{table}")
        spark.sql(f"create table lake.{namespace}.{table} using iceberg as {model}")


def view_landing(spark: SparkSession, landing: str, infer: bool) -> None:
    """Makes the landing tables that the statements name."""
    for table, schema in SCHEMAS.items():
        reader = spark.read if infer else spark.read.schema(schema)
        reader.json(f"{landing}/{table}").createOrReplaceTempView(table)
