"""The Glue job for one step: `--step <table>|publish --run_id … --fence … --lake <uri or path> --landing <uri or path>`.

Optional arguments: `--ledger` (the DynamoDB table that holds the run lock; without it the lock is `<lake>/lock.json`), `--database` (the
Glue database, by default `stedi`), `--snapshot_days` (how long older snapshots stay, by default 7), `--region` (the AWS region, if the
environment names none) and `--definition` (the hash of policies, models, counts and contracts that this job was deployed with: a run that
was planned with another one stops). Glue's own arguments may be passed too. The modules beside this file come with the bundle in
`--extra-py-files`. A job that fails raises an error that nothing catches, because Glue makes its message the message of the job run; it is
the last line of the log.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

from lakehouse import session, storage
from lakehouse.errors import JobError
from lakehouse.lock import FileLock, TableLock
from lakehouse.reasons import reason
from lakehouse.steps import STEPS, Job, run

REQUIRED = ("step", "run_id", "fence", "lake", "landing")


def parse(arguments: list[str]) -> dict[str, str]:
    """`--key value` and `--key=value`; a key without a value is a switch. Keys that are not ours are Glue's and are left alone."""
    found: dict[str, str] = {}
    key = None
    for argument in arguments:
        if argument.startswith("--"):
            key, equals, value = argument[2:].partition("=")
            found[key] = value
            key = None if equals else key
        elif key is not None:
            found[key] = argument
            key = None
    missing = [name for name in REQUIRED if not found.get(name)]
    if missing:
        raise JobError(f"missing arguments: {', '.join(f'--{name}' for name in missing)}")
    if found["step"] not in STEPS:
        raise JobError(f"--step {found['step']}: expected one of {', '.join(STEPS)}")
    if not found["fence"].isdigit():
        raise JobError(f"--fence {found['fence']}: expected a whole number")
    return found


def job_of(arguments: dict[str, str]) -> Job:
    """The job that the arguments ask for."""
    lake, landing = (_absolute(arguments[name]) for name in ("lake", "landing"))
    ledger = arguments.get("ledger")
    if arguments.get("region"):
        os.environ.setdefault("AWS_DEFAULT_REGION", arguments["region"])
    return Job(
        step=arguments["step"],
        run_id=arguments["run_id"],
        fence=int(arguments["fence"]),
        lake=lake,
        landing=landing,
        lock=TableLock(ledger) if ledger else FileLock(lake),
        namespace=arguments.get("database") or session.NAMESPACE,
        snapshots_kept=timedelta(days=float(arguments.get("snapshot_days") or 7)),
        definition=arguments.get("definition") or None,
    )


def _absolute(place: str) -> str:
    return place.rstrip("/") if storage.is_s3(place) else os.path.abspath(place)


def log_line(event: str, fields: dict[str, Any]) -> None:
    """One JSON line for each fact."""
    print(json.dumps({"event": event, **fields}), flush=True)


def main(arguments: list[str]) -> None:
    """Runs the job.

    Raises JobError with the reason if it fails, and nothing else: Spark's own message may quote records.
    """
    spark = None
    failure = None
    try:
        job = job_of(parse(arguments))
        spark = session.start(job.lake)
        spark.sparkContext.setLogLevel("WARN")
        run(spark, job, lambda event, fields: log_line(event, {"runId": job.run_id, **fields}))
    except Exception as error:
        failure = reason(error)
    if spark is not None:
        with suppress(Exception):  # a session that is gone can't be stopped; what matters is why it is gone
            spark.stop()
    if failure is not None:
        log_line("job_failed", {"reason": failure})
        raise JobError(failure) from None


if __name__ == "__main__":
    main(sys.argv[1:])
