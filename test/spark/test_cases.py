"""The staging cases, which hold for both engines."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lakehouse import landing, staging
from lakehouse.branches import Branches, branch_of
from lakehouse.contracts import LANDING_TABLES, landing_contract, table_contract
from lakehouse.duplicates import Duplicates
from lakehouse.errors import LandingChangedError
from lakehouse.landing import LandingFile
from lakehouse.lines import Lines
from lakehouse.records import judge_line
from lakehouse.run_files import ManifestFile, RunFiles
from lakehouse.session import use_namespace
from lakehouse.staging import StagingContext, stage
from lakehouse.tables import ensure_tables
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from cases import STAGED, Case, CaseFile, load_cases
from lakes import new_lake, row_text
from people import AT, DAY, customer, lines, motion

CASES = load_cases()
ALONE = [case for case in CASES if case.name.startswith("duplicates:")]
TOGETHER = [case for case in CASES if case not in ALONE]
TABLES = (*STAGED, "loads", "rejected")
FED_BY = {landing_contract(table).feeds: table for table in LANDING_TABLES}
Row = dict[str, Any]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_judge_alone(case: Case, tmp_path: Path) -> None:
    """What Python makes of every line, clean or not: the rules without Spark."""
    for number, file in enumerate(one for one in case.files if one.run == 1):
        path = tmp_path / str(number)
        path.write_bytes(file.content)
        contract = landing_contract(file.table)
        packed = file.content.startswith(b"\x1f\x8b")
        read = LandingFile(0, file.key, file.version, len(file.content), str(path), packed, False, None)
        if packed and not landing.is_whole_gzip(str(path)):
            found: list[tuple[int, int, str, str | None, str, str]] = [(1, 1, "broken_gzip", None, "utf-8", "")]
            landed = 1
        else:
            judged = [(line, one) for line, text in landing.lines_of(read) for one in judge_line(text, contract)]
            found = [(line, one.position, one.reason, one.field, one.encoding, one.record) for line, one in judged if one.reason]
            landed = len(judged)
        [load] = [load for load in case.loads if (load["file"], load["version"]) == (file.key, file.version)]
        expected = [row for row in case.rejected if (row["file"], row["version"]) == (file.key, file.version)]
        assert landed == load["landed"]
        assert found == [tuple(row[name] for name in ("line", "position", "reason", "field", "encoding", "record")) for row in expected]


def _land(folder: Path, run: int, files: list[CaseFile], prefix: str = "") -> list[ManifestFile]:
    """The claim of a run: each file version is a copy, under the version that the case names."""
    claim = []
    for number, file in enumerate(files):
        name = f"input/{run}-{prefix}{number}/{Path(file.key).name}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        key = file.key.replace("/", f"/{prefix}", 1) if prefix else file.key
        claim.append(ManifestFile(file.table, key, file.version, len(file.content), name))
    return claim


class Bench:
    """Stages claims without the rest of a run; each run begins with what was published before."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.folder = folder
        self.lake = new_lake(spark, folder)
        use_namespace(spark, self.lake.namespace)
        ensure_tables(spark, self.lake.namespace, TABLES)

    def stage(self, run_id: str, claim: list[ManifestFile]) -> dict[str, list[Row]]:
        use_namespace(self.spark, self.lake.namespace)
        branches = Branches(self.spark, self.lake.namespace, run_id)
        branches.enter()
        try:
            for table in TABLES:
                branches.ensure(table)
                branches.reset(table)
            run_files = RunFiles(str(self.folder), run_id)
            context = StagingContext(self.spark, branches, run_files, str(self.folder), str(self.folder), lambda event, fields: None)
            for table in sorted({file.table for file in claim}):
                stage(context, table, claim)
            return {table: [row.asDict() for row in self.spark.table(table).collect()] for table in TABLES}
        finally:
            branches.leave()

    def publish(self, run_id: str) -> None:
        for table in TABLES:
            self.spark.sql(f"CALL lake.system.fast_forward('{self.lake.namespace}.{table}', 'main', '{branch_of(run_id)}')")


@pytest.fixture(scope="module")
def bench(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(spark, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_a_case_alone(case: Case, bench: Bench, spark: SparkSession, tmp_path: Path) -> None:
    runs = sorted({file.run for file in case.files})
    if len(runs) > 1:
        bench = Bench(spark, tmp_path)
    bench.folder = tmp_path
    for run in runs:
        found = bench.stage(f"run-{run}", _land(tmp_path, run, [file for file in case.files if file.run == run]))
        if run != runs[-1]:
            bench.publish(f"run-{run}")
    expected = {**case.staged, "loads": case.loads, "rejected": case.rejected}
    for table in TABLES:
        assert sorted(row_text(table, row) for row in found[table]) == sorted(row_text(table, row) for row in expected[table])
    for table in ("loads", "rejected"):
        assert _runs(found[table]) == _runs(expected[table])


def test_equal_records_meet_where_a_day_is_spread_over_tasks(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_BYTES_PER_BUCKET", 100)
    text = lines(*(motion(f"{number}@x.org") for number in range(20))).encode()
    files = [CaseFile("accelerometer_landing", f"accelerometer_landing/{number}.json", "v1", 1, text) for number in range(4)]
    found = Bench(spark, tmp_path).stage("run-1", _land(tmp_path, 1, files))
    assert sorted((row["staged"], row["duplicate"]) for row in found["loads"]) == [(0, 20), (0, 20), (0, 20), (20, 0)]


def test_a_large_day_of_one_person_is_spread_over_tasks(spark: SparkSession) -> None:
    contract = landing_contract("accelerometer_landing")
    rows = spark.range(100).selectExpr(
        "'ann@x.org' as user", "id as timestamp", "0d as x", "0d as y", "0d as z", "0 as file", "current_date as reading_date"
    )
    first = Duplicates(contract, table_contract(contract.feeds)).first(rows.unionAll(rows), None, 8, lambda watched: watched)
    found = first.groupBy(F.spark_partition_id()).count().collect()
    assert len(found) > 1
    assert sum(row["count"] for row in found) == 100


def test_more_days_than_a_run_names_are_compared_with_all_that_is_staged(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "MOST_DAYS", 3)
    bench, text = Bench(spark, tmp_path), lines(*(motion("ann@x.org", AT + day * DAY) for day in range(6))).encode()
    first, again = (CaseFile("accelerometer_landing", f"accelerometer_landing/{run}.json", "v1", run, text) for run in (1, 2))
    bench.stage("run-1", _land(tmp_path, 1, [first]))
    bench.publish("run-1")
    found = bench.stage("run-2", _land(tmp_path, 2, [again]))
    assert sorted((row["staged"], row["duplicate"]) for row in found["loads"]) == [(0, 6), (6, 0)]


def test_a_reader_that_skips_lines_fails_the_run(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = Lines.native
    monkeypatch.setattr(Lines, "native", lambda *arguments: native(*arguments).where("value not like '%ben@x.org%'"))
    text = lines(customer("ann@x.org"), customer("ben@x.org")).encode()
    claim = _land(tmp_path, 1, [CaseFile("customer_landing", "customer_landing/a.json", "v1", 1, text)])
    with pytest.raises(LandingChangedError, match=r"customer_landing/a\.json has \d+ bytes, but \d+ were read"):
        Bench(spark, tmp_path).stage("run-1", claim)


def _runs(rows: list[Row]) -> set[tuple[str, str, str]]:
    return {(row["file"], row["version"], row["run_id"]) for row in rows}


@pytest.fixture(scope="module")
def together(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """All other cases in one lake and one run, each below a folder of its own, because staging them one by one would take minutes.

    Equal records of different cases are then duplicates of each other; apart from that, what becomes of each file is the same.
    """
    assert all(file.run == 1 for case in TOGETHER for file in case.files)
    folder = tmp_path_factory.mktemp("together")
    claim = [file for number, case in enumerate(TOGETHER) for file in _land(folder, 1, list(case.files), f"{number:03}/")]
    return Bench(spark, folder).stage("run-1", claim)


@pytest.mark.parametrize("number", range(len(TOGETHER)), ids=lambda number: TOGETHER[number].name)
def test_loads_and_rejects_of_a_case(number: int, together: dict[str, list[Row]]) -> None:
    case, prefix = TOGETHER[number], f"{number:03}/"
    own = [{**row, "file": str(row["file"]).replace(prefix, "", 1)} for row in together["rejected"] if f"/{prefix}" in str(row["file"])]
    assert sorted(row_text("rejected", row) for row in own) == sorted(row_text("rejected", row) for row in case.rejected)
    loads = [{**row, "file": str(row["file"]).replace(prefix, "", 1)} for row in together["loads"] if f"/{prefix}" in str(row["file"])]
    valid = [(row["file"], row["version"], row["landed"], row["staged"] + row["duplicate"], row["rejected"]) for row in loads]
    assert sorted(valid) == sorted(
        (row["file"], row["version"], row["landed"], row["staged"] + row["duplicate"], row["rejected"]) for row in case.loads
    )


@pytest.mark.parametrize("table", STAGED)
def test_what_all_cases_stage(table: str, together: dict[str, list[Row]]) -> None:
    expected = {row_text(table, row) for case in TOGETHER for row in case.staged[table]}
    found = Counter(row_text(table, row) for row in together[table])
    assert set(found) == expected
    assert max(found.values()) == 1
    loads = [row for row in together["loads"] if row["landing_table"] == FED_BY[table]]
    assert sum(row["staged"] for row in loads) == len(expected)


def test_gzip_members_may_end_wherever_a_piece_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their bytes are read and decompressed piece by piece: a member may end where a piece does, or just behind it."""
    monkeypatch.setattr(landing, "_CHUNK", 64)
    path = tmp_path / "members.json"
    for size in (*range(250, 262), *range(506, 518)):
        first, second = b"a" * size, b"b" * 7
        path.write_bytes(gzip.compress(first) + gzip.compress(second))
        file = LandingFile(0, "customer_landing/members.json", "1", path.stat().st_size, str(path), True, False, None)
        assert landing.is_whole_gzip(str(path))
        assert list(landing.lines_of(file)) == [(1, first + second)]
