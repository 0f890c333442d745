"""A run's version of the tables: a branch of each table, made before the first write, which publish turns into `main`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

from lakehouse.contracts import LAST_TABLE, PUBLISHED_TABLES
from lakehouse.errors import LakeUnusableError
from lakehouse.session import CATALOG, jvm
from lakehouse.tables import IcebergTable, for_each, full_name, iceberg_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import DataFrame, DataFrameWriterV2, SparkSession

    from lakehouse.run_files import RunFiles

# Iceberg's own Java objects.
Snapshot: TypeAlias = Any
ManifestFile: TypeAlias = Any

MAIN = "main"
RUN_PROPERTY = "run-id"
ORIGIN_PROPERTY = "built-from"
LANDING_PROPERTY = "landing-table"
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
            main = {table: _id(iceberg.snapshot(MAIN)) for table, iceberg in loaded.items()}
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
        total = _summary_entry(self._iceberg(table).snapshot(MAIN), "total-records")
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
        """The snapshot that made the rows of the run's version, or of the published one; None if there is none."""
        return _id(self._made(table, MAIN if published else self.name))

    def published_by(self, table: str) -> str | None:
        """The run that made the published rows, even if they have been compacted since."""
        return _summary_entry(self._made(table, MAIN), RUN_PROPERTY)

    def built_from(self, table: str) -> str | None:
        """What the published rows were built from, if `replace` has built them and nobody has changed them since."""
        return _summary_entry(self._made(table, MAIN), ORIGIN_PROPERTY)

    def append(self, rows: DataFrame, table: str, landing_table: str, **options: str) -> None:
        """Adds rows that come from this landing table to the run's version."""
        self._writer(rows, table, {f"snapshot-property.{LANDING_PROPERTY}": landing_table, **options}).append()

    def replace(self, rows: DataFrame, table: str, days: Sequence[date] | None = None, built_from: str | None = None) -> None:
        """Replaces all rows of the run's version, or those of some days: INSERT OVERWRITE in static mode.

        The overwrite names a condition, so it can't depend on the session's mode: a day left without rows goes, and an empty result
        empties what it replaces. `built_from` can be read for as long as the rows stay.
        """
        from pyspark.sql.functions import col, lit

        origin = {} if built_from is None else {f"snapshot-property.{ORIGIN_PROPERTY}": built_from}
        writer = self._writer(rows, table, {"overwrite-mode": "static", **origin})
        if days is None:
            writer.overwrite(lit(True))
        elif days:
            writer.overwrite(col("reading_date").isin(list(days)))
        else:
            writer.append()  # adds nothing, but leaves a snapshot that names the run

    def _writer(self, rows: DataFrame, table: str, options: dict[str, str]) -> DataFrameWriterV2:
        writer = rows.writeTo(self._full(table)).option(f"snapshot-property.{RUN_PROPERTY}", self.run_id)
        for name, value in options.items():
            writer = writer.option(name, value)
        return writer

    def added_records(self, table: str) -> int:
        """How many records the latest snapshot of the run's version added."""
        return int(_summary_entry(self._iceberg(table).snapshot(self.name), "added-records") or 0)

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

    def compact(self, table: str, most: int) -> None:
        """Rewrites the published rows into few files if there are more than `most`; readers see no difference."""
        if int(_summary_entry(self._iceberg(table).snapshot(MAIN), "total-data-files") or 0) > most:
            self._spark.sql(
                f"CALL {CATALOG}.system.rewrite_data_files(table => '{self._namespace}.{table}', options => map('min-input-files', '2'))"
            )

    def expire(self, until: datetime) -> None:
        """Removes the snapshots from before `until`, except the published one, and the files that only they hold.

        Only once the oldest is a day older still: a lake that is fed all the time always has one that has just become old enough.
        """

        def expire_older(table: str) -> None:
            made = [snapshot.timestampMillis() for snapshot in self._iceberg(table).snapshots().toArray()]
            if len(made) > 1 and min(made) < (until - timedelta(days=1)).timestamp() * 1000:
                self._expire(table, f"older_than => TIMESTAMP '{until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}', retain_last => 1")

        for_each(PUBLISHED_TABLES, expire_older)

    def expire_snapshots(self, table: str, snapshots: Sequence[int]) -> None:
        """Removes these snapshots, whatever their age, and the files that only they hold."""
        if snapshots:
            # If we gave no time, Iceberg would also expire whatever is five days old.
            listed = ", ".join(f"{number}L" for number in snapshots)
            self._expire(table, f"older_than => TIMESTAMP '1970-01-01 00:00:00', snapshot_ids => array({listed})")

    def _expire(self, table: str, what: str) -> None:
        self._spark.sql(f"CALL {CATALOG}.system.expire_snapshots(table => '{self._namespace}.{table}', {what})")

    def unnamed(self, table: str) -> list[int]:
        """The snapshots that no branch or tag names: older versions, and those that no version was made from."""
        iceberg = self._iceberg(table)
        named = {_id(iceberg.snapshot(ref)) for ref in iceberg.refs().keySet().toArray()}
        return [number for number in _all_ids(iceberg) if number not in named]

    def unreached(self, table: str) -> list[int]:
        """The snapshots that no branch or tag names or was made from: what runs that were never published have left."""
        iceberg = self._iceberg(table)
        reached: set[int | None] = set()
        for ref in iceberg.refs().keySet().toArray():
            for version in _versions(iceberg, iceberg.snapshot(ref)):
                if _id(version) in reached:
                    break
                reached.add(_id(version))
        return [number for number in _all_ids(iceberg) if number not in reached]

    def files_of(self, table: str, snapshots: Sequence[int]) -> list[str]:
        """The files that these snapshots need and the published one does not: data, and manifests, which hold bounds of the data."""
        if not snapshots:
            return []
        iceberg = self._iceberg(table)
        kept = _manifests(iceberg, [iceberg.snapshot(MAIN)])
        gone = {path: manifest for path, manifest in _manifests(iceberg, map(iceberg.snapshot, snapshots)).items() if path not in kept}
        return sorted(gone.keys() | (self._data_files(iceberg, gone) - self._data_files(iceberg, kept)))

    def remove_files(self, table: str, files: Sequence[str]) -> None:
        """Removes files that expiring snapshots should have removed: Iceberg doesn't report those that it could not remove.

        What the remaining snapshots need stays: somebody may keep some with a tag or a branch.
        """
        iceberg = self._iceberg(table)
        io = iceberg.io()
        with ThreadPoolExecutor() as threads:
            there = threads.map(lambda file: io.newInputFile(file).exists(), files)
            standing = {file for file, stands in zip(files, there, strict=True) if stands}
            if standing:
                kept = _manifests(iceberg, iceberg.snapshots().toArray())
                list(threads.map(io.deleteFile, sorted(standing - kept.keys() - self._data_files(iceberg, kept))))

    def _data_files(self, iceberg: IcebergTable, manifests: Mapping[str, ManifestFile]) -> set[str]:
        """The data files that these manifests list."""
        files: set[str] = set()
        for manifest in manifests.values():
            paths = jvm(self._spark).org.apache.iceberg.ManifestFiles.readPaths(manifest, iceberg.io())
            # All paths as one text: py4j would make a call for each.
            files.update(filter(None, str(jvm(self._spark).java.lang.String.join("\n", paths)).split("\n")))
            paths.close()
        return files

    def _is_done(self, table: str, started: int | None) -> bool:
        iceberg = self._iceberg(table)
        main, own = iceberg.snapshot(MAIN), iceberg.snapshot(self.name)
        if own is None:
            raise LakeUnusableError(f"{table} has no branch {self.name}: its step did not run; start a new run")
        if any(_id(snapshot) == _id(own) or snapshot.summary().get(RUN_PROPERTY) == self.run_id for snapshot in _rewritten(iceberg, main)):
            return True
        if _id(main) != started:
            moved = f"main is at snapshot {_id(main)}, expected {started}"
            raise LakeUnusableError(
                f"{table} was changed since {self.run_id} started ({moved}). Put its main back there if this run is publishing"
                ' (docs/operations.md, "A run that hangs"), else start a new run'
            )
        return False

    def _own_snapshots(self, iceberg: IcebergTable) -> list[Snapshot]:
        """The snapshots of the run's version that the published one does not have, the latest first.

        Without the empty one that a branch begins with if nothing has been published yet.
        """
        main = _id(iceberg.snapshot(MAIN))
        own = list(takewhile(lambda snapshot: _id(snapshot) != main, _versions(iceberg, iceberg.snapshot(self.name))))
        return own[:-1] if main is None else own

    def _made(self, table: str, branch: str) -> Snapshot | None:
        """The snapshot that made a branch's rows, even if they have been compacted since; None if there is none."""
        iceberg = self._iceberg(table)
        return next(reversed(_rewritten(iceberg, iceberg.snapshot(branch))), None)

    def _iceberg(self, table: str) -> IcebergTable:
        return iceberg_table(self._spark, self._full(table))

    def _full(self, table: str) -> str:
        return full_name(self._namespace, table)


def _summary_entry(snapshot: Snapshot | None, name: str) -> str | None:
    """The entry of this name in a snapshot's summary; None if it has none, or if there is no snapshot."""
    return None if snapshot is None else snapshot.summary().get(name)


def _id(snapshot: Snapshot | None) -> int | None:
    return None if snapshot is None else snapshot.snapshotId()


def _all_ids(iceberg: IcebergTable) -> list[int]:
    return [snapshot.snapshotId() for snapshot in iceberg.snapshots().toArray()]


def _versions(iceberg: IcebergTable, snapshot: Snapshot | None) -> Iterator[Snapshot]:
    """A snapshot and its ancestors, the latest first; nothing for None."""
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parentId()
        snapshot = None if parent is None else iceberg.snapshot(parent)


def _manifests(iceberg: IcebergTable, snapshots: Iterable[Snapshot]) -> dict[str, ManifestFile]:
    """The manifests of these snapshots, by their paths."""
    return {str(manifest.path()): manifest for snapshot in snapshots for manifest in snapshot.allManifests(iceberg.io()).toArray()}


def _rewritten(iceberg: IcebergTable, snapshot: Snapshot | None) -> list[Snapshot]:
    """A snapshot and its ancestors back to the one that made its rows; the others only rewrote files. Nothing for None."""
    same = []
    for version in _versions(iceberg, snapshot):
        same.append(version)
        if version.operation() != "replace":
            break
    return same


def _drop(iceberg: IcebergTable, branch: str) -> None:
    if iceberg.snapshot(branch) is not None:
        iceberg.manageSnapshots().removeBranch(branch).commit()
