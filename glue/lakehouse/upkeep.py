"""What `publish` does besides publishing.

Forgetting: what older snapshots hold of a person goes with the run that takes the person out, and what was built by runs that were never
published goes with the next published run. Orphans: files below a table that no snapshot knows, left by jobs that were killed while they
wrote. Small files: each run adds some to tables that every run reads as a whole, and to the days whose readings it brings.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakehouse import storage
from lakehouse.contracts import MODEL_TABLES, PUBLISHED_TABLES, STAGING_TABLES, table_contract
from lakehouse.session import CATALOG
from lakehouse.tables import for_each

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.snapshots import Snapshots

# Listing every file of the lake is worth it only once in a while, and looking for days of many small files once a day.
EVERY = timedelta(days=7)
DAILY = timedelta(days=1)
# No job lives as long as this, so an unknown file that is older will never be committed.
AGE = timedelta(days=3)
# These have no days, and even a run that adds only a handful of rows adds a file.
GROWING = ("customer_staging", "rejected", "loads")
# Rewriting this many files as a few takes about as long as it saves every run from then on.
MOST_FILES = 200


def note_withdrawal(lake: str, run_id: str) -> None:
    """Notes that a run takes people's rows away, before any of it is published.

    The note in `<lake>/warehouse/withdrawal.json` stays until older snapshots and their files are gone: if that fails, or the job is
    killed before, the next `publish` does it.
    """
    _write_note(lake, run_id, _read_note(lake)[1])


def forget(lake: str, snapshots: Snapshots) -> None:
    """Expires those snapshots of the models' tables that must not be kept, whatever their age, and makes sure that their files are gone.

    After a run that took people's rows away, those are all older ones. Those that no branch or tag leads to always go: a failed run has
    built them, with people who may have withdrawn before any published run knew them. If there are none, as after most runs, only
    metadata is looked at.

    Iceberg commits that snapshots are gone before it deletes the first file, and carries on if it can't delete one. So the files are noted
    before, and looked for afterwards. Then the note is taken back.
    """
    run_id, noted = _read_note(lake)
    going = for_each(MODEL_TABLES, snapshots.unreached if run_id is None else snapshots.unnamed)
    if run_id is None and not noted and not any(going.values()):
        return
    needed = for_each(MODEL_TABLES, lambda table: snapshots.files_of(table, going[table]))
    files = {table: sorted({*noted.get(table, []), *needed[table]}) for table in MODEL_TABLES}
    _write_note(lake, run_id, files)
    for_each(MODEL_TABLES, lambda table: snapshots.expire_snapshots(table, going[table]))
    for_each(MODEL_TABLES, lambda table: snapshots.remove_files(table, files[table]))
    _write_note(lake, None, {})


def _note(lake: str) -> str:
    return storage.join(lake, "warehouse", "withdrawal.json")


def _read_note(lake: str) -> tuple[str | None, dict[str, list[str]]]:
    """The run that took rows away, if one did, and the files that must go, by table."""
    text = storage.read_text(_note(lake))
    note: dict[str, Any] = {"runId": None} if text is None else json.loads(text)
    return note["runId"], note.get("files", {})


def _write_note(lake: str, run_id: str | None, files: dict[str, list[str]]) -> None:
    storage.write_text(_note(lake), json.dumps({"runId": run_id, "files": files}) + "\n")


def compact(snapshots: Snapshots) -> None:
    """Rewrites tables of many small files into few."""
    for_each(GROWING, lambda table: snapshots.compact(table, MOST_FILES))


def compact_days(lake: str, snapshots: Snapshots, now: datetime) -> None:
    """Rewrites the small files of days that have many, once a day."""
    if _is_time(lake, "daysCompactedAt", DAILY, now):
        for_each([table for table in STAGING_TABLES if table_contract(table).partition], snapshots.compact_days)


def remove_orphans(spark: SparkSession, namespace: str, lake: str, now: datetime) -> int | None:
    """Removes orphans if the last removal is long ago; returns how many, or None if it is not time yet."""
    if not _is_time(lake, "orphansRemovedAt", EVERY, now):
        return None
    return sum(_remove(spark, namespace, table, now - AGE) for table in PUBLISHED_TABLES)


def _is_time(lake: str, task: str, every: timedelta, now: datetime) -> bool:
    """Whether a task was last begun long enough ago.

    If so, the date is written to `<lake>/warehouse/upkeep.json` first, so that a task that breaks off, or takes longer than a job may, is
    not tried again by every run. A lake without a date is new and has nothing to do.
    """
    place = storage.join(lake, "warehouse", "upkeep.json")
    text = storage.read_text(place)
    begun = {} if text is None else json.loads(text)
    last = begun.get(task)
    if last is not None and now - datetime.fromisoformat(last) < every:
        return False
    storage.write_text(place, json.dumps({**begun, task: now.isoformat()}) + "\n")
    return last is not None


def _remove(spark: SparkSession, namespace: str, table: str, before: datetime) -> int:
    until = f"{before.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return spark.sql(
        f"CALL {CATALOG}.system.remove_orphan_files(table => '{namespace}.{table}', older_than => TIMESTAMP '{until}', "
        "prefix_listing => true)"
    ).count()
