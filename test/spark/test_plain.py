"""What a job does without Spark: why it failed, streams that break off, and what its workers forget."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import job
import pytest
from lakehouse import landing, lock, storage
from lakehouse.errors import JobError, LandingChangedError, LockLostError
from lakehouse.reasons import reason
from lakehouse.workers import forget_archives


class JavaError:
    """As much of a Java error as `reason` asks for."""

    def __init__(self, text: str, cause: JavaError | None = None) -> None:
        self._text = text
        self._cause = cause

    def toString(self) -> str:  # noqa: N802 - as in Java
        return self._text

    def getCause(self) -> JavaError | None:  # noqa: N802 - as in Java
        return self._cause


class Py4JJavaError(Exception):
    def __init__(self, java: JavaError) -> None:
        super().__init__("An error occurred while calling o1.collect: ann@x.org")
        self.java_exception = java


class NumberFormatException(Exception):  # noqa: N818 - as in PySpark
    """As PySpark raises it for a Java error that it knows."""

    def __init__(self, text: str, java: JavaError) -> None:
        super().__init__(text)
        self._origin = java


CAST = """[CAST_INVALID_INPUT] The value 'O'Hara ann@x.org' of the type "STRING" cannot be cast to "BIGINT". Can't go on. SQLSTATE: 22018"""
CAST_TOLD = "[CAST_INVALID_INPUT] The value … of the type … cannot be cast to …. Can't go on. SQLSTATE: 22018"
WORKER = """
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "lines.py", line 3, in split
    raise ValueError(line)
ValueError: not a line: "ann@x.org"
"""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LandingChangedError("'a@b.json' vanished; start a new run"), "LandingChangedError: 'a@b.json' vanished; start a new run"),
        (JobError("missing arguments: --lake"), "missing arguments: --lake"),
        (ValueError("invalid literal for int() with base 10: 'ann@x.org'"), "ValueError: invalid literal for int() with base 10: …"),
        (KeyError("ann@x.org"), "KeyError: …"),
        (ValueError('the record is {"email":"ann@x.org","x":'), "ValueError: the record is {…:…,…:"),
        (ValueError("the value 'ann\n@x.org' is"), "ValueError: the value …"),
        (ValueError("of ann@x.org, `Ann` and 'Ann"), "ValueError: of … … and …"),
        pytest.param(
            ValueError(f"{'b' * 1_000_000} ann@x.org"), f"ValueError: {'b' * 1_000_000} …", id="a word of any length is looked at once"
        ),
        (RuntimeError(), "RuntimeError: no message"),
        (Py4JJavaError(JavaError(f"org.apache.spark.SparkException: {CAST}")), f"org.apache.spark.SparkException: {CAST_TOLD}"),
        (
            Py4JJavaError(JavaError("a.A: job aborted\n\tat b", JavaError("b.B: half way", JavaError("c.C: no '/home/ann'\nmore")))),
            "a.A: job aborted - caused by c.C: no …",
        ),
        (NumberFormatException(CAST, JavaError(f"java.lang.X: {CAST}")), f"NumberFormatException: {CAST_TOLD}"),
        (
            NumberFormatException("aborted", JavaError("a.A: aborted", JavaError(f"b.B: \n{CAST}\n\tat c"))),
            f"NumberFormatException: aborted - caused by b.B: {CAST_TOLD}",
        ),
        (ValueError(WORKER), "ValueError: ValueError: not a line: …"),
        (
            Py4JJavaError(JavaError(f"s.SparkException: Task 0 failed: p.P: {WORKER}\n\tat a.b\nDriver stacktrace:")),
            "s.SparkException: ValueError: not a line: …",
        ),
    ],
)
def test_a_reason_tells_nothing_of_people(error: Exception, expected: str) -> None:
    assert reason(error) == job.reason(error) == expected  # type: ignore[attr-defined]


def test_a_stream_that_breaks_off_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it breaks off, but not for ever; other errors are passed on."""

    class BotoCoreError(Exception):
        pass

    monkeypatch.setitem(sys.modules, "botocore", ModuleType("botocore"))
    monkeypatch.setitem(sys.modules, "botocore.exceptions", SimpleNamespace(BotoCoreError=BotoCoreError))
    storage._broken_off.cache_clear()
    content = bytes(range(200))
    errors: list[Exception] = []

    class Body:
        def __init__(self, at: int) -> None:
            self._rest = io.BytesIO(content[at:])
            self._read = False

        def read(self, size: int) -> bytes:
            if self._read and errors:
                raise errors.pop()
            self._read = True
            return self._rest.read(min(size, 50))

    class Client:
        def get_object(self, Range: str | None = None, IfMatch: str | None = None, **_: Any) -> dict[str, Any]:  # noqa: ANN401, N803 - as in boto3
            assert IfMatch == (None if Range is None else "1")  # it must go on with the same object
            return {"ETag": "1", "Body": Body(int((Range or "bytes=0-").removeprefix("bytes=").removesuffix("-")))}

    monkeypatch.setattr(storage, "_s3", lambda place: (Client(), "bucket", place))
    errors += [BotoCoreError("read timed out"), ConnectionResetError(), BotoCoreError("incomplete")]
    assert storage._S3Stream("key").read() == content
    assert errors == []
    errors += [RuntimeError("another object")]
    with pytest.raises(RuntimeError):
        storage._S3Stream("key").read()
    monkeypatch.setattr(Client, "get_object", lambda *_, **__: (_ for _ in ()).throw(BotoCoreError("no way")))
    with pytest.raises(BotoCoreError):
        storage._S3Stream("key").read()
    storage._broken_off.cache_clear()


def test_a_forgotten_archive_can_be_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as modules:
        for name in ("kept_in_zip_1", "kept_in_zip_2"):
            modules.writestr(f"{name}.py", f"NAME = '{name}'")
    monkeypatch.syspath_prepend(str(archive))
    assert importlib.import_module("kept_in_zip_1").NAME == "kept_in_zip_1"
    assert str(archive) in sys.path_importer_cache
    forget_archives()
    assert str(archive) not in sys.path_importer_cache
    assert importlib.import_module("kept_in_zip_2").NAME == "kept_in_zip_2"


def test_what_a_job_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    least = ["--step=publish", "--run_id=r", "--fence=3", f"--lake={tmp_path}/", f"--landing={tmp_path}"]
    told = job.job_of(job.parse(least))
    assert (told.lake, told.namespace, told.snapshots_kept, told.definition) == (str(tmp_path), "stedi", timedelta(days=7), None)
    assert isinstance(told.lock, lock.FileLock)
    more = ["--ledger=t", "--database=x", "--snapshot_days=2", "--definition=d", "--region=eu-central-1"]
    told = job.job_of(job.parse([*least, *more]))
    assert (told.namespace, told.snapshots_kept, told.definition) == ("x", timedelta(days=2), "d")
    assert isinstance(told.lock, lock.TableLock)
    assert os.environ == {"AWS_DEFAULT_REGION": "eu-central-1"}  # as Spark's workers ask for it


def test_a_job_of_an_older_fence_does_not_hold_the_lock(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text(json.dumps({"runId": "r", "fence": 2, "publishing": False}))
    lock.check(lock.FileLock(str(tmp_path)), "r", 2)
    with pytest.raises(LockLostError):
        lock.check(lock.FileLock(str(tmp_path)), "r", 1)


def test_of_a_line_that_is_too_long_little_more_than_the_limit_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lines, and pieces of the long one, come before."""
    monkeypatch.setattr(landing, "LONGEST_LINE", 100)
    pieces = [b"a" * 60, b"b" * 30 + b"\n" + b"c" * 60, b"d" * 30 + b"\n" + b"e" * 90, b"e" * 90, b"e" * 90, b"\nok"]
    found = [(line, len(text)) for line, text in landing._split(iter(pieces))]
    assert [found[0], found[1], found[3]] == [(1, 90), (2, 90), (4, 2)]
    assert 100 < found[2][1] <= 200
