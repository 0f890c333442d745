"""Files of the lake and of landing, on local paths and on s3://, through one small set of functions.

They run on the driver and in Spark's Python workers. boto3 is imported only if a place is on S3.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable

_PART = 8 * 1024 * 1024


@dataclass(frozen=True)
class Head:
    """The file at a place: its version as the ledger writes it, and its first bytes."""

    version: str
    size: int
    start: bytes


def join(place: str, *names: str) -> str:
    """A place below another one."""
    return "/".join([place.rstrip("/"), *names])


def is_s3(place: str) -> bool:
    """Whether a place is on S3."""
    return place.startswith("s3://")


def head(place: str, length: int) -> Head | None:
    """Version, size and first bytes of a file; None when there is none.

    On one machine the version is `<size>-<modification time in ns>`, on S3 the version id. The bytes are of exactly that version.
    """
    return _head_s3(place, length) if is_s3(place) else _head_local(place, length)


def open_stream(place: str) -> BinaryIO:
    """A file's bytes, to be read from its start."""
    if not is_s3(place):
        return open(place, "rb")
    return io.BufferedReader(_S3Stream(place), buffer_size=_PART)


def read_text(place: str) -> str | None:
    """A small file's text; None when there is none."""
    if not is_s3(place):
        try:
            return Path(place).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
    client, bucket, key = _s3(place)
    try:
        return str(client.get_object(Bucket=bucket, Key=key)["Body"].read().decode("utf-8"))
    except client.exceptions.NoSuchKey:
        return None


def write_text(place: str, text: str) -> None:
    """Writes a small file; what was there is replaced atomically."""
    if is_s3(place):
        client, bucket, key = _s3(place)
        client.put_object(Bucket=bucket, Key=key, Body=text.encode("utf-8"))
        return
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_lines(place: str, lines: Iterable[str], scratch: str) -> None:
    """Writes a gzipped file of any length, line by line; memory stays flat."""
    partial = Path(scratch)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with gzip.open(partial, "wt", compresslevel=1, encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")
        if is_s3(place):
            client, bucket, key = _s3(place)
            client.upload_file(str(partial), bucket, key)
        else:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(partial, place)
    finally:
        partial.unlink(missing_ok=True)


def _head_local(place: str, length: int) -> Head | None:
    try:
        with open(place, "rb") as file:
            found = os.fstat(file.fileno())
            return Head(f"{found.st_size}-{found.st_mtime_ns}", found.st_size, file.read(length))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _head_s3(place: str, length: int) -> Head | None:
    client, bucket, key = _s3(place)
    try:
        if length > 0:
            try:
                part = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{length - 1}")
                _, _, total = str(part.get("ContentRange", "")).rpartition("/")
                return Head(_version(part), int(total or part["ContentLength"]), part["Body"].read())
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "InvalidRange":  # an empty object has not even a first byte
                    raise
        found = client.head_object(Bucket=bucket, Key=key)
        return Head(_version(found), int(found["ContentLength"]), b"")
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey", "NotFound"}:
            return None
        raise


def _version(answer: dict[str, Any]) -> str:
    return str(answer.get("VersionId", "null"))


def _s3(place: str) -> tuple[Any, str, str]:
    bucket, _, key = place.removeprefix("s3://").partition("/")
    return _client(), bucket, key


@cache
def _client() -> Any:  # noqa: ANN401
    import boto3
    from botocore.config import Config

    # A stand-in for AWS has no host name for each bucket.
    addressing = {"addressing_style": "path"} if "AWS_ENDPOINT_URL" in os.environ else {}
    return boto3.client("s3", config=Config(max_pool_connections=64, retries={"mode": "standard", "max_attempts": 8}, s3=addressing))


@cache
def _broken_off() -> tuple[type[Exception], ...]:
    """What a stream raises when it breaks off: network errors, by their own names or by those of botocore."""
    from botocore.exceptions import BotoCoreError

    return (OSError, BotoCoreError)


class _S3Stream(io.RawIOBase):
    """An object's body as a raw stream that resumes where it broke off."""

    def __init__(self, place: str) -> None:
        self._client, self._bucket, self._key = _s3(place)
        self._etag: str | None = None
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        for attempt in range(5):
            try:
                if self._body is None:
                    self._open()
                data = self._body.read(len(buffer)) if self._body is not None else b""
            except _broken_off():
                self._body = None
                if attempt == 4:
                    raise
                continue
            buffer[: len(data)] = data
            self._at += len(data)
            return len(data)
        return 0

    def _open(self) -> None:
        same = {} if self._etag is None else {"IfMatch": self._etag, "Range": f"bytes={self._at}-"}
        found = self._client.get_object(Bucket=self._bucket, Key=self._key, **same)
        self._etag, self._body = found["ETag"], found["Body"]
