"""Claimed landing files: are they still what was claimed, what do they look like, and how must each be read?"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from lakehouse import storage
from lakehouse.contracts import LandingContract
from lakehouse.errors import LandingChangedError
from lakehouse.records import LONGEST_LINE, judge_line
from lakehouse.run_files import ManifestFile
from lakehouse.shapes import names_of

_HEAD = 64 * 1024
_THREADS = 32
_CHUNK = 1024 * 1024
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Files with names that Spark's text reader would skip, shorten, take for a pattern, or decompress by their ending are read by lines_of.
_PLAIN_PLACE = re.compile(r"(?:s3:/)?(?:/(?!\.{1,2}/)[A-Za-z0-9._=+~-]+)*/[A-Za-z0-9][A-Za-z0-9._=+~-]*\Z")
_CODEC_ENDINGS = (".gz", ".gzip", ".bz2", ".deflate", ".lz4", ".snappy", ".zst", ".lzo", ".xz", "._COPYING_", ".crc")


@dataclass(frozen=True)
class LandingFile:
    """One claimed file version and how it is read; `number` is its place in the order of key and version."""

    number: int
    key: str
    version: str
    size: int
    place: str
    gzip: bool
    native: bool
    # Field names of the first record, in their order; None when the file does not begin with a valid one.
    names: tuple[str, ...] | None


def place_of(file: ManifestFile, landing: str, lake: str) -> str:
    """Where to read a claimed file version: below landing, or where a copy of it was put."""
    return storage.join(landing, file.key) if file.input is None else storage.join(lake, file.input)


def look(files: list[ManifestFile], contract: LandingContract, landing: str, lake: str) -> list[LandingFile]:
    """Checks every claimed file version and looks at its first bytes.

    Raises LandingChangedError when one is not what was claimed.
    """
    ordered = sorted(files, key=lambda file: (file.key.encode(), file.version.encode()))

    def look_at(number: int, file: ManifestFile) -> LandingFile:
        place = place_of(file, landing, lake)
        found = _checked(file, storage.head(place, _HEAD))
        gzip = found.start.startswith(_GZIP)
        return LandingFile(
            number=number,
            key=file.key,
            version=file.version,
            size=found.size,
            place=place,
            gzip=gzip,
            native=not gzip and _reads_natively(place),
            names=_first_names(found.start, found.size, contract),
        )

    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(look_at, range(len(ordered)), ordered))


def check_unchanged(files: list[ManifestFile], landing: str, lake: str) -> None:
    """Makes sure, once everything has been read, that it was read from the claimed versions.

    Raises LandingChangedError if a file has changed meanwhile.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        heads = threads.map(lambda file: storage.head(place_of(file, landing, lake), 0), files)
        for file, head in zip(files, heads, strict=True):
            _checked(file, head)


def _checked(file: ManifestFile, head: storage.Head | None) -> storage.Head:
    if head is not None and (file.input is not None or head.version == file.version):
        return head  # a copy has a version of its own, and nobody overwrites it
    what = "vanished" if head is None else "was overwritten"
    raise LandingChangedError(f"{file.key} {what} after the run had claimed it; start a new run")


def _reads_natively(place: str) -> bool:
    return _PLAIN_PLACE.match(place) is not None and not place.endswith(_CODEC_ENDINGS)


def _first_names(start: bytes, size: int, contract: LandingContract) -> tuple[str, ...] | None:
    packed = start.startswith(_GZIP)
    if packed:
        start = _inflated_start(start)
    line, newline, _ = start.removeprefix(_BYTE_ORDER_MARK).partition(b"\n")
    if not newline and (packed or size > len(start)):
        return None  # the line is, or may be, longer than what was read
    outcomes = judge_line(line, contract)
    return names_of(line) if outcomes and outcomes[0].reason is None else None


def _inflated_start(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(start, _HEAD)
    except zlib.error:
        return b""


def is_whole_gzip(place: str) -> bool:
    """Whether a gzip file can be decompressed to its end: member after member, then nothing but zero bytes."""
    try:
        with storage.open_stream(place) as stream:
            for _ in _inflate(stream):
                pass
    except (zlib.error, EOFError):
        return False
    return True


def lines_of(file: LandingFile) -> Iterator[tuple[int, bytes]]:
    """All lines of a file with their numbers, without the line feed and without a byte order mark at the start."""
    with storage.open_stream(file.place) as stream:
        yield from _split(_inflate(stream) if file.gzip else iter(lambda: stream.read(_CHUNK), b""))


def _inflate(stream: BinaryIO) -> Iterator[bytes]:
    """Raises zlib.error or EOFError if the data are broken or cut off."""
    member = zlib.decompressobj(31)
    data = stream.read(_CHUNK)
    while True:
        yield member.decompress(data, 4 * _CHUNK)
        # At the end of a member zlib leaves unconsumed_tail as it was, so only `eof` tells that it is used up.
        while member.unconsumed_tail and not member.eof:
            yield member.decompress(member.unconsumed_tail, 4 * _CHUNK)
        if not member.eof:
            data = stream.read(_CHUNK)
            if not data:
                raise EOFError("the last member is cut")
            continue
        rest = member.unused_data
        if not rest:
            rest = stream.read(_CHUNK)
        if not rest:
            return
        if rest[:1] == b"\0":
            _check_padding(rest, stream)
            return
        member, data = zlib.decompressobj(31), rest


def _check_padding(rest: bytes, stream: BinaryIO) -> None:
    while rest:
        if rest.strip(b"\0"):
            raise EOFError("something stands behind the padding")
        rest = stream.read(_CHUNK)


def _split(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines in any number of chunks. Of a line beyond the limit, only enough is kept to show that it is too long."""
    line = 0
    kept: list[bytes] = []
    length = 0
    for chunk in chunks:
        at = 0
        while (end := chunk.find(b"\n", at)) != -1:
            line += 1
            kept.append(chunk[at:end])
            yield line, _unmarked(line, b"".join(kept))
            kept, length, at = [], 0, end + 1
        if length <= LONGEST_LINE + len(_BYTE_ORDER_MARK):
            kept.append(chunk[at:])
            length += len(chunk) - at
    if b"".join(kept):
        yield line + 1, _unmarked(line + 1, b"".join(kept))


def _unmarked(line: int, text: bytes) -> bytes:
    return text.removeprefix(_BYTE_ORDER_MARK) if line == 1 else text
