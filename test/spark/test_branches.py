"""A run's version of the tables is the run's own until it is published: all of it, once, whatever breaks in between."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import job
import pytest
from lakehouse import counts, days, landing, lock, models, session, snapshots, steps, tables, upkeep
from lakehouse.branches import Branches, branch_of
from lakehouse.contracts import LAST_TABLE, MODEL_TABLES, PUBLISHED_TABLES, Column, TableContract, table_contract
from lakehouse.days import INPUTS
from lakehouse.errors import DeployedMeanwhileError, JobError, LakeUnusableError, LandingChangedError, LockLostError
from lakehouse.run_files import RunFiles
from lakehouse.snapshots import Snapshots
from pyspark.sql import DataFrame, SparkSession

import duckdb
from conftest import UNCOMPILED
from lakes import Lake, Snapshot, Tables, new_lake
from people import AT, DAY, customer, lines, walk

PROJECT = Path(__file__).resolve().parents[2]
REWRITE_ALL = "map('rewrite-all', 'true')"


def land(lake: Lake, files: dict[str, str]) -> None:
    for key, content in files.items():
        lake.land(key, content)


@dataclass(frozen=True)
class Published:
    """A lake with one published run, in which every step was tried twice, and the metrics of both tries."""

    snapshot: Snapshot
    tries: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def published(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("walked")
    lake = new_lake(spark, folder / "lake")
    land(lake, walk("ann@x.org", "ben@x.org"))
    land(lake, walk("eve@x.org", at=AT + 5 * DAY))
    lake.land("customer_landing/broken.json", "oops\n")
    lake.previous = run_id = lake.plan()
    tries: dict[str, list[dict[str, Any]]] = {step: [] for step in MODEL_TABLES}
    for step in MODEL_TABLES:
        for _ in range(2):
            lake.step(step, run_id)
            tries[step].append(lake.read(run_id, f"metrics/{step}.json"))
    lake.step(steps.PUBLISH, run_id)
    return Published(Snapshot(lake, folder / "copy"), tries)


@dataclass(frozen=True)
class Waiting:
    """A lake whose run is built but not published, and what a reader saw before its first step and after each."""

    snapshot: Snapshot
    seen: list[Tables]


@pytest.fixture(scope="module")
def waiting(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Waiting:
    lake = published.snapshot.restore()
    land(lake, walk("cem@x.org", at=AT + DAY))
    run_id, seen = lake.plan(), [lake.dump()]
    for step in MODEL_TABLES:
        lake.step(step, run_id)
        seen.append(lake.dump())
    return Waiting(Snapshot(lake, tmp_path_factory.mktemp("built") / "copy"), seen)


@pytest.fixture(scope="module")
def gone(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    lake = published.snapshot.restore()
    land(lake, {"customer_landing/withdrawn.json": lines(customer("eve@x.org", shares=None, updated=AT))})
    lake.spark.conf.set("spark.sql.sources.partitionOverwriteMode", "dynamic")  # must not matter
    try:
        lake.build(lake.plan())
    finally:
        lake.spark.conf.set("spark.sql.sources.partitionOverwriteMode", "static")
    return Snapshot(lake, tmp_path_factory.mktemp("gone") / "copy")


@pytest.fixture
def walked(published: Published) -> Lake:
    """A lake in which three people have walked, one of them alone on her day; published by run-1."""
    return published.snapshot.restore()


@pytest.fixture
def built(waiting: Waiting) -> Lake:
    """The same lake with run-2, which adds one person, built but not published."""
    return waiting.snapshot.restore()


@pytest.fixture
def withdrawn(gone: Snapshot) -> Lake:
    """The same lake with run-2, in which the person who was alone on her day withdraws, built but not published."""
    return gone.restore()


def branches_of(lake: Lake, table: str) -> set[str]:
    return {row.name for row in lake.spark.sql(f"select name from {lake.full(table)}.refs").collect()}


def totals(lake: Lake) -> dict[str, int]:
    """`total-records` of every `main`, from the metadata alone."""
    found = {}
    for table in PUBLISHED_TABLES:
        rows = lake.spark.sql(
            f"select s.summary['total-records'] as total from {lake.full(table)}.refs r "
            f"join {lake.full(table)}.snapshots s on s.snapshot_id = r.snapshot_id where r.name = 'main'"
        ).collect()
        found[table] = int(rows[0].total)
    return found


def test_a_reader_sees_a_run_when_it_is_published_and_not_before(built: Lake, waiting: Waiting) -> None:
    before, run_id = built.dump(), "run-2"
    assert waiting.seen == [before] * (1 + len(MODEL_TABLES))
    assert len(before["machine_learning_curated"]) == 3
    files = {table: built.files(table) for table in INPUTS}
    built.step(steps.PUBLISH, run_id)
    # In readings tables only the day that arrived is built; the files of the other two stay.
    assert built.built_days(run_id) == {table: {(AT + DAY) // DAY} for table in INPUTS}
    assert all(files[table] < built.files(table) for table in INPUTS)
    counts = built.counts()
    assert {table: counts[table] for table in MODEL_TABLES} == dict.fromkeys(MODEL_TABLES, 4)
    # The gate counts rows on the branch; the report reads the totals from the metadata of main.
    assert totals(built) == counts == built.read(run_id, "metrics/audits.json")["counts"]
    for table in PUBLISHED_TABLES:
        assert branches_of(built, table) == {"main"}


def test_a_step_that_is_tried_again_counts_the_same(published: Published, walked: Lake) -> None:
    for first, second in published.tries.values():
        for metrics in (first, second):
            for part in (metrics, metrics.get("staging", {})):
                part["seconds"] = 0
        assert first == second
    assert walked.counts() == {**dict.fromkeys(PUBLISHED_TABLES, 3), "loads": 7, "rejected": 1}


def test_a_run_that_fails_leaves_main_as_it_was_and_the_next_run_is_right(walked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    before = walked.dump()
    land(walked, walk("cem@x.org", at=AT + DAY))
    claim = walked.pending()
    run_id = walked.plan(claim)
    walked.step("customer_trusted", run_id)
    monkeypatch.setattr(models, "build", lambda *_: (_ for _ in ()).throw(RuntimeError("the step breaks after it has staged")))
    with pytest.raises(RuntimeError):
        walked.step("accelerometer_trusted", run_id)
    monkeypatch.undo()
    assert walked.dump() == before
    walked.run(claim)
    assert {table: walked.counts()[table] for table in MODEL_TABLES} == dict.fromkeys(MODEL_TABLES, 4)
    assert branch_of(run_id) not in branches_of(walked, "accelerometer_staging")
    assert runs_kept(walked, "customer_trusted") == {"run-1", "run-3"}


def test_publish_that_breaks_off_is_repeated_to_the_same_end(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, before, real = "run-2", built.dump(), lock.check
    for crash in (0, 1, 4, 3):  # this many more tables are published before it breaks off again
        calls: list[int] = []

        def check(*arguments: object, calls: list[int] = calls, crash: int = crash) -> object:
            calls.append(1)
            if len(calls) == crash + 3:  # two calls come before the first table
                raise KeyboardInterrupt
            return real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(lock, "check", check)
        with pytest.raises(KeyboardInterrupt):
            built.step(steps.PUBLISH, run_id)
        monkeypatch.undo()
        assert lock.FileLock(str(built.folder)).read() == lock.Holder(run_id, 2, True)
        assert built.counts()["machine_learning_curated"] == 3
    own = Branches(built.spark, built.namespace, run_id)
    assert [table for table in PUBLISHED_TABLES if own.published_by(table) != run_id] == ["rejected", "machine_learning_curated"]
    assert built.dump(["machine_learning_curated"])["machine_learning_curated"] == before["machine_learning_curated"]
    built.step(steps.PUBLISH, run_id)
    assert {table: built.counts()[table] for table in MODEL_TABLES} == dict.fromkeys(MODEL_TABLES, 4)
    built.step(steps.PUBLISH, run_id)  # and once more, which changes nothing
    assert totals(built) == built.counts()
    for table in PUBLISHED_TABLES:  # as after a publish that nothing interrupted
        assert branches_of(built, table) == {"main"}
    built.previous = run_id
    land(built, walk("dan@x.org", at=AT + 2 * DAY))
    built.run()
    assert {table: built.counts()[table] for table in MODEL_TABLES} == dict.fromkeys(MODEL_TABLES, 5)


def test_a_job_that_outlived_its_run_can_not_write_or_publish(built: Lake) -> None:
    before = built.dump()
    built.take_lock("run-9", 9)
    for step in steps.STEPS:
        with pytest.raises(LockLostError, match=r"run-2 .fence 2. does not hold the run lock: it is with run-9 .fence 9."):
            built.step(step, "run-2", fence=2)
    assert built.dump() == before


def test_the_lock_is_asked_for_before_each_table_is_published(built: Lake) -> None:
    own = Branches(built.spark, built.namespace, "run-2")
    left = [1, 1, 1]

    def check() -> None:
        if not left:
            raise LockLostError("gone")
        left.pop()

    with pytest.raises(LockLostError):
        own.publish(RunFiles(str(built.folder), "run-2"), mark=lambda: None, check=check)
    assert [table for table in PUBLISHED_TABLES if own.published_by(table) == "run-2"] == list(PUBLISHED_TABLES[:3])


def test_publish_refuses_a_main_that_is_not_where_the_run_started(built: Lake) -> None:
    built.spark.sql(f"insert into {built.full('customers_curated')} select * from {built.full('customers_curated')}")
    before = built.dump()
    with pytest.raises(LakeUnusableError, match="customers_curated was changed since run-2 started"):
        built.step(steps.PUBLISH, "run-2")
    assert built.dump() == before
    held = lock.FileLock(str(built.folder)).read()
    assert held is not None
    assert not held.publishing


def is_forgetting_noted(lake: Lake) -> bool:
    note = json.loads((lake.folder / "warehouse/withdrawal.json").read_text())
    return note["runId"] is not None or note["files"] != {}


def data_files(lake: Lake, table: str) -> set[str]:
    """The names of the data files in a table's folder."""
    return {path.name for path in (lake.tables_folder / table / "data").rglob("*.parquet")}


def test_a_withdrawal_takes_a_persons_day_out_of_tables_snapshots_and_files(withdrawn: Lake) -> None:
    withdrawn.step(steps.PUBLISH, "run-2")
    assert withdrawn.read("run-2", "metrics/customer_trusted.json")["rowsExcepted"] == 1
    for table in ("accelerometer_trusted", "step_trainer_trusted", "machine_learning_curated"):
        assert withdrawn.read("run-2", f"metrics/{table}.json")["rowsExcepted"] == 1
        assert len({row["reading_date"] for row in withdrawn.rows(table)}) == 1
    for table in MODEL_TABLES:
        assert withdrawn.counts()[table] == 2
        assert withdrawn.spark.sql(f"select * from {withdrawn.full(table)}.snapshots").count() == 1
        assert data_files(withdrawn, table) == {Path(file).name for file in withdrawn.files(table)}


def test_what_is_taken_back_without_leaving_customer_trusted(walked: Lake) -> None:
    """If only readings since the consent count, a person who agrees anew takes back earlier ones; so does a tightened policy."""
    walked.land("customer_landing/anew.json", lines(customer("ann@x.org", shares=AT + DAY, updated=AT)))
    anew = walked.pending()

    def is_taken_back(consent_from: str, files: list[dict[str, Any]], previous: str | None, excepted: int = 0) -> bool:
        walked.policies = {"mlJoin": "person-and-time", "consentFrom": consent_from}
        walked.previous = previous
        run_id = walked.plan(files)
        walked.step("customer_trusted", run_id)
        assert walked.read(run_id, "metrics/customer_trusted.json")["rowsExcepted"] == excepted
        return counts.is_taken_back(RunFiles(str(walked.folder), run_id))

    assert is_taken_back("consent-date", anew, previous=None, excepted=1)
    assert is_taken_back("consent-date", [], previous="run-1")
    assert not is_taken_back("consent-date", [], previous=None)
    assert not is_taken_back("any-time", anew, previous="run-1")
    # A person who shares and holds somebody else's device takes away from what counts, but takes nothing back.
    walked.land("customer_landing/shared.json", lines(customer("dan@x.org", serial="device-of-ann@x.org")))
    assert not is_taken_back("any-time", walked.pending(), previous="run-1")
    assert walked.read("run-6", "excepted.json")["excepted"] == 1
    walked.refresh()  # else the session would ask for metadata of these runs once the lake is restored


def test_what_a_withdrawal_left_to_be_expired_is_expired_by_the_next_publish(withdrawn: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Snapshots, "expire_snapshots", lambda *_: (_ for _ in ()).throw(RuntimeError("denied")))
        with pytest.raises(RuntimeError, match="denied"):
            withdrawn.step(steps.PUBLISH, "run-2")
    assert withdrawn.counts()["customer_trusted"] == 2  # published all the same
    assert is_forgetting_noted(withdrawn)
    withdrawn.previous = "run-2"
    withdrawn.run([])
    for table in MODEL_TABLES:
        assert withdrawn.spark.sql(f"select * from {withdrawn.full(table)}.snapshots").count() == 1
    assert not is_forgetting_noted(withdrawn)  # from then on as usual


def test_what_somebody_has_tagged_stays_when_a_person_withdraws(withdrawn: Lake) -> None:
    published = Branches(withdrawn.spark, withdrawn.namespace, "run-2").head("customer_trusted", published=True)
    withdrawn.spark.sql(f"alter table {withdrawn.full('customer_trusted')} create tag kept as of version {published}")
    withdrawn.step(steps.PUBLISH, "run-2")
    assert branches_of(withdrawn, "customer_trusted") == {"main", "kept"}
    assert withdrawn.spark.sql(f"select * from {withdrawn.full('customer_trusted')}.snapshots").count() == 2
    assert not is_forgetting_noted(withdrawn)


def test_a_withdrawal_is_noted_before_it_is_published(withdrawn: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Branches, "publish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        withdrawn.step(steps.PUBLISH, "run-2")
    assert is_forgetting_noted(withdrawn)


@contextmanager
def killed_before_files_are_deleted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kills the job once Iceberg has committed for every table that snapshots are gone, but has not deleted any file."""

    def killed(self: Snapshots, table: str, snapshots: Sequence[int]) -> None:
        expiring = self._iceberg(table).expireSnapshots().expireOlderThan(0).cleanExpiredFiles(False)
        for snapshot in snapshots:
            expiring = expiring.expireSnapshotId(snapshot)
        expiring.commit()
        if table == LAST_TABLE:
            raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Snapshots, "expire_snapshots", killed)
        yield


def files_of_day_alone(lake: Lake) -> list[Path]:
    """The data files of the day on which only the person who withdraws has walked."""
    days = {row["reading_date"].isoformat() for row in lake.rows("accelerometer_trusted")}
    files = [Path(file.removeprefix("file:")) for file in lake.files("accelerometer_trusted")]
    alone = [file for file in files if f"reading_date={max(days)}" in str(file)]
    assert alone
    return alone


def manifests(lake: Lake) -> set[Path]:
    """The files that list the data files of the published version."""
    rows = lake.spark.sql(f"select path from {lake.full('accelerometer_trusted')}.manifests").collect()
    return {Path(row.path.removeprefix("file:")) for row in rows}


def test_files_of_who_withdrew_go_also_where_the_job_was_killed_before_they_were_deleted(
    withdrawn: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, before = files_of_day_alone(withdrawn), manifests(withdrawn)
    with killed_before_files_are_deleted(monkeypatch), pytest.raises(KeyboardInterrupt):
        withdrawn.step(steps.PUBLISH, "run-2")
    assert all(file.exists() for file in files)
    withdrawn.step(steps.PUBLISH, "run-2")
    withdrawn.refresh()
    gone = before - manifests(withdrawn)  # they hold bounds of columns
    assert gone
    assert not any(file.exists() for file in [*files, *gone])
    assert not is_forgetting_noted(withdrawn)


def test_a_file_of_who_withdrew_that_cannot_be_deleted_fails_the_job_until_it_can(withdrawn: Lake) -> None:
    file, *_ = files_of_day_alone(withdrawn)
    content = file.read_bytes()
    file.unlink()
    (file / "refused").mkdir(parents=True)  # deleting a folder that is not empty is refused
    with pytest.raises(Exception, match="Failed to delete"):
        withdrawn.step(steps.PUBLISH, "run-2")
    assert is_forgetting_noted(withdrawn)
    (file / "refused").rmdir()
    file.rmdir()
    file.write_bytes(content)
    withdrawn.step(steps.PUBLISH, "run-2")
    assert not file.exists()
    assert not is_forgetting_noted(withdrawn)


def runs_kept(lake: Lake, table: str) -> set[str]:
    """The runs whose snapshots a table keeps, with all data files that these need and no others."""
    needed = lake.spark.sql(f"select file_path from {lake.full(table)}.all_data_files").collect()
    assert data_files(lake, table) == {Path(row["file_path"]).name for row in needed}
    rows = lake.spark.sql(
        f"select summary['run-id'] as run from {lake.full(table)}.snapshots where summary['run-id'] is not null"
    ).collect()
    return {row["run"] for row in rows}


def test_what_a_run_has_built_that_was_never_published_goes_with_the_next_that_is(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold a person who has withdrawn since and whom no published table knew. Even if the job is killed before files are deleted."""
    place, history = str(built.folder), Snapshots(built.spark, built.namespace)
    built.spark.sql(f"alter table {built.full('customers_curated')} create tag kept as of version {own_head(built, 'customers_curated')}")
    Branches(built.spark, built.namespace, "run-3").begin(RunFiles(place, "run-3"))
    built.refresh()  # else the session would ask for metadata of that run once the lake is restored
    with killed_before_files_are_deleted(monkeypatch), pytest.raises(KeyboardInterrupt):
        upkeep.forget(place, history)
    upkeep.forget(place, history)
    for table in MODEL_TABLES:
        assert runs_kept(built, table) == ({"run-1", "run-2"} if table == "customers_curated" else {"run-1"})
    built.spark.sql(f"alter table {built.full('customers_curated')} drop tag kept")
    upkeep.forget(place, history)
    assert runs_kept(built, "customers_curated") == {"run-1"}
    assert not is_forgetting_noted(built)


def own_head(lake: Lake, table: str) -> int | None:
    """The snapshot of run-2's version of a table."""
    return Branches(lake.spark, lake.namespace, "run-2").head(table)


def test_files_that_kept_snapshots_need_stay_and_no_others(built: Lake) -> None:
    needed = next((built.tables_folder / "customers_curated/data").rglob("*.parquet"))
    manifest = next((built.tables_folder / "customers_curated/metadata").rglob("*-m0.avro"))
    for other in ("left.parquet", "gone.parquet"):
        needed.with_name(other).write_bytes(b"left")
    needed.with_name("gone.parquet").unlink()
    noted = [needed, manifest, needed.with_name("left.parquet"), needed.with_name("gone.parquet")]
    Snapshots(built.spark, built.namespace).remove_files("customers_curated", [str(path) for path in noted])
    assert [path.exists() for path in noted] == [True, True, False, False]


def test_a_publish_that_broke_off_is_carried_to_its_end_although_a_table_was_compacted_meanwhile(
    built: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, asked = lock.check, 0

    def killed(*arguments: Any) -> lock.Holder:  # noqa: ANN401
        nonlocal asked
        asked += 1
        if asked == 8:
            raise KeyboardInterrupt
        return check(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(lock, "check", killed)
        with pytest.raises(KeyboardInterrupt):
            built.step(steps.PUBLISH, "run-2")
    branches = Branches(built.spark, built.namespace, "run-2")
    assert branches.published_by("customer_trusted") == "run-2"
    assert not branches.is_published()
    built.spark.sql(f"CALL lake.system.rewrite_data_files(table => '{built.namespace}.customer_trusted', options => {REWRITE_ALL})")
    assert branches.published_by("customer_trusted") == "run-2"
    built.step(steps.PUBLISH, "run-2")
    assert branches.is_published()
    assert built.counts()["customer_trusted"] == 4


def test_a_table_that_was_made_half_is_completed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(tables, "_order", lambda *_: None)
        killed.setattr(tables, "TARGET_FILE_BYTES", 1)
        session.use_namespace(lake.spark, lake.namespace)
        tables.ensure_tables(lake.spark, lake.namespace, ["accelerometer_trusted"])

    def properties() -> dict[str, str]:
        rows = lake.spark.sql(f"show tblproperties {lake.full('accelerometer_trusted')}").collect()
        return {row["key"]: row["value"] for row in rows}

    assert properties().get("sort-order") is None
    tables.ensure_tables(lake.spark, lake.namespace, ["accelerometer_trusted"])
    assert properties()["sort-order"] == "user ASC NULLS FIRST, timestamp ASC NULLS FIRST"
    assert properties()["write.distribution-mode"] == "hash"
    assert properties()["write.target-file-size-bytes"] == str(tables.TARGET_FILE_BYTES)


def test_orphans_are_removed_from_time_to_time(walked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only files that no snapshot knows, and only old ones; a job that is killed leaves such files."""
    state = walked.folder / "warehouse/upkeep.json"
    first = json.loads(state.read_text())["orphansRemovedAt"]
    orphan, young = (
        walked.tables_folder / "accelerometer_trusted/data/reading_date=2022-06-18" / name for name in ("orphan.parquet", "young.parquet")
    )
    for path in (orphan, young):
        path.write_bytes(b"left")
    for path in walked.tables_folder.rglob("*"):  # all of the lake is old, except one file
        if path != young:
            os.utime(path, (1_000_000_000, 1_000_000_000))
    before = walked.dump()
    walked.step(steps.PUBLISH, "run-1")
    assert orphan.exists()
    assert json.loads(state.read_text())["orphansRemovedAt"] == first
    state.write_text(json.dumps({"orphansRemovedAt": "2022-01-01T00:00:00+00:00"}))
    monkeypatch.setattr(upkeep, "PUBLISHED_TABLES", ("accelerometer_trusted", "loads"))  # each table takes its time
    walked.step(steps.PUBLISH, "run-1")
    assert ("orphans_removed", {"files": 1}) in walked.logged
    assert (orphan.exists(), young.exists()) == (False, True)
    assert json.loads(state.read_text())["orphansRemovedAt"] > first
    assert walked.dump() == before


def test_older_snapshots_expire_once_one_is_a_day_over_its_time(walked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PUBLISHED_TABLES", ("loads",))
    before, history = walked.rows("loads"), Snapshots(walked.spark, walked.namespace)

    def snapshots_after(until: datetime) -> int:
        history.expire(until)
        return walked.spark.sql(f"select * from {walked.full('loads')}.snapshots").count()

    now = datetime.now(UTC)
    assert snapshots_after(now + timedelta(hours=23)) > 1
    made = [snapshot.timestampMillis() for snapshot in history._iceberg("loads").snapshots().toArray()]
    assert snapshots_after(datetime.fromtimestamp((min(made) + max(made)) / 2000, UTC) + timedelta(days=1)) == 1
    assert walked.rows("loads") == before


def test_upkeep_that_fails_does_not_fail_a_published_run(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Except for what follows a withdrawal: there the job must not succeed."""

    def fail(*_: object) -> None:
        raise RuntimeError("not of 'ann@x.org'")

    state = built.folder / "warehouse/upkeep.json"
    state.write_text(json.dumps({"orphansRemovedAt": "2022-01-01T00:00:00+00:00"}))
    monkeypatch.setattr(upkeep, "_remove", fail)
    monkeypatch.setattr(Branches, "clean_up", fail)
    for name in ("expire", "expire_snapshots"):
        monkeypatch.setattr(Snapshots, name, fail)

    def failures() -> list[dict[str, str]]:
        found = [fields for event, fields in built.logged if event == "upkeep_failed"]
        built.logged.clear()
        return found

    built.step(steps.PUBLISH, "run-2")
    assert {table: built.counts()[table] for table in MODEL_TABLES} == dict.fromkeys(MODEL_TABLES, 4)
    assert failures() == [{"task": task, "reason": "RuntimeError: not of …"} for task in ("branches", "snapshots", "orphans")]
    built.step(steps.PUBLISH, "run-2")  # it is not time for orphans yet
    assert [failure["task"] for failure in failures()] == ["branches", "snapshots"]
    built.write("run-2", "excepted.json", {"runId": "run-2", "excepted": 1, "takenBack": True})
    with pytest.raises(RuntimeError):
        built.step(steps.PUBLISH, "run-2")


def test_a_job_that_was_deployed_after_its_run_was_planned(built: Lake) -> None:
    """Its models may differ from those of the steps before; publish only moves what they built."""
    with pytest.raises(DeployedMeanwhileError, match=r"the service was deployed after run-2 was planned .*; start a new run"):
        built.step("machine_learning_curated", "run-2", definition="another")
    steps.check_definition(built.job("machine_learning_curated", "run-2"), RunFiles(str(built.folder), "run-2").manifest())
    built.step("machine_learning_curated", "run-2", definition=built.definition)
    built.step(steps.PUBLISH, "run-2", definition="another")
    assert built.counts()["machine_learning_curated"] == 4


EVERYBODY_GONE = lines(*(customer(email, shares=None, updated=AT) for email in ("ann@x.org", "ben@x.org", "eve@x.org")))


def test_everybody_withdraws(walked: Lake) -> None:
    walked.land("customer_landing/withdrawn.json", EVERYBODY_GONE)
    run_id = walked.run()
    assert {table: walked.counts()[table] for table in MODEL_TABLES} == dict.fromkeys(MODEL_TABLES, 0)
    assert Branches(walked.spark, walked.namespace, run_id).is_published()


def test_everybody_withdraws_on_more_days_than_a_run_names(walked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(days, "MOST_DAYS", 1)
    walked.land("customer_landing/withdrawn.json", EVERYBODY_GONE)
    run_id = walked.plan()
    walked.run_steps(run_id, *MODEL_TABLES[:2])
    assert walked.read(run_id, "days/accelerometer_trusted.json")["days"] is None
    assert walked.of_run(run_id, "accelerometer_trusted").count() == 0


def test_tables_that_somebody_changed_by_hand_are_built_anew(walked: Lake) -> None:
    """Even if the rows are the same afterwards. What the previous run counted may be gone."""
    before = walked.dump()
    walked.spark.sql(f"insert overwrite {walked.full('accelerometer_staging')} select * from {walked.full('accelerometer_staging')}")
    walked.spark.sql(f"delete from {walked.full('machine_learning_curated')} where reading_date > date '2022-06-19'")
    (walked.folder / "runs/run-1/metrics/audits.json").unlink()
    run_id = walked.run([])
    assert walked.dump() == before
    built = walked.built_days(run_id)
    assert built == {"accelerometer_trusted": None, "step_trainer_trusted": set(), "machine_learning_curated": None}
    assert walked.read(run_id, "metrics/audits.json")["identity"] == {"sameTime": 5, "samePerson": 3, "otherPerson": 2}


def test_a_run_without_files_builds_no_day_also_where_small_files_were_compacted(walked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row changes, but the snapshot of every table that a model makes still names its run."""
    monkeypatch.setattr(upkeep, "MOST_FILES", 1)
    walked.land("customer_landing/new.json", lines(customer("cem@x.org", shares=None)) + "oops")
    walked.run()
    before = walked.dump()
    assert {table: len(walked.files(table)) for table in upkeep.GROWING} == dict.fromkeys(upkeep.GROWING, 1)
    for table in ("accelerometer_staging", "step_trainer_trusted"):
        walked.spark.sql(f"CALL lake.system.rewrite_data_files(table => '{walked.namespace}.{table}', options => {REWRITE_ALL})")
    run_id = walked.run([])
    assert walked.dump() == before
    assert walked.built_days(run_id) == {table: set() for table in INPUTS}
    own = Branches(walked.spark, walked.namespace, run_id)
    assert own.is_published()
    assert [table for table in PUBLISHED_TABLES if own.published_by(table) == run_id] == list(MODEL_TABLES)
    assert totals(walked) == walked.counts()


def test_small_files_of_a_day_are_rewritten_once_a_day(walked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SMALL_FILES", {**snapshots.SMALL_FILES, "min-input-files": 2})
    for person in ("cem@x.org", "dea@x.org"):
        land(walked, walk(person, at=AT + 5 * DAY))
        walked.run()
    before, tables = walked.dump(), ("accelerometer_staging", "step_trainer_staging")
    assert [len(walked.files(table)) for table in tables] == [4, 4]
    state = walked.folder / "warehouse/upkeep.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "daysCompactedAt": "2022-01-01T00:00:00+00:00"}))
    run_id = walked.run([])
    assert [len(walked.files(table)) for table in tables] == [2, 2]
    assert walked.dump() == before
    assert walked.built_days(walked.run([])) == walked.built_days(run_id) == {table: set() for table in INPUTS}
    assert [fields for event, fields in walked.logged if event == "upkeep_failed"] == []


def test_a_run_builds_no_day_although_what_made_compacted_rows_has_expired(walked: Lake) -> None:
    walked.spark.sql(f"CALL lake.system.rewrite_data_files(table => '{walked.namespace}.customer_staging', options => {REWRITE_ALL})")
    Snapshots(walked.spark, walked.namespace).expire(datetime.now(UTC) + timedelta(days=2))
    assert walked.spark.sql(f"select * from {walked.full('customer_staging')}.snapshots").count() == 1
    assert walked.built_days(walked.run([])) == {table: set() for table in INPUTS}


def test_a_first_run_in_which_nothing_is_valid(lake: Lake) -> None:
    lake.land("customer_landing/empty.json", "")
    lake.land("accelerometer_landing/broken.json", "oops")
    run_id = lake.run()
    assert lake.counts() == {**dict.fromkeys(PUBLISHED_TABLES, 0), "loads": 2, "rejected": 1}
    assert Branches(lake.spark, lake.namespace, run_id).is_published()


def test_a_file_that_is_not_the_claimed_version(walked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    walked.land("customer_landing/new.json", lines(customer("cem@x.org")))
    claim = walked.pending()
    path = walked.landing / "customer_landing/new.json"
    look = landing.look

    def overwrite(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        os.utime(path, ns=(1, 1))
        return found

    run_id = walked.plan(claim)
    monkeypatch.setattr(landing, "look", overwrite)
    expected = "customer_landing/new.json was overwritten after the run had claimed it; start a new run"
    with pytest.raises(LandingChangedError, match=re.escape(expected)):
        walked.step("customer_trusted", run_id)
    monkeypatch.undo()
    with pytest.raises(LandingChangedError, match=re.escape(expected)):
        walked.step("customer_trusted", run_id)
    path.unlink()
    with pytest.raises(LandingChangedError, match=r"customer_landing/new\.json vanished"):
        walked.step("customer_trusted", run_id)


def test_a_file_version_that_the_lake_holds_is_not_read_again(walked: Lake) -> None:
    walked.claimed.clear()  # as after a crash between publish and ledger
    claim = walked.pending()
    for file in claim:
        (walked.landing / file["key"]).unlink()  # it is not even opened
    before = walked.dump()
    run_id = walked.run(claim)
    assert walked.dump() == before
    loads = walked.read(run_id, "metrics/customer_trusted.json")["staging"]["files"]
    assert all(load["known"] for load in loads)
    assert sorted((load["landed"], load["staged"], load["duplicate"]) for load in loads) == [(1, 0, 0), (1, 1, 0), (2, 2, 0)]


def test_contracts_and_tables(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    spark, name = lake.spark, "customers_curated"
    spark.sql(f"create namespace if not exists lake.{lake.namespace}")
    tables.ensure_tables(spark, lake.namespace)
    contract = table_contract(name)
    shown = spark.sql(f"show create table {lake.full('accelerometer_trusted')}").head()
    assert shown is not None
    for text in (
        "PARTITIONED BY (reading_date)",
        "'write.delete.mode' = 'copy-on-write'",
        "'sort-order' = 'user ASC",
        # Bounds would be a copy of people's data in the metadata, and metadata files must not pile up.
        "'write.metadata.metrics.default' = 'counts'",
        "'write.metadata.delete-after-commit.enabled' = 'true'",
        "'write.wap.enabled' = 'true'",
    ):
        assert text in shown[0]
    asked: list[str] = []

    def listen(text: str) -> DataFrame:
        asked.append(text)
        return SparkSession.sql(spark, text)

    with monkeypatch.context() as listening:
        listening.setattr(spark, "sql", listen)
        tables.ensure_tables(spark, lake.namespace)
    assert [text for text in asked if not text.startswith("SHOW ")] == []  # the tables are as they should be

    def changed(columns: tuple[Column, ...]) -> None:
        new = TableContract(name, contract.grain, columns, None, None, (), None)
        monkeypatch.setattr(tables, "table_contract", lambda table: new if table == name else table_contract(table))
        tables.ensure_tables(spark, lake.namespace)

    changed((*contract.columns, Column("shoe_size", "BIGINT", "it's \\ new")))
    assert spark.table(lake.full(name)).schema["shoe_size"].metadata == {"comment": "it's \\ new"}
    with pytest.raises(LakeUnusableError, match="no longer has the column shoe_size"):
        changed(contract.columns)
    with pytest.raises(LakeUnusableError, match="shoe_size is STRING, but the table has BIGINT"):
        changed((*contract.columns, Column("shoe_size", "STRING", "other")))


# The job as a process


def arguments_of(lake: Lake, step: str, run_id: str) -> list[str]:
    """What a job is given, including Glue's own arguments."""
    found = ["--JOB_NAME", "stedi-customer-trusted", "--JOB_RUN_ID", "jr_1"]
    own = {"step": step, "run_id": run_id, "fence": str(lake.runs), "lake": str(lake.folder), "landing": str(lake.landing)}
    for argument, value in {**own, "definition": lake.definition}.items():
        found += [f"--{argument}", value]
    return [*found, "--database", lake.namespace, "--TempDir", "s3://nowhere/", "--enable-metrics", "--conf", "spark.a=b --conf spark.c=d"]


@pytest.fixture
def in_the_session(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets job.py run in the tests' session, because one of its own takes long to start."""
    monkeypatch.setattr(session, "start", lambda _: spark)
    monkeypatch.setattr(type(spark), "stop", lambda _: None)


def start_job(lake: Lake, step: str, run_id: str) -> subprocess.Popen[str]:
    """Starts job.py alone in a folder, as Glue would: everything else comes from the bundle, which the driver finds."""
    alone = lake.landing.parent / "job"
    alone.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "glue/job.py", alone)
    bundle = duckdb.bundle(alone)
    command = [sys.executable, str(Path(__file__).with_name("driver.py")), str(bundle), "job.py", *arguments_of(lake, step, run_id)]
    # Most of the time of one small job goes into compiling.
    (alone / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in UNCOMPILED.items()))
    environment = {
        **os.environ,
        "SPARK_CONF_DIR": str(alone),
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1",
    }
    return subprocess.Popen(
        command, cwd=alone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.fixture
def shared(walked: Lake, warehouse: Path) -> Lake:
    """The lake in the folder of the session's own catalog, so that other processes find its tables."""
    walked.landing_folder = walked.landing
    shutil.copytree(walked.folder / "runs", warehouse / "runs", dirs_exist_ok=True)
    walked.folder = warehouse
    return walked


@pytest.mark.usefixtures("in_the_session")
def test_a_killed_job_leaves_main_whole_and_the_run_can_go_on(shared: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    before = shared.dump()
    land(shared, walk("cem@x.org", at=AT + DAY))
    # Spark's Python workers read and judge this, so the driver's modules must have reached them.
    shared.land("accelerometer_landing/broken.json", gzip.compress(b'{"user": '))
    run_id = shared.plan()
    shared.step("customer_trusted", run_id)
    killed = start_job(shared, "accelerometer_trusted", run_id)
    metadata = shared.tables_folder / "accelerometer_staging/metadata"
    written = len(list(metadata.glob("v*.json")))
    until = time.monotonic() + 120
    while len(list(metadata.glob("v*.json"))) == written and time.monotonic() < until:
        assert killed.poll() is None, killed.stdout.read() if killed.stdout else ""
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    shared.refresh()
    assert shared.dump() == before
    assert shared.of_run(run_id, "accelerometer_staging").count() == 4  # so it was killed with part of its work done
    job.main(arguments_of(shared, "accelerometer_trusted", run_id))
    output = capfd.readouterr().out
    assert [json.loads(line)["event"] for line in output.splitlines()[-2:]] == ["table_staged", "table_built"]
    assert [load["rejected"] for load in shared.read(run_id, "metrics/accelerometer_trusted.json")["staging"]["files"]] == [1, 0]
    shared.run_steps(run_id, *steps.STEPS[2:])
    assert {table: shared.counts()[table] for table in MODEL_TABLES} == dict.fromkeys(MODEL_TABLES, 4)
    assert totals(shared) == shared.counts()


@pytest.mark.usefixtures("in_the_session")
def test_a_job_that_fails_raises_its_reason(walked: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = {"step": "customer_trusted", "run_id": "run-8", "fence": "8", "lake": str(walked.folder), "landing": str(walked.landing)}
    reason = "LockLostError: run-8 (fence 8) does not hold the run lock: it is with run-1 (fence 1); start a new run"
    with pytest.raises(JobError) as raised:
        job.main([f"--{name}={value}" for name, value in arguments.items()])
    assert str(raised.value) == reason
    assert json.loads(capfd.readouterr().out.splitlines()[-1]) == {"event": "job_failed", "reason": reason}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--step", "customer_trusted"], "missing arguments: --run_id, --fence, --lake, --landing"),
        (
            ["--step=x", "--run_id=r", "--fence=1", "--lake=l", "--landing=l"],
            f"--step x: expected one of {', '.join(steps.STEPS)}",
        ),
    ],
)
def test_arguments(arguments: list[str], reason: str) -> None:
    ended = subprocess.run([sys.executable, str(PROJECT / "glue/job.py"), *arguments], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, f"lakehouse.errors.JobError: {reason}")


def test_lock_in_a_ledger_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The item and the condition; the service itself is tested where it is deployed."""
    item = {"pk": {"S": "lock"}, "run_id": {"S": "run-1"}, "fence": {"N": "3"}, "publishing": {"BOOL": False}}

    class Client:
        class exceptions:  # noqa: N801 - as in boto3
            class ConditionalCheckFailedException(Exception):  # noqa: N818 - as in boto3
                pass

        def get_item(self, **request: object) -> object:
            assert request["ConsistentRead"]  # or it might return a previous holder
            return {"Item": item}

        def update_item(self, **request: Any) -> None:  # noqa: ANN401
            values = request["ExpressionAttributeValues"]
            unsettled = "(attribute_not_exists(settled) OR publishing = :true)"
            assert request["ConditionExpression"] == f"run_id = :run AND fence = :fence AND {unsettled}"
            may_begin = "settled" not in item or item["publishing"] == values[":true"]
            if (values[":run"], values[":fence"]) != (item["run_id"], item["fence"]) or not may_begin:
                raise self.exceptions.ConditionalCheckFailedException
            item["publishing"] = values[":true"]

    own = lock.TableLock("ledger")
    monkeypatch.setattr(lock.TableLock, "_client", lambda _: Client())
    assert lock.check(own, "run-1", 3) == lock.Holder("run-1", 3, False)
    with pytest.raises(LockLostError):
        own.mark_publishing("run-1", 2)
    item["settled"] = {"BOOL": True}
    with pytest.raises(LockLostError, match="may no longer publish, because its execution has ended"):
        own.mark_publishing("run-1", 3)
    del item["settled"]
    own.mark_publishing("run-1", 3)
    assert lock.check(own, "run-1", 3).publishing


def test_names_of_branches() -> None:
    assert branch_of("run-20261121-140002-a26680") == "run_run_20261121_140002_a26680"
