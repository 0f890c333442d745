"""The jobs: one for each table, and `publish`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakehouse import counts, days, lock, models, staging, upkeep, views
from lakehouse.branches import Branches
from lakehouse.contracts import FIRST_TABLE, LAST_TABLE, MODEL_TABLES, landing_contract, table_contract
from lakehouse.errors import DeployedMeanwhileError
from lakehouse.reasons import reason
from lakehouse.run_files import Manifest, RunFiles
from lakehouse.session import NAMESPACE, use_namespace
from lakehouse.snapshots import Snapshots
from lakehouse.tables import ensure_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

PUBLISH = "publish"
STEPS = (*MODEL_TABLES, PUBLISH)


@dataclass(frozen=True)
class Job:
    """What a job is given: its step, its run, and where things are."""

    step: str
    run_id: str
    fence: int
    lake: str
    landing: str
    lock: lock.RunLock
    namespace: str = NAMESPACE
    snapshots_kept: timedelta = timedelta(days=7)
    # The hash of policies, models, counts and contracts that this job was deployed with; None if nothing is deployed.
    definition: str | None = None


def run(spark: SparkSession, job: Job, log: Callable[[str, dict[str, Any]], None]) -> None:
    """Runs one step.

    Raises LockLostError when the run does not hold the lock; DeployedMeanwhileError, LandingChangedError and LakeUnusableError as their
    names say.
    """
    lock.check(job.lock, job.run_id, job.fence)
    use_namespace(spark, job.namespace)
    branches = Branches(spark, job.namespace, job.run_id)
    files = RunFiles(job.lake, job.run_id)
    if job.step == PUBLISH:
        _publish(spark, job, branches, files, log)
        return
    branches.enter()
    try:
        _build(spark, job, branches, files, log)
    finally:
        branches.leave()


def _build(spark: SparkSession, job: Job, branches: Branches, files: RunFiles, log: Callable[[str, dict[str, Any]], None]) -> None:
    started = time.monotonic()
    manifest = files.manifest()
    check_definition(job, manifest)
    contract = table_contract(job.step)
    if job.step == FIRST_TABLE:
        ensure_tables(spark, job.namespace)
        branches.begin(files)
    _put_back(spark, branches, job, contract.stages)

    context = staging.StagingContext(spark, branches, files, job.landing, job.lake, log)
    staged = None if contract.stages is None else staging.stage(context, contract.stages, manifest.files)
    if staged is not None:
        log(
            "table_staged",
            {"landingTable": contract.stages, "files": len(staged["files"]), "staged": staged["rows"] - staged["rowsBefore"]},
        )
    views.create(spark, manifest)
    lock.check(job.lock, job.run_id, job.fence)
    to_build = days.to_build(spark, branches, job.step, manifest.definition)
    models.build(spark, branches, job.step, manifest.definition, to_build)
    if job.step in days.INPUTS:
        days.keep(files, job.step, to_build)
    if job.step == FIRST_TABLE:
        counts.note_excepted(spark, branches, files, manifest)
    rows_before = branches.published_rows(job.step)
    rows = spark.table(job.step).count()
    rows_excepted = counts.rows_excepted(spark, branches, files, job.step, rows_before)
    seconds = round(time.monotonic() - started, 3)
    metrics = {
        "step": job.step,
        "runId": job.run_id,
        "seconds": seconds,
        "rows": rows,
        "rowsBefore": rows_before,
        "rowsExcepted": rows_excepted,
        **({} if staged is None else {"staging": staged}),
    }
    if job.step == LAST_TABLE:
        files.write("metrics/audits.json", counts.audit(spark, branches, files))
    files.write(f"metrics/{job.step}.json", metrics)
    built = {"table": job.step, "rows": rows, "before": rows_before, "seconds": seconds}
    log("table_built", built if to_build is None else {**built, "days": len(to_build)})


def check_definition(job: Job, manifest: Manifest) -> None:
    """Makes sure that the run was planned by the service as it is deployed now. Publish need not check: it only moves what is built.

    Raises DeployedMeanwhileError if it was not.
    """
    if job.definition is not None and job.definition != manifest.definition:
        found = f"the run has definition {manifest.definition}, the job {job.definition}"
        raise DeployedMeanwhileError(f"the service was deployed after {job.run_id} was planned ({found}); start a new run")


def _put_back(spark: SparkSession, branches: Branches, job: Job, landing_table: str | None) -> None:
    """Takes back whatever an earlier try of this step has written."""
    branches.reset(job.step)
    if landing_table is None:
        return
    branches.reset(landing_contract(landing_table).feeds)
    for table in ("rejected", "loads"):
        branches.ensure(table)
        if branches.has_written(table, landing_table):
            # `|| ''` hides the condition from Iceberg, which would look at main, not at the branch, to see whether it can drop whole files.
            spark.sql(f"DELETE FROM {table} WHERE run_id || '' = '{job.run_id}' and landing_table || '' = '{landing_table}'")


def _publish(spark: SparkSession, job: Job, branches: Branches, files: RunFiles, log: Callable[[str, dict[str, Any]], None]) -> None:
    if counts.is_taken_back(files):
        upkeep.note_withdrawal(job.lake, job.run_id)
    moved = branches.publish(
        files,
        mark=lambda: job.lock.mark_publishing(job.run_id, job.fence),
        check=lambda: _still_held(job),
    )
    log("run_published", {"tables": len(moved)})
    now = datetime.now(UTC)
    snapshots = Snapshots(spark, job.namespace)
    # What must not be kept of people goes at once, and the job must not succeed before it is gone.
    upkeep.forget(job.lake, snapshots)
    tasks: dict[str, Callable[[], object]] = {
        "branches": branches.clean_up,
        "small files": lambda: upkeep.compact(snapshots),
        "small files of days": lambda: upkeep.compact_days(job.lake, snapshots, now),
        "snapshots": lambda: snapshots.expire(now - job.snapshots_kept),
        "orphans": lambda: _remove_orphans(spark, job, now, log),
    }
    for task, work in tasks.items():
        try:
            work()
        except Exception as error:
            # The run is published. What is left behind takes up space, but no reader sees it; a later run tries again.
            log("upkeep_failed", {"task": task, "reason": reason(error)})


def _remove_orphans(spark: SparkSession, job: Job, now: datetime, log: Callable[[str, dict[str, Any]], None]) -> None:
    removed = upkeep.remove_orphans(spark, job.namespace, job.lake, now)
    if removed is not None:
        log("orphans_removed", {"files": removed})


def _still_held(job: Job) -> None:
    lock.check(job.lock, job.run_id, job.fence)
