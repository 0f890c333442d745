"""What the gate judges by: counts of the run's version, audits, and how many rows a run may take away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lakehouse.contracts import FIRST_TABLE, LANDING_TABLES, PUBLISHED_TABLES, table_contract
from lakehouse.errors import JobError
from lakehouse.readings import count_readings
from lakehouse.sources import sql_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.branches import Branches
    from lakehouse.run_files import Manifest, RunFiles

_EXCEPTED = "excepted.json"
_IN_DOUBT = "consents_in_doubt"


def note_excepted(spark: SparkSession, branches: Branches, files: RunFiles, manifest: Manifest) -> None:
    """Notes, in the `customer_trusted` job, how many people and devices may lose rows, and whether people take any back."""
    counted, tightened = {"people": 0, "devices": 0}, False
    if branches.published_rows(FIRST_TABLE) > 0:
        _view_excepted(spark, branches)
        counted = count_rows(spark, {name: f"select 1 from excepted_{name}" for name in counted})
        # The policy may have been any-time before, so readings from before the consent may be published.
        tightened = manifest.definition_changed and manifest.consent_from == "consent-date"
    taken_back = tightened or counted["people"] > 0
    files.write(_EXCEPTED, {"runId": files.run_id, "excepted": sum(counted.values()), "takenBack": taken_back})


def is_taken_back(files: RunFiles) -> bool:
    """Whether the run takes rows away because people take them back; if so, no older version may keep them."""
    found = files.read(_EXCEPTED)
    return found is not None and bool(found.get("takenBack", True))  # missing if the run began before this was noted


def rows_excepted(spark: SparkSession, branches: Branches, files: RunFiles, table: str, rows_before: int) -> int:
    """How many rows of a table's published version this run may take away."""
    # In most runs nobody is excepted, so there is nothing to query.
    if rows_before == 0 or files.expect(_EXCEPTED)["excepted"] == 0:
        return 0
    _view_excepted(spark, branches)
    branches.published(table).createOrReplaceTempView("previous_rows")
    leaves = table_contract(table).leaves_with
    if leaves is None:
        raise JobError(f"glue/tables/{table}.json does not say which of its rows may go (leavesWith)")
    return spark.sql(f'select 1 from previous_rows where "{leaves.column}" in (select * from excepted_{leaves.excepted})').count()


def _view_excepted(spark: SparkSession, branches: Branches) -> None:
    branches.published("customer_trusted").createOrReplaceTempView("previous_people")
    for name, sql in sql_files("excepted").items():
        spark.sql(sql).createOrReplaceTempView(f"excepted_{name}")


def audit(spark: SparkSession, branches: Branches, files: RunFiles) -> dict[str, Any]:
    """All audits and counts on the run's version, as in `metrics/audits.json`; all tables must be built."""
    started = time.monotonic()
    # Side by side: while one statement is planned, others use the cores.
    with ThreadPoolExecutor() as threads:
        readings = {name: threads.submit(asked) for name, asked in count_readings(spark, branches, files).items()}
        rows = threads.submit(count_rows, spark, {**sql_files("audits"), _IN_DOUBT: sql_files("counts")[_IN_DOUBT]})
        counts = threads.submit(count_rows, spark, {table: f"select * from {table}" for table in PUBLISHED_TABLES})
        loads = threads.submit(lambda: {row["landing_table"]: row for row in spark.sql(sql_files("counts")["loads"]).collect()})
    identity = readings["identity"].result()
    same_time, same_person = identity.get("same_time", 0), identity.get("same_person", 0)
    found = {
        "counts": counts.result(),
        "loads": {table: _load_counts(loads.result().get(table)) for table in LANDING_TABLES},
        "withheld": {kind: readings[f"withheld_{kind}"].result() for kind in ("accelerometer", "step_trainer")},
        "identity": {"sameTime": same_time, "samePerson": same_person, "otherPerson": same_time - same_person},
        "consentsInDoubt": rows.result()[_IN_DOUBT],
        "audits": [{"name": name, "rows": rows.result()[name]} for name in sql_files("audits")],
    }
    return {"runId": files.run_id, "seconds": round(time.monotonic() - started, 3), **found}


def count_rows(spark: SparkSession, queries: dict[str, str]) -> dict[str, int]:
    """How many rows each query returns, in one statement: planned once, and run side by side."""
    selects = [f"select '{name}' as name, count(*) as rows from (\n{text}\n)" for name, text in queries.items()]
    found = {row["name"]: row["rows"] for row in spark.sql(" union all ".join(selects)).collect()}
    return {name: found[name] for name in queries}


def _load_counts(row: Any) -> dict[str, int]:  # noqa: ANN401 - a Spark row
    return {name: 0 if row is None else row[name] for name in ("landed", "staged", "duplicate", "rejected")}
