"""The tasks `glue:startJobRun` and `glue:startJobRun.sync` of state machines, which the emulator does not have.

A task of the second kind ends with its job run; a failure is States.TaskFailed with the job run as its cause, and errors of Glue are
called `Glue.<Exception>`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ministack.services import glue, stepfunctions

_FIELDS = {
    "AllocatedCapacity",
    "Arguments",
    "ExecutionClass",
    "ExecutionRoleSessionPolicy",
    "JobName",
    "JobRunId",
    "JobRunQueuingEnabled",
    "MaxCapacity",
    "NotificationProperty",
    "NumberOfWorkers",
    "SecurityConfiguration",
    "Timeout",
    "WorkerType",
}
_START_JOB_RUN = "arn:aws:states:::glue:startJobRun"


def _start_job_run(resource: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Starts a job run, and waits for its end if the resource says so. Refuses what Step Functions would refuse."""
    if unknown := set(parameters) - _FIELDS:
        raise stepfunctions._ExecutionError("States.Runtime", f"unknown fields {sorted(unknown)}")
    if any(not isinstance(value, str) for value in parameters.get("Arguments", {}).values()):
        raise stepfunctions._ExecutionError("States.Runtime", "arguments of a Glue job must be strings")
    started = _answer(glue._start_job_run(parameters))
    if not resource.endswith(".sync"):
        return started
    while True:
        run = _answer(glue._get_job_run({"JobName": parameters["JobName"], "RunId": started["JobRunId"]}))["JobRun"]
        if run["JobRunState"] == "SUCCEEDED":
            return run
        if run["JobRunState"] in ("FAILED", "STOPPED", "TIMEOUT", "ERROR"):
            raise stepfunctions._ExecutionError("States.TaskFailed", json.dumps(run))
        time.sleep(0.1)


def _answer(response: tuple[int, Any, str | bytes]) -> dict[str, Any]:
    status, _headers, text = response
    body = json.loads(text)
    if status >= 400:
        name = str(body.get("__type", "AWSGlueException")).rsplit("#", maxsplit=1)[-1]
        raise stepfunctions._ExecutionError(f"Glue.{name}", body.get("message") or body.get("Message") or "")
    return body


def apply() -> None:
    """Puts the patches in place."""
    stepfunctions._SERVICE_DISPATCH[_START_JOB_RUN] = _start_job_run
