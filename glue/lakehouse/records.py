"""From one line to values, and from an object to a staged row, exactly as docs/records.md says.

Only lines that are not clean come here; clean ones are read by Spark itself (shapes.py). This needs nothing but the
standard library, because it runs inside Spark's Python workers.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lakehouse.contracts import LandingColumn, LandingContract

Value = str | int | float | None

STRIPPED = "\t\n\x0b\x0c\r \xa0"
MAX_TIME = 253402300799999
LONGEST_LINE = 256 * 1024 * 1024
# A rejected record of more bytes than this is counted without its text.
_LONGEST_REJECT = 16 * 1024 * 1024

_LAYOUT = re.compile(r"[ \t\r,]*+")
_BLANKS = re.compile(r"[ \t\r\n]*+")
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*+)*+"'
_NAME = re.compile(rf"({_STRING})[ \t\r\n]*+:[ \t\r\n]*+")  # of a member, up to where its value starts
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_SCALAR = re.compile(rf"{_STRING}|true|false|null|{_NUMBER}")
_NUMBER_ONLY = re.compile(rf"{_NUMBER}\Z")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*+)\Z")
_INTEGER_OR_POINT_ZERO = re.compile(r"(-?(?:0|[1-9][0-9]*+))(?:\.0)?\Z")
_DIGITS_OR_POINT_ZERO = re.compile(r"(0|[1-9][0-9]*+)(?:\.0)?\Z")
_NOTED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")
_CLOSER = {"{": "}", "[": "]"}
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True)
class Outcome:
    """What became of one value of a line: a record to stage (`reason` is None), or a rejected one."""

    position: int
    reason: str | None
    field: str | None
    encoding: str
    record: str
    values: tuple[Value, ...]
    unknown_fields: tuple[str, ...]


class _RejectedError(Exception):
    """A rule is broken; its argument is the reason."""


def is_noted(name: str) -> bool:
    """Whether an unknown field is noted by its name: only if it looks like a column name. Anything else may be a person's data."""
    return _NOTED_NAME.match(name) is not None


def fold(text: str) -> str:
    """A–Z to a–z and nothing else: `lower()` differs between engines outside ASCII."""
    return text.translate(_LOWER)


def judge_line(line: bytes, contract: LandingContract) -> list[Outcome]:
    """All values of one line, from left to right; a line that breaks or is not UTF-8 ends with one rejected record."""
    if len(line) > LONGEST_LINE:
        return [_rejected(1, "line_too_long", None, "")]
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return [_rejected(1, "not_utf8", None, base64.b64encode(line).decode("ascii"), "base64")]
    return list(_judge_text(text, contract))


def _rejected(position: int, reason: str, field: str | None, record: str, encoding: str = "utf-8") -> Outcome:
    # Most are so short that UTF-8 can't make them too long, so they need not be encoded to find out.
    is_short = 4 * len(record) <= _LONGEST_REJECT or len(record.encode()) <= _LONGEST_REJECT
    return Outcome(position, reason, field, encoding, record if is_short else "", (), ())


def _judge_text(text: str, contract: LandingContract) -> Iterator[Outcome]:
    array_open = False
    position = 0
    at = _end(_LAYOUT, text, 0)
    while at < len(text):
        char = text[at]
        if char == "]" or (char == "[" and not array_open):
            array_open = char == "["
            at = _end(_LAYOUT, text, at + 1)
            continue
        position += 1
        members: list[Member] = []
        end = end_of_value(text, at, members)
        if end == -1:
            yield _rejected(position, "broken_json", None, text[at:].rstrip(" \t\r"))
            return
        record = text[at:end]
        if char == "{":
            yield judge_object(position, record, members, contract)
        else:
            yield _rejected(position, "not_an_object", None, record)
        at = _end(_LAYOUT, text, end)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()


# A member of the outermost object: its name, and its value as it was written.
Member = tuple[str, str]


def end_of_value(text: str, start: int, members: list[Member]) -> int:
    """Where the one JSON value (RFC 8259) that starts here ends, or -1 if there is none; an object's members are appended."""
    if text[start] != "{":
        return _end_of_any(text, start)
    at = _end(_BLANKS, text, start + 1)
    if text[at : at + 1] == "}":
        return at + 1
    while True:
        name = _NAME.match(text, at)
        if name is None:
            return -1
        end = _end_of_any(text, name.end())
        if end == -1:
            return -1
        members.append((json.loads(name.group(1)), text[name.end() : end]))
        at = _end(_BLANKS, text, end)
        if text[at : at + 1] != ",":
            return at + 1 if text[at : at + 1] == "}" else -1
        at = _end(_BLANKS, text, at + 1)


def _end_of_any(text: str, at: int) -> int:
    """Where the value that starts here ends, or -1 if there is none.

    A loop with a stack of its own, because a line may nest deeper than Python's calls can.
    """
    closers: list[str] = []
    while True:
        scalar = _SCALAR.match(text, at)
        fresh = scalar is None  # there is nothing in the innermost brackets yet
        if scalar is not None:
            at = scalar.end()
        elif text[at : at + 1] in _CLOSER:
            closers.append(_CLOSER[text[at]])
            at += 1
        else:
            return -1
        # Close whatever is complete now, then go to where the next value starts.
        while closers:
            at = _end(_BLANKS, text, at)
            if text[at : at + 1] == closers[-1]:
                closers.pop()
                at += 1
                fresh = False
                continue
            if not fresh:
                if text[at : at + 1] != ",":
                    return -1
                at = _end(_BLANKS, text, at + 1)
            if closers[-1] == "}":
                name = _NAME.match(text, at)
                if name is None:
                    return -1
                at = name.end()
            break
        else:
            return at


def judge_object(position: int, record: str, members: list[Member], contract: LandingContract) -> Outcome:
    """Judges one object by the contract's columns, in their order; the first rule that is broken gives reason and field."""
    folded = [fold(name) for name, _ in members]
    known: set[int] = set()
    values: list[Value] = []
    for column in contract.columns:
        spellings = _folded_spellings(column)
        found = [at for at, name in enumerate(folded) if name in spellings]
        if len(found) > 1:
            return _rejected(position, "duplicate_field", column.name, record)
        known.update(found)
        raw = members[found[0]][1] if found else "null"
        try:
            values.append(_value(raw, column))
        except _RejectedError as rejected:
            return _rejected(position, str(rejected), column.name, record)
    unknown = tuple(name for at, (name, _) in enumerate(members) if at not in known and is_noted(name))
    return Outcome(position, None, None, "utf-8", "", tuple(values), unknown)


def _folded_spellings(column: LandingColumn) -> frozenset[str]:
    return frozenset(fold(spelling) for spelling in column.spellings)


def _value(raw: str, column: LandingColumn) -> Value:
    text = json.loads(raw) if raw.startswith('"') else None
    if raw == "null" or (text is not None and text.strip(STRIPPED) == ""):
        if column.required:
            raise _RejectedError("missing_field")
        return None
    return _RULES[column.rule](raw, text)


def _text(raw: str, text: str | None) -> str:
    if text is None:
        digits = _DIGITS_OR_POINT_ZERO.match(raw)
        if digits is None:
            raise _RejectedError("not_text")
        return digits.group(1)
    if not _is_well_formed(text):
        raise _RejectedError("bad_unicode")
    return text.strip(STRIPPED)


def _email(raw: str, text: str | None) -> str:
    return fold(_text(raw, text))


def _integer(raw: str, text: str | None) -> int:
    found = _INTEGER_OR_POINT_ZERO.match(raw) if text is None else _INTEGER.match(text)
    digits = "" if found is None else found.group(1 if text is None else 0)
    if digits == "" or len(digits) > 20:
        raise _RejectedError("not_an_integer")
    value = int(digits)
    if not -(2**63) <= value < 2**63:
        raise _RejectedError("not_an_integer")
    return value


def _time(raw: str, text: str | None) -> int:
    value = _integer(raw, text)
    if not 1 <= value <= MAX_TIME:
        raise _RejectedError("time_out_of_range")
    return value


def _consent(raw: str, text: str | None) -> int | None:
    value = _integer(raw, text)
    if value < 0:
        raise _RejectedError("negative_consent")
    return None if value == 0 else value


def _double(raw: str, text: str | None) -> float:
    written = raw if text is None else text
    value = float(written) if _NUMBER_ONLY.match(written) else math.nan
    if not math.isfinite(value):
        raise _RejectedError("not_a_number")
    return value + 0.0  # -0 becomes 0


_RULES: dict[str, Callable[[str, str | None], Value]] = {
    "text": _text,
    "email": _email,
    "integer": _integer,
    "time": _time,
    "consent": _consent,
    "double": _double,
}


def _is_well_formed(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
