"""One Spark session for many jobs, and for questions about the tables they left: `warm.py SOCKET PARENT LAKE`.

A request is a line of JSON. {"script": …, "arguments": […]} runs a job; it is answered by {"line": …} for each line of its output and
{"code": n} at the end. {"sql": …} is answered by {"rows": […]}, read as any reader does: on `main`. A client that goes away cancels what
Spark is doing for it.
The process ends with PARENT, which is the emulator.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import socket
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# With many small jobs planning is what counts, so Spark compiles nothing. Jobs with a process of their own use Spark as it is.
_SMALL = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


def socket_of(folder: Path, bundle: Path) -> Path:
    """One session for each bundle: modules are imported once."""
    return folder / f"{bundle.stem[-16:]}.sock"


def connect(place: Path) -> socket.socket | None:
    """A connection to the session; None if nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(place))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


class _Lines(io.TextIOBase):
    """Sends what a job prints, line by line."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            answer(self._stream, {"line": line})
        return len(text)


def answer(stream: Any, value: dict[str, Any]) -> None:  # noqa: ANN401
    """Sends one line of JSON; nobody may be left to read it."""
    with suppress(OSError):
        stream.write(json.dumps(value, default=str) + "\n")
        stream.flush()


def run_job(spark: Any, script: str, arguments: list[str], stream: Any) -> int:  # noqa: ANN401
    """Does what the script does, except starting and stopping the session."""
    from lakehouse.steps import run

    job = SimpleNamespace(**runpy.run_path(script))
    lines = _Lines(stream)
    with redirect_stdout(lines), redirect_stderr(lines):
        try:
            asked = job.job_of(job.parse(arguments))
            run(spark, asked, lambda event, fields: job.log_line(event, {"runId": asked.run_id, **fields}))
        except Exception as error:
            print(job.reason(error))
            return 1
    return 0


def serve(place: Path, parent: int, lake: str) -> None:
    """Answers one request after another."""
    from lakehouse import session

    threading.Thread(target=_end_with, args=(parent, place), daemon=True).start()
    spark = session.start(lake, _SMALL)
    spark.sparkContext.setLogLevel("WARN")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place))
    server.listen()
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            request = json.loads(stream.readline())
            done = threading.Event()
            threading.Thread(target=_cancel_when_gone, args=(spark, connection, done), daemon=True).start()
            if "sql" in request:
                spark.conf.unset("spark.wap.branch")
                try:
                    found: dict[str, Any] = {"rows": [row.asDict() for row in spark.sql(request["sql"]).collect()]}
                except Exception as error:
                    found = {"error": str(error)}
                done.set()
                answer(stream, found)
            else:
                code = run_job(spark, request["script"], request["arguments"], stream)
                done.set()
                answer(stream, {"code": code})
            _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    """Closing alone would not end the connection while a thread still reads from it."""
    with suppress(OSError):  # the client may be faster
        connection.shutdown(socket.SHUT_RDWR)


def _cancel_when_gone(spark: Any, connection: socket.socket, done: threading.Event) -> None:  # noqa: ANN401
    try:
        gone = connection.recv(1) == b""
    except OSError:
        gone = True
    if gone and not done.is_set():
        spark.sparkContext.cancelAllJobs()


def _end_with(parent: int, place: Path) -> None:
    while True:
        time.sleep(0.5)
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            place.unlink(missing_ok=True)
            os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
