"""The shape of a clean line: a pattern for which Spark's own functions are exact.

Whatever does not match goes to records.py instead, so a shape may be too narrow but never too wide. Spark reads text without checking that
it is UTF-8; the pattern is matched against the decoded line, in which bytes that are not UTF-8 have become U+FFFD, and no shape allows
U+FFFD.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lakehouse.contracts import LandingColumn, LandingContract
from lakehouse.records import Member, end_of_value, fold, is_noted

# Java's regular expressions. Text begins and ends with printable ASCII: nothing to strip. It has no backslash: nothing to unescape.
_CHARACTERS = r'[^"\\\x00-\x1f\uFFFD]*'
_VISIBLE = r"[!#-\[\]-~]"
_CLEAN = {
    # Most text has neither blanks nor letters outside ASCII, and then nothing has to be tried twice.
    "text": rf'"(?:{_VISIBLE}++|{_VISIBLE}{_CHARACTERS}(?<={_VISIBLE}))"',
    "email": rf'"{_VISIBLE}+"',
    # Up to 18 digits fit a BIGINT; a time of up to 14 digits is before the year 9999.
    "integer": r"-?(?:0|[1-9][0-9]{0,17})",
    "time": r"[1-9][0-9]{0,13}",
    "consent": r"(?:0|[1-9][0-9]{0,17})",
    "double": r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,17})?",
}
# A field that the contract does not know may hold any scalar.
_UNKNOWN = rf'(?:"{_CHARACTERS}"|-?(?:0|[1-9][0-9]{{0,17}})(?:\.[0-9]{{1,17}})?|true|false|null)'
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+\Z")
MOST_SHAPES = 8
# The pattern of a record with more fields would take longer to build than it saves.
_MOST_FIELDS = 64


@dataclass(frozen=True)
class Shape:
    """Lines that have their fields in the same order."""

    pattern: str
    # Column names, each with the field name that these lines use for it.
    spelling: tuple[tuple[str, str], ...]
    unknown_fields: tuple[str, ...]


def names_of(line: bytes) -> tuple[str, ...] | None:
    """The field names of a line's first record, in their order; None when the line does not start with one."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return None
    members: list[Member] = []
    if not text.startswith("{") or end_of_value(text, 0, members) == -1:
        return None
    return tuple(name for name, _ in members)


def shape_of(names: tuple[str, ...], contract: LandingContract) -> Shape | None:
    """The shape of records with these fields; None if a name is unusual or occurs twice.

    Columns that are not among the fields may follow their neighbour in the contract.
    """
    if len(names) > _MOST_FIELDS or not all(_PLAIN_NAME.match(name) for name in names):
        return None
    fields: list[tuple[str, LandingColumn | None]] = [(name, _column_of(name, contract)) for name in names]
    for at, column in enumerate(contract.columns):
        columns = [known for _, known in fields]
        if column not in columns:
            place = columns.index(contract.columns[at - 1]) + 1 if at > 0 else 0
            fields.insert(place, (column.spellings[0], column))
    known = [column for _, column in fields if column is not None]
    # A name that occurs twice, or two spellings of one column, is for records.py to reject.
    if len(set(names)) < len(names) or len(set(known)) < len(known):
        return None
    return Shape(
        pattern=rf"^\{{{_pattern(fields)}\}}\r?\z",
        spelling=tuple((column.name, name) for name, column in fields if column is not None),
        unknown_fields=tuple(name for name, column in fields if column is None and is_noted(name)),
    )


def default_shape(contract: LandingContract) -> Shape:
    """Records that write each column of the contract as its first spelling, in the contract's order."""
    shape = shape_of(tuple(column.spellings[0] for column in contract.columns), contract)
    if shape is None:
        raise ValueError(f"{contract.table}: two columns share a spelling")
    return shape


def common_shapes(names: Iterable[tuple[str, ...] | None], contract: LandingContract) -> list[Shape]:
    """The contract's own shape and the most frequent others that files begin with: few, because each is a branch of Spark's plan."""
    counted = Counter(found for found in names if found is not None)
    shapes = [default_shape(contract)]
    for found, _ in counted.most_common():
        shape = shape_of(found, contract)
        if shape is not None and shape not in shapes and len(shapes) < MOST_SHAPES:
            shapes.append(shape)
    return shapes


def _column_of(name: str, contract: LandingContract) -> LandingColumn | None:
    return next((column for column in contract.columns if fold(name) in {fold(spelling) for spelling in column.spellings}), None)


def _pattern(fields: list[tuple[str, LandingColumn | None]]) -> str:
    """Fields before the first required one have their comma behind them, the others in front."""
    anchor = next(at for at, (_, column) in enumerate(fields) if column is not None and column.required)
    parts = []
    for at, (name, column) in enumerate(fields):
        member = f'"{name}": ?{_value(column)}'
        if at == anchor:
            parts.append(member)
        elif at < anchor:
            parts.append(f"(?:{member}, ?)?")
        else:
            parts.append(f", ?{member}" if column is not None and column.required else f"(?:, ?{member})?")
    return "".join(parts)


def _value(column: LandingColumn | None) -> str:
    if column is None:
        return _UNKNOWN
    return _CLEAN[column.rule] if column.required else f"(?:{_CLEAN[column.rule]}|null)"
