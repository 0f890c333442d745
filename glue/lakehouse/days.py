"""Which days of a readings table a run rebuilds; the files of all other days stay as they are.

A model of readings never looks from one day at another: a day's rows follow from that day's readings and from people's standing. So a
day is rebuilt if readings of it arrived, or if the standing of somebody who has readings on it changed. The outcome is the same as that of
building all days: test/spark compares it with the engine on one machine, which does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lakehouse import views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.branches import Branches
    from lakehouse.run_files import RunFiles

DAY = "reading_date"
# If there are more days than a condition should list one by one, all are rebuilt.
MOST_DAYS = 1000


@dataclass(frozen=True)
class Inputs:
    """What the rows of one day follow from."""

    # Only their rows of that day.
    readings: tuple[str, ...]
    # All of their rows.
    people: tuple[str, ...] = ()
    # The days with readings of those whose standing has changed, as a query on the view `changed_standing`.
    of_changed: str | None = None


INPUTS = {
    "accelerometer_trusted": Inputs(
        readings=("accelerometer_staging",),
        people=("customer_staging",),
        of_changed="select reading_date from accelerometer_staging where user in (select email from changed_standing)",
    ),
    "step_trainer_trusted": Inputs(
        readings=("step_trainer_staging",),
        people=("customer_staging", "customers_curated"),
        of_changed="select reading_date from step_trainer_staging where serialnumber in (select serialnumber from changed_standing)",
    ),
    "machine_learning_curated": Inputs(readings=("accelerometer_trusted", "step_trainer_trusted")),
}

# Who people are, what they hold and since when they share; once more if they move, because only then do their devices count.
_STANDING = """
  select email, serialnumber, sharewithresearchasofdate, 0 as moves from {customers}
  union all
  select email, serialnumber, sharewithresearchasofdate, 1 as moves from {curated}
"""
_CHANGED_STANDING = f"""
  select email, serialnumber from (
    {_STANDING.format(customers="current_customer", curated="customers_curated")}
    union all
    {_STANDING.format(customers="published_current_customer", curated="published_customers_curated")}
  )
  group by email, serialnumber, sharewithresearchasofdate, moves
  having count(*) = 1
"""


def to_build(spark: SparkSession, branches: Branches, table: str, definition: str) -> list[date] | None:
    """The days that the run must rebuild, sorted; None for all of them, and for a table that has no days.

    All of them, unless the published rows are of the same definition and of the very inputs that are published now: if somebody
    repairs a table by hand, it is built from its inputs.
    """
    if table not in INPUTS or branches.built_from(table) != origin(branches, table, definition, published=True):
        return None
    inputs = INPUTS[table]
    found: set[date] = set().union(*(branches.changed_days(name) for name in inputs.readings))
    if inputs.of_changed is not None and not all(branches.is_untouched(name) for name in inputs.people):
        _view_changed_standing(spark, branches)
        found.update(row[0] for row in spark.sql(inputs.of_changed).distinct().limit(MOST_DAYS + 1).collect())
    return None if len(found) > MOST_DAYS else sorted(found)


def origin(branches: Branches, table: str, definition: str, *, published: bool = False) -> str | None:
    """What the run's version of a table is built from, or would be if it were built from what is published: a definition and snapshots."""
    if table not in INPUTS:
        return None
    inputs = INPUTS[table]
    heads = [f"{name}={branches.head(name, published=published)}" for name in (*inputs.readings, *inputs.people)]
    return " ".join([definition, *heads])


def keep(files: RunFiles, table: str, to_build: Sequence[date] | None) -> None:
    """Notes the days that the run has rebuilt, for the jobs after this one."""
    files.write(_file_of(table), {"runId": files.run_id, "days": None if to_build is None else [day.isoformat() for day in to_build]})


def built(files: RunFiles, table: str) -> list[date] | None:
    """The days that the run has rebuilt; None for all of them."""
    found = files.expect(_file_of(table))["days"]
    return None if found is None else [date.fromisoformat(day) for day in found]


def on(rows: DataFrame, days: Sequence[date]) -> DataFrame:
    """The readings of these days."""
    return rows.where(rows[DAY].isin(list(days)))


def _file_of(table: str) -> str:
    return f"days/{table}.json"


def _view_changed_standing(spark: SparkSession, branches: Branches) -> None:
    """Makes `changed_standing`: people whose standing differs between this run and what is published, with devices they hold or held."""
    for name, rows in views.published_people(spark, branches).items():
        rows.createOrReplaceTempView(f"published_{name}")
    spark.sql(_CHANGED_STANDING).createOrReplaceTempView("changed_standing")
