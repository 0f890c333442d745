"""The snapshots of the published tables and their files: which may go, and how they go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from lakehouse.branches import MAIN
from lakehouse.contracts import PUBLISHED_TABLES
from lakehouse.session import CATALOG, jvm
from lakehouse.tables import IcebergTable, Snapshot, for_each, iceberg_table, snapshot_id, summary_entry, versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import SparkSession

IcebergManifest: TypeAlias = Any  # Iceberg's own Java object

# Which files of a day are small, how many of them are worth a rewrite, and how many of a table are rewritten at most.
SMALL_FILES = {"min-file-size-bytes": 16 * 1024 * 1024, "min-input-files": 24, "max-files-to-rewrite": 5000}


class Snapshots:
    """The snapshots of all tables of a lake."""

    def __init__(self, spark: SparkSession, namespace: str) -> None:
        self._spark = spark
        self._namespace = namespace

    def compact(self, table: str, most: int) -> None:
        """Rewrites the published rows into few files if there are more than `most`; readers see no difference."""
        if int(summary_entry(self._iceberg(table).snapshot(MAIN), "total-data-files") or 0) > most:
            self._spark.sql(
                f"CALL {CATALOG}.system.rewrite_data_files(table => '{self._namespace}.{table}', options => map('min-input-files', '2'))"
            )

    def compact_days(self, table: str) -> None:
        """Rewrites the small files of days that have many, in the table's order; readers see no difference.

        Not all of them at once if there are very many, because the job has few workers and less than an hour.
        """
        options = ", ".join(f"'{name}', '{value}'" for name, value in SMALL_FILES.items())
        self._spark.sql(
            f"CALL {CATALOG}.system.rewrite_data_files(table => '{self._namespace}.{table}', strategy => 'sort', options => map({options}))"
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
        named = {snapshot_id(iceberg.snapshot(ref)) for ref in iceberg.refs().keySet().toArray()}
        return [number for number in _all_ids(iceberg) if number not in named]

    def unreached(self, table: str) -> list[int]:
        """The snapshots that no branch or tag names or was made from: what runs that were never published have left."""
        iceberg = self._iceberg(table)
        reached: set[int | None] = set()
        for ref in iceberg.refs().keySet().toArray():
            for version in versions(iceberg, iceberg.snapshot(ref)):
                if snapshot_id(version) in reached:
                    break
                reached.add(snapshot_id(version))
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

    def _data_files(self, iceberg: IcebergTable, manifests: Mapping[str, IcebergManifest]) -> set[str]:
        """The data files that these manifests list."""
        files: set[str] = set()
        for manifest in manifests.values():
            paths = jvm(self._spark).org.apache.iceberg.ManifestFiles.readPaths(manifest, iceberg.io())
            # All paths as one text: py4j would make a call for each.
            files.update(filter(None, str(jvm(self._spark).java.lang.String.join("\n", paths)).split("\n")))
            paths.close()
        return files

    def _iceberg(self, table: str) -> IcebergTable:
        return iceberg_table(self._spark, self._namespace, table)


def _all_ids(iceberg: IcebergTable) -> list[int]:
    return [snapshot.snapshotId() for snapshot in iceberg.snapshots().toArray()]


def _manifests(iceberg: IcebergTable, snapshots: Iterable[Snapshot]) -> dict[str, IcebergManifest]:
    """The manifests of these snapshots, by their paths."""
    return {str(manifest.path()): manifest for snapshot in snapshots for manifest in snapshot.allManifests(iceberg.io()).toArray()}
