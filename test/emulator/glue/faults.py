"""Runs a job with a planned fault: `faults.py FAULT SCRIPT --key value …`.

{"kind": "fail"}                          the job ends with an error before it does anything
{"kind": "wait", "until": FILE}           the job waits for a file before it builds its table; with "deaf": true it survives being stopped
{"kind": "crash", "afterTables": n}       publish is killed when it has moved n tables
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse.run_files import Manifest
    from lakehouse.steps import Job
    from pyspark.sql import SparkSession


def fail() -> None:
    """A job whose start fails."""
    print("RuntimeError: planned by the test")
    sys.exit(1)


def wait(until: Path) -> None:
    """The job has staged its files and is about to build its table."""
    from lakehouse import views

    create = views.create

    def waiting(spark: SparkSession, manifest: Manifest) -> None:
        until.with_suffix(".waiting").touch()
        while not until.exists():
            time.sleep(0.05)
        create(spark, manifest)

    views.create = waiting


def crash(after_tables: int) -> None:
    """Publish asks for the lock before each table: that is where it is killed."""
    from lakehouse import steps

    still_held = steps._still_held
    asked = 0

    def counting(job: Job) -> None:
        nonlocal asked
        asked += 1
        if asked > after_tables:
            print(f"killed by the test after {after_tables} tables", flush=True)
            os._exit(137)
        still_held(job)

    steps._still_held = counting


if __name__ == "__main__":
    fault = json.loads(sys.argv[1])
    if fault["kind"] == "fail":
        fail()
    elif fault["kind"] == "wait":
        wait(Path(fault["until"]))
    elif fault["kind"] == "crash":
        crash(fault["afterTables"])
    else:
        sys.exit(f"no such fault: {fault}")
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
