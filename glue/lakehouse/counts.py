"""What the gate judges by: counts of the run's version, audits, and how many rows a run may take away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lakehouse.contracts import LANDING_TABLES, PUBLISHED_TABLES
from lakehouse.sources import sql_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.branches import Branches

# Of the published rows those that may go: rows of people who withdrew, and of devices that are now held by more than one person.
_EXCEPTED_PEOPLE = """
  select email from previous_people
  where not exists (select 1 from customer_trusted where customer_trusted.email = previous_people.email)
"""
_EXCEPTED_DEVICES = """
  select serialnumber from previous_people
  where serialnumber is not null and (
    not exists (select 1 from customer_trusted where customer_trusted.email = previous_people.email)
    or exists (
      select 1
      from (
        select serialnumber as held from current_customer
        where serialnumber is not null group by serialnumber having count(*) > 1
      ) as ambiguous
      where ambiguous.held = previous_people.serialnumber
    )
  )
"""
_OF_EXCEPTED = {
    "customer_trusted": "email in (select email from excepted_people)",
    "accelerometer_trusted": "user in (select email from excepted_people)",
    "customers_curated": "email in (select email from excepted_people)",
    "step_trainer_trusted": ("email in (select email from excepted_people) or serialnumber in (select serialnumber from excepted_devices)"),
    "machine_learning_curated": "serialnumber in (select serialnumber from excepted_devices)",
}


def rows_excepted(spark: SparkSession, branches: Branches, table: str, rows_before: int) -> int:
    """Rows of a table's published version that this run may take away; `customer_trusted` must be built already."""
    if rows_before == 0:
        return 0
    branches.published("customer_trusted").createOrReplaceTempView("previous_people")
    spark.sql(_EXCEPTED_PEOPLE).createOrReplaceTempView("excepted_people")
    spark.sql(_EXCEPTED_DEVICES).createOrReplaceTempView("excepted_devices")
    if count(spark, "select count(*) from (select 1 from excepted_people union all select 1 from excepted_devices)") == 0:
        return 0
    branches.published(table).createOrReplaceTempView("previous_rows")
    return count(spark, f"select count(*) from previous_rows where {_OF_EXCEPTED[table]}")


def count(spark: SparkSession, sql: str) -> int:
    """The number that a query of one row and one column returns."""
    row = spark.sql(sql).head()
    return 0 if row is None or row[0] is None else int(row[0])


def audit(spark: SparkSession, run_id: str) -> dict[str, Any]:
    """All audits and counts on the run's version, as in `metrics/audits.json`."""
    started = time.monotonic()
    sql = sql_files("counts")
    # Side by side: while one statement is planned, others use the cores.
    with ThreadPoolExecutor() as threads:
        identity = threads.submit(lambda: spark.sql(sql["identity"]).first())
        audits = threads.submit(_rows_of, spark, sql_files("audits"))
        accelerometer = threads.submit(_reasons, spark, sql["withheld_accelerometer"])
        step_trainer = threads.submit(_reasons, spark, sql["withheld_step_trainer"])
        counts = threads.submit(_rows_of, spark, {table: f"select * from {table}" for table in PUBLISHED_TABLES})
        loads = threads.submit(lambda: {row["landing_table"]: row for row in spark.sql(sql["loads"]).collect()})
    pairs = identity.result() or {"same_time": 0, "same_person": 0}
    same_time, same_person = pairs["same_time"], pairs["same_person"]
    found = {
        "counts": counts.result(),
        "loads": {table: _load_counts(loads.result().get(table)) for table in LANDING_TABLES},
        "withheld": {"accelerometer": accelerometer.result(), "step_trainer": step_trainer.result()},
        "identity": {"sameTime": same_time, "samePerson": same_person, "otherPerson": same_time - same_person},
        "audits": [{"name": name, "rows": rows} for name, rows in audits.result().items()],
    }
    return {"runId": run_id, "seconds": round(time.monotonic() - started, 3), **found}


def _rows_of(spark: SparkSession, queries: dict[str, str]) -> dict[str, int]:
    """How many rows each query returns, in one statement: planned once, and run side by side."""
    selects = [f"select '{name}' as name, count(*) as rows from (\n{text}\n)" for name, text in queries.items()]
    found = {row["name"]: row["rows"] for row in spark.sql(" union all ".join(selects)).collect()}
    return {name: found[name] for name in queries}


def _load_counts(row: Any) -> dict[str, int]:  # noqa: ANN401 - a Spark row
    return {name: 0 if row is None else row[name] for name in ("landed", "staged", "duplicate", "rejected")}


def _reasons(spark: SparkSession, sql: str) -> dict[str, int]:
    return {row["reason"]: row["readings"] for row in sorted(spark.sql(sql).collect(), key=lambda row: row["reason"])}
