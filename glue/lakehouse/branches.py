"""A run's version of the tables: a branch of each table, made before the first write, which publish turns into `main`."""

from __future__ import annotations

from datetime import date
from itertools import takewhile
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

from lakehouse.contracts import LAST_TABLE, PUBLISHED_TABLES
from lakehouse.errors import LakeUnusableError
from lakehouse.tables import IcebergTable, Snapshot, for_each, full_name, iceberg_table, snapshot_id, summary_entry, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import DataFrame, DataFrameWriterV2, SparkSession

    from lakehouse.run_files import RunFiles

MAIN = "main"
RUN_PROPERTY = "run-id"
ORIGIN_PROPERTY = "built-from"
LANDING_PROPERTY = "landing-table"
# The operation of snapshots that keep all rows and only write them into other files.
REWRITTEN = "replace"
_PREFIX = "run_"


def branch_of(run_id: str) -> str:
    """The name of a run's branch. Run ids consist of letters, digits and "-" (Plan accepts no others), so each has a branch of its own."""
    return _PREFIX + run_id.replace("-", "_")


class Branches:
    """The branches of one run."""

    def __init__(self, spark: SparkSession, namespace: str, run_id: str) -> None:
        self._spark = spark
        self._namespace = namespace
        self.run_id = run_id
        self.name = branch_of(run_id)

    def begin(self, files: RunFiles) -> None:
        """Starts the run: remembers where every `main` is, clears what dead runs left, and makes the branches."""
        loaded = for_each(PUBLISHED_TABLES, self._iceberg)
        if files.read("branches.json") is None:
            main = {table: snapshot_id(iceberg.snapshot(MAIN)) for table, iceberg in loaded.items()}
            files.write("branches.json", {"runId": self.run_id, "main": main})
        for_each(PUBLISHED_TABLES, lambda table: self._begin(loaded[table]))

    def _begin(self, iceberg: IcebergTable) -> None:
        for branch in iceberg.refs().keySet().toArray():
            # The lock is ours, so the runs that made these have ended without publishing.
            if branch.startswith(_PREFIX) and branch != self.name:
                _drop(iceberg, branch)
        self._ensure(iceberg)

    def ensure(self, table: str) -> None:
        """Makes the table's branch if there is none."""
        self._ensure(self._iceberg(table))

    def _ensure(self, iceberg: IcebergTable) -> None:
        # A branch that a write makes implicitly would start its totals at zero.
        if iceberg.snapshot(self.name) is None:
            iceberg.manageSnapshots().createBranch(self.name).commit()

    def reset(self, table: str) -> None:
        """Puts the run's version of a table back to the published one, so that a step that is tried again counts the same."""
        iceberg = self._iceberg(table)
        if self._own_snapshots(iceberg):
            _drop(iceberg, self.name)
        self._ensure(iceberg)

    def enter(self) -> None:
        """From here on, bare table names mean the run's version, in reads and writes."""
        self._spark.conf.set("spark.wap.branch", self.name)

    def leave(self) -> None:
        """From here on, they mean the published version."""
        self._spark.conf.unset("spark.wap.branch")

    def published(self, table: str) -> DataFrame:
        """The published version of a table; empty if none has been published yet."""
        return self._spark.read.option("branch", MAIN).table(self._full(table))

    def published_rows(self, table: str) -> int:
        """How many rows the published version has: from its metadata, or counted, because other writers may leave the total out."""
        total = summary_entry(self._iceberg(table).snapshot(MAIN), "total-records")
        if total is not None:
            return int(total)
        return 0 if self.head(table, published=True) is None else self.published(table).count()

    def is_untouched(self, table: str) -> bool:
        """Whether the run's version is still the published one."""
        return not self._own_snapshots(self._iceberg(table))

    def has_written(self, table: str, landing_table: str) -> bool:
        """Whether the run's version may hold rows that the run has added for this landing table."""
        written = [snapshot.summary().get(LANDING_PROPERTY) for snapshot in self._own_snapshots(self._iceberg(table))]
        return None in written or landing_table in written

    def changed_days(self, table: str) -> set[date]:
        """The days for which the run has added or removed data files."""
        iceberg = self._iceberg(table)
        io, specs = iceberg.io(), iceberg.specs()
        paths = {
            specs.get(file.specId()).partitionToPath(file.partition())
            for snapshot in self._own_snapshots(iceberg)
            for changed in (snapshot.addedDataFiles(io), snapshot.removedDataFiles(io))
            for file in changed.toArray()
        }
        return {date.fromisoformat(path.partition("=")[2]) for path in paths}

    def head(self, table: str, *, published: bool = False) -> int | None:
        """The snapshot that made the rows of the run's version, or of the published one; None if there is none.

        Rows that were compacted long ago were made by a snapshot that has expired since; the one that compacted them still names it.
        """
        made = self._made(table, MAIN if published else self.name)
        return made.parentId() if made is not None and made.operation() == REWRITTEN else snapshot_id(made)

    def published_by(self, table: str) -> str | None:
        """The run that made the published rows, even if they have been compacted since."""
        return summary_entry(self._made(table, MAIN), RUN_PROPERTY)

    def built_from(self, table: str) -> str | None:
        """What the published rows were built from, if `replace` has built them and nobody has changed them since."""
        return summary_entry(self._made(table, MAIN), ORIGIN_PROPERTY)

    def append(self, rows: DataFrame, table: str, landing_table: str, **options: str) -> None:
        """Adds rows that come from this landing table to the run's version."""
        self._writer(rows, table, {f"snapshot-property.{LANDING_PROPERTY}": landing_table, **options}).append()

    def replace(self, rows: DataFrame, table: str, days: Sequence[date] | None = None, built_from: str | None = None) -> None:
        """Replaces all rows of the run's version, or those of some days: INSERT OVERWRITE in static mode.

        The overwrite names a condition, so it can't depend on the session's mode: a day left without rows goes, and an empty result
        empties what it replaces. `built_from` can be read for as long as the rows stay.
        """
        origin = {} if built_from is None else {f"snapshot-property.{ORIGIN_PROPERTY}": built_from}
        writer = self._writer(rows, table, {"overwrite-mode": "static", **origin})
        if days is None:
            writer.overwrite(F.lit(True))
        elif days:
            writer.overwrite(F.col("reading_date").isin(list(days)))
        else:
            writer.append()  # adds nothing, but leaves a snapshot that names the run

    def _writer(self, rows: DataFrame, table: str, options: dict[str, str]) -> DataFrameWriterV2:
        writer = rows.writeTo(self._full(table)).option(f"snapshot-property.{RUN_PROPERTY}", self.run_id)
        for name, value in options.items():
            writer = writer.option(name, value)
        return writer

    def added_records(self, table: str) -> int:
        """How many records the latest snapshot of the run's version added."""
        return int(summary_entry(self._iceberg(table).snapshot(self.name), "added-records") or 0)

    def publish(self, files: RunFiles, mark: Callable[[], None], check: Callable[[], None]) -> list[str]:
        """Turns every branch into `main`, `machine_learning_curated` last; returns the tables that it moved.

        Can be repeated after a crash at any point. `check` is called before each table is moved, `mark` before the first.
        Raises LakeUnusableError if a `main` is not where it was when the run started.
        """
        if self.is_published():
            return []
        started = files.read("branches.json")
        if started is None:
            raise LakeUnusableError(f"runs/{self.run_id}/branches.json is missing: the run never began to write; start a new run")
        waiting = [table for table in PUBLISHED_TABLES if not self._is_done(table, started["main"][table])]
        mark()
        for table in waiting:
            check()
            self._iceberg(table).manageSnapshots().fastForwardBranch(MAIN, self.name).commit()
        return waiting

    def is_published(self) -> bool:
        """A run is published when `machine_learning_curated` is."""
        return self.published_by(LAST_TABLE) == self.run_id

    def clean_up(self) -> None:
        """Drops the run's branches; only for a published run."""
        for_each(PUBLISHED_TABLES, lambda table: _drop(self._iceberg(table), self.name))

    def _is_done(self, table: str, started: int | None) -> bool:
        iceberg = self._iceberg(table)
        main, own = iceberg.snapshot(MAIN), iceberg.snapshot(self.name)
        if own is None:
            raise LakeUnusableError(f"{table} has no branch {self.name}: its step did not run; start a new run")
        if any(
            snapshot_id(snapshot) == snapshot_id(own) or snapshot.summary().get(RUN_PROPERTY) == self.run_id
            for snapshot in _rewritten(iceberg, main)
        ):
            return True
        if snapshot_id(main) != started:
            moved = f"main is at snapshot {snapshot_id(main)}, expected {started}"
            raise LakeUnusableError(
                f"{table} was changed since {self.run_id} started ({moved}). Put its main back there if this run is publishing"
                ' (docs/operations.md, "A run that hangs"), else start a new run'
            )
        return False

    def _own_snapshots(self, iceberg: IcebergTable) -> list[Snapshot]:
        """The snapshots of the run's version that the published one does not have, the latest first.

        Without the empty one that a branch begins with if nothing has been published yet.
        """
        main = snapshot_id(iceberg.snapshot(MAIN))
        own = list(takewhile(lambda snapshot: snapshot_id(snapshot) != main, versions(iceberg, iceberg.snapshot(self.name))))
        return own[:-1] if main is None else own

    def _made(self, table: str, branch: str) -> Snapshot | None:
        """The snapshot that made a branch's rows, even if they have been compacted since; None if there is none."""
        iceberg = self._iceberg(table)
        return next(reversed(_rewritten(iceberg, iceberg.snapshot(branch))), None)

    def _iceberg(self, table: str) -> IcebergTable:
        return iceberg_table(self._spark, self._namespace, table)

    def _full(self, table: str) -> str:
        return full_name(self._namespace, table)


def _rewritten(iceberg: IcebergTable, snapshot: Snapshot | None) -> list[Snapshot]:
    """A snapshot and its ancestors back to the one that made its rows; the others only rewrote files. Nothing for None."""
    same = []
    for version in versions(iceberg, snapshot):
        same.append(version)
        if version.operation() != REWRITTEN:
            break
    return same


def _drop(iceberg: IcebergTable, branch: str) -> None:
    if iceberg.snapshot(branch) is not None:
        iceberg.manageSnapshots().removeBranch(branch).commit()
