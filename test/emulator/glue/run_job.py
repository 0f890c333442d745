"""What the emulator starts in place of a Glue job: `run_job.py SCRIPT --JOB_NAME … --key value …`.

The job's modules come from the bundle that its argument --extra-py-files names, taken from the emulated bucket: what was deployed
is what runs. A job gets a fresh process, as on Glue, if a fault is planned for it or the file `fresh` exists; all other jobs share
one Spark session (warm.py), so that a test of many runs does not wait for as many starts of a JVM.

STEDI_GLUE_FOLDER is the folder of these files, of bundles and of the session's socket. `faults/<step>.json` plans a fault for the next job
of a step: faults.py lists the faults.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3
from warm import connect, socket_of

HERE = Path(__file__).resolve().parent
# As Glue starts Python: a bundle is on the path of the driver.
DRIVER = [sys.executable, str(HERE.parents[1] / "spark/driver.py")]
FOLDER = Path(os.environ["STEDI_GLUE_FOLDER"])


def value_of(arguments: list[str], name: str) -> str:
    """The value of an argument that must be given."""
    return arguments[arguments.index(name) + 1]


def bundle_of(arguments: list[str]) -> Path:
    """The job's bundle, downloaded once; its name is the hash of its content."""
    bucket, _, key = value_of(arguments, "--extra-py-files").removeprefix("s3://").partition("/")
    place = FOLDER / "bundles" / key.rsplit("/", 1)[-1]
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(f".{os.getpid()}")
        boto3.client("s3").download_file(bucket, key, str(partial))
        partial.rename(place)
    return place


def planned_fault(step: str) -> str | None:
    """The fault that is planned for the next job of a step; it happens once."""
    place = FOLDER / "faults" / f"{step}.json"
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    place.unlink()
    return text


def fresh(script: str, arguments: list[str], bundle: Path, fault: str | None) -> int:
    """Runs the job in a process of its own. A deaf one goes on when the job run is stopped, as a lost worker would."""
    command = [*DRIVER, str(bundle), *([] if fault is None else [str(HERE / "faults.py"), fault]), script]
    deaf = fault is not None and json.loads(fault).get("deaf", False)
    # A small job spends most of its time compiling.
    environment = {**os.environ, "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
    if not deaf:
        os.environ.update(environment)
        os.execv(command[0], [*command, *arguments])
    log = FOLDER / "deaf.log"
    with log.open("wb") as output:
        child = subprocess.Popen([*command, *arguments], env=environment, stdout=output, stderr=output, start_new_session=True)
    return child.wait()


def warm(script: str, arguments: list[str], bundle: Path) -> int:
    """Runs the job in the shared session; its output is passed on."""
    place = socket_of(FOLDER, bundle)
    connection = connect(place)
    if connection is None:
        with (FOLDER / "spark.log").open("ab") as output:
            subprocess.Popen(
                [*DRIVER, str(bundle), str(HERE / "warm.py"), str(place), str(os.getppid()), value_of(arguments, "--lake")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        for _ in range(600):
            time.sleep(0.1)
            connection = connect(place)
            if connection is not None:
                break
        else:
            print("no Spark session within a minute: see spark.log")
            return 1
    with connection, connection.makefile("rw", encoding="utf-8") as stream:
        stream.write(json.dumps({"script": script, "arguments": arguments}) + "\n")
        stream.flush()
        for line in stream:
            answer = json.loads(line)
            if "code" in answer:
                return int(answer["code"])
            print(answer["line"], flush=True)
    print("the Spark session ended: see spark.log")
    return 1


def main(script: str, arguments: list[str]) -> int:
    """Runs the job; returns its exit code."""
    bundle = bundle_of(arguments)
    fault = planned_fault(value_of(arguments, "--step"))
    if fault is not None or (FOLDER / "fresh").exists():
        return fresh(script, arguments, bundle, fault)
    return warm(script, arguments, bundle)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
