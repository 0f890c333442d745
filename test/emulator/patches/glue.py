"""Glue jobs.

- A Spark job really runs: the emulator would need Docker for it, and without it says SUCCEEDED at once. Here the command GLUE_RUNNER gets
  what Glue gives a script: `SCRIPT --JOB_NAME … --JOB_RUN_ID … --key value …`. A job that ends with a code other than 0 is FAILED, and
  the last line of its output is the error message. Logs go to GLUE_LOG_DIR.
- A job has one run at a time (GLUE_MAX_CONCURRENT): the emulator drops the job's own setting, whose default is 1.
- BatchStopJobRun ends the process of the job.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import glue

_log = logging.getLogger("emulator.glue")
_processes: dict[str, subprocess.Popen[bytes]] = {}
_starting = threading.Lock()


class _Docker:
    """Stands in for a Docker client, which the emulator asks whether an image is there before it runs a job."""

    class images:  # noqa: N801 - the name is Docker's
        """Every image is there."""

        @staticmethod
        def get(_image: str) -> bool:
            """Whether an image is there."""
            return True


def _environment(job: dict[str, Any], name: str) -> dict[str, str]:
    """The environment of a job: this emulator's address, and credentials of the job's role if roles are enforced."""
    region = os.environ.get("MINISTACK_REGION", "us-east-1")
    function = f"arn:aws:lambda:{region}:{glue.get_account_id()}:function:{name}"
    credentials = lambda_runtime.execution_credentials({"FunctionArn": function, "FunctionName": name, "Role": job.get("Role", "")})
    endpoint = f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '4566')}"
    return {**os.environ, **credentials, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}


def _run(run: dict[str, Any], job: dict[str, Any], name: str, arguments: dict[str, Any], script: str, _docker: object) -> None:
    """Runs a job to its end, and says in `run` how it ended."""
    command = [*shlex.split(os.environ.get("GLUE_RUNNER", "python3")), script]
    for key, value in arguments.items():
        command += [key, str(value)]
    log = Path(os.environ.get("GLUE_LOG_DIR", tempfile.gettempdir())) / f"glue-{name}-{run['Id']}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_environment(job, name), start_new_session=True
        )
    _processes[run["Id"]] = process
    if run["JobRunState"] == "STOPPED":  # while the process was starting
        _kill(process)
    try:
        code = process.wait(timeout=float(job.get("Timeout") or 480) * 60)
    except subprocess.TimeoutExpired:
        _kill(process)
        run["JobRunState"], run["ErrorMessage"] = "TIMEOUT", "Job run timed out"
        return
    finally:
        _processes.pop(run["Id"], None)
    if run["JobRunState"] == "STOPPED":
        return
    if code == 0:
        run["JobRunState"] = "SUCCEEDED"
    else:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        run["JobRunState"], run["ErrorMessage"] = "FAILED", (lines[-1] if lines else f"Exit code {code}")[:2000]
    _log.warning("%s %s is %s (%s)", name, run["Id"], run["JobRunState"], log)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def kill_all() -> None:
    """Ends the processes of all jobs."""
    for process in list(_processes.values()):
        _kill(process)


def _one_at_a_time(start: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def start_job_run(data: dict[str, Any]) -> Any:
        name = data.get("JobName")
        with _starting:
            working = [run for run in glue._job_runs.get(name) or [] if run["JobRunState"] in ("STARTING", "RUNNING")]
            if len(working) >= int(os.environ.get("GLUE_MAX_CONCURRENT", "1")):
                return glue.error_response_json("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}", 400)
            return start(data)

    return start_job_run


def _and_kill(stop: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def batch_stop_job_run(data: dict[str, Any]) -> Any:
        response = stop(data)
        for run_id in data.get("JobRunIds", []):
            if run_id in _processes:
                _kill(_processes[run_id])
        return response

    return batch_stop_job_run


def apply() -> None:
    """Puts the patches in place."""
    glue._get_docker = lambda: _Docker
    glue._execute_spark_docker = _run
    glue._start_job_run = _one_at_a_time(glue._start_job_run)
    glue._batch_stop_job_run = _and_kill(glue._batch_stop_job_run)
