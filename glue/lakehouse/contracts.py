"""The record and table contracts of `glue/tables/*.json`, typed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from lakehouse.sources import read_folder

LANDING_TABLES = ("customer_landing", "accelerometer_landing", "step_trainer_landing")
STAGING_TABLES = ("customer_staging", "accelerometer_staging", "step_trainer_staging")
# One job, model and metrics file each, in dependency order; machine_learning_curated is published last.
MODEL_TABLES = ("customer_trusted", "accelerometer_trusted", "customers_curated", "step_trainer_trusted", "machine_learning_curated")
PUBLISHED_TABLES = (*STAGING_TABLES, "loads", "rejected", *MODEL_TABLES)
FIRST_TABLE = MODEL_TABLES[0]
LAST_TABLE = MODEL_TABLES[-1]


@dataclass(frozen=True)
class Column:
    """A column of a published table."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class LandingColumn:
    """A field of a landed record: docs/records.md says what its rule accepts."""

    name: str
    rule: str
    required: bool
    spellings: tuple[str, ...]


@dataclass(frozen=True)
class LandingContract:
    """What a record of a landing table is."""

    table: str
    feeds: str
    identity: tuple[str, ...]
    time: str | None
    columns: tuple[LandingColumn, ...]


@dataclass(frozen=True)
class LeavesWith:
    """Which of a table's published rows may go: those whose `column` is in the result of a query of `glue/excepted/`."""

    excepted: str
    column: str


@dataclass(frozen=True)
class TableContract:
    """What a published table is."""

    table: str
    grain: str
    columns: tuple[Column, ...]
    stages: str | None
    partition: str | None
    sort: tuple[str, ...]
    # Only for a table that a model makes.
    leaves_with: LeavesWith | None


@cache
def landing_contract(table: str) -> LandingContract:
    """The contract of a landing table."""
    value = json.loads(read_folder("tables", ".json")[table])
    return LandingContract(
        table=value["table"],
        feeds=value["feeds"],
        identity=tuple(value["identity"]),
        time=value.get("time"),
        columns=tuple(
            LandingColumn(column["name"], column["rule"], column["required"], tuple(column["spellings"])) for column in value["columns"]
        ),
    )


@cache
def table_contract(table: str) -> TableContract:
    """The contract of a table that runs publish."""
    value = json.loads(read_folder("tables", ".json")[table])
    return TableContract(
        table=value["table"],
        grain=value["grain"],
        columns=tuple(Column(column["name"], column["type"], column["comment"]) for column in value["columns"]),
        stages=value.get("stages"),
        partition=value.get("partition"),
        sort=tuple(value.get("sort", [])),
        leaves_with=LeavesWith(**value["leavesWith"]) if "leavesWith" in value else None,
    )
