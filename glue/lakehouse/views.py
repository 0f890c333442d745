"""What models, audits and counts read besides the tables, and how they are made to see other rows under a table's name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

from lakehouse.sources import sql_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.branches import Branches
    from lakehouse.run_files import Manifest


def create(spark: SparkSession, manifest: Manifest) -> None:
    """Makes the views `policy`, which has one row, and `current_customer`."""
    # Made of literals, so that Spark sees while planning which parts of a model a policy leaves empty.
    policy = spark.sql("select 1").select(F.lit(manifest.ml_join).alias("ml_join"), F.lit(manifest.consent_from).alias("consent_from"))
    policy.createOrReplaceTempView("policy")
    _current_customer(spark).createOrReplaceTempView("current_customer")


def published_people(spark: SparkSession, branches: Branches) -> dict[str, DataFrame]:
    """People's standing according to what is published."""
    with shadows(spark, {"customer_staging": branches.published("customer_staging")}):
        current_customer = _current_customer(spark)
    return {"current_customer": current_customer, "customers_curated": branches.published("customers_curated")}


@contextmanager
def shadows(spark: SparkSession, rows: Mapping[str, DataFrame]) -> Iterator[None]:
    """Lets statements made inside read these rows under the names of tables or views, even if the statements run later."""
    catalog = spark._jsparkSession.sessionState().catalog()
    hidden = {name: spark.table(name) for name in rows if catalog.getTempView(name).isDefined()}
    for name, shadow in rows.items():
        shadow.createOrReplaceTempView(name)
    try:
        yield
    finally:
        for name in rows:
            if name in hidden:
                hidden[name].createOrReplaceTempView(name)
            else:
                spark.catalog.dropTempView(name)


def _current_customer(spark: SparkSession) -> DataFrame:
    return spark.sql(sql_files("models")["current_customer"])
