"""Builds a table from its model, byte for byte the text that the engine on one machine runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.contracts import table_contract
from lakehouse.sources import sql_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.branches import Branches
    from lakehouse.run_files import Manifest


def create_views(spark: SparkSession, manifest: Manifest) -> None:
    """What models, audits and counts read besides the tables: the policies as a table of one row, and `current_customer`."""
    from pyspark.sql.functions import lit

    # Made of literals, so that Spark sees while it plans which parts of a model a policy leaves empty.
    policy = spark.sql("select 1").select(lit(manifest.ml_join).alias("ml_join"), lit(manifest.consent_from).alias("consent_from"))
    policy.createOrReplaceTempView("policy")
    spark.sql(sql_files("models")["current_customer"]).createOrReplaceTempView("current_customer")


def build(spark: SparkSession, branches: Branches, table: str) -> None:
    """Replaces the rows of a table in the run's version by those of its model."""
    columns = [column.name for column in table_contract(table).columns]
    branches.replace(spark.sql(sql_files("models")[table]).select(*columns), table)
