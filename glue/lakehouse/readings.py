"""Counts of readings, as defined in `glue/counts`: pairs at the same time, and what is withheld.

They are sums over days. So a run's counts are those of the published version, minus what that has on the days that the run has rebuilt,
plus what the run has on those days. The gate checks them against the rows of all days with its row equations.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from lakehouse import days, views
from lakehouse.contracts import LAST_TABLE
from lakehouse.sources import sql_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.branches import Branches
    from lakehouse.run_files import RunFiles

# Each count, and the table that is built from the readings that it counts.
_BUILT_FROM_SAME = {
    "identity": LAST_TABLE,
    "withheld_accelerometer": "accelerometer_trusted",
    "withheld_step_trainer": "step_trainer_trusted",
}


def count_readings(spark: SparkSession, branches: Branches, files: RunFiles) -> dict[str, Callable[[], dict[str, int]]]:
    """A function for each count that returns its numbers other than 0: pairs by name, or readings by the reason they are withheld for."""
    return {name: _count(spark, branches, files, name) for name in _BUILT_FROM_SAME}


def _count(spark: SparkSession, branches: Branches, files: RunFiles, name: str) -> Callable[[], dict[str, int]]:
    table, sql = _BUILT_FROM_SAME[name], sql_files("counts")[name]
    run_before = branches.published_by(table)
    audits = None if run_before is None else files.of(run_before).read("metrics/audits.json")
    built = days.built(files, table)
    if built is None or audits is None:
        rows = spark.sql(sql)
        return lambda: _sum([(1, _numbers(rows))])
    if not built:
        return lambda: _sum([(1, _published(audits, name))])
    readings = days.INPUTS[table].readings
    with views.shadows(spark, {of: days.on(spark.table(of), built) for of in readings}):
        now = spark.sql(sql)
    before = {of: days.on(branches.published(of), built) for of in readings}
    with views.shadows(spark, {**views.published_people(spark, branches), **before}):
        then = spark.sql(sql)
    return lambda: _sum([(1, _published(audits, name)), (-1, _numbers(then)), (1, _numbers(now))])


def _sum(signed: list[tuple[int, Mapping[str, int]]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for sign, numbers in signed:
        for name, number in numbers.items():
            total[name] += sign * number
    return {name: number for name, number in sorted(total.items()) if number != 0}


def _numbers(rows: DataFrame) -> dict[str, int]:
    found = rows.collect()
    return {row["reason"]: row["readings"] for row in found} if "reason" in rows.columns else found[0].asDict()


def _published(audits: Mapping[str, Any], name: str) -> dict[str, int]:
    """The numbers of a count in `metrics/audits.json`."""
    if name == "identity":
        return {"same_time": audits["identity"]["sameTime"], "same_person": audits["identity"]["samePerson"]}
    return dict(audits["withheld"][name.removeprefix("withheld_")])
