"""The staging cases, which both engines keep."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from lakehouse import landing
from lakehouse.contracts import landing_contract
from lakehouse.landing import LandingFile
from lakehouse.records import judge_line
from pyspark.sql import SparkSession

from cases import STAGED, Case, CaseFile, load_cases
from lakes import Lake, new_lake, row_text

CASES = load_cases()
ALONE = [case for case in CASES if case.name.startswith("duplicates:")]
TOGETHER = [case for case in CASES if case not in ALONE]
FED_BY = {
    "customer_staging": "customer_landing",
    "accelerometer_staging": "accelerometer_landing",
    "step_trainer_staging": "step_trainer_landing",
}
STEP_OF = {
    "customer_landing": "customer_trusted",
    "accelerometer_landing": "accelerometer_trusted",
    "step_trainer_landing": "step_trainer_trusted",
}


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
            found = [(1, 1, "broken_gzip", None, "utf-8", "")]
            landed = 1
        else:
            judged = [(line, one) for line, text in landing.lines_of(read) for one in judge_line(text, contract)]
            found = [(line, one.position, one.reason, one.field, one.encoding, one.record) for line, one in judged if one.reason]
            landed = len(judged)
        [load] = [load for load in case.loads if (load["file"], load["version"]) == (file.key, file.version)]
        expected = [row for row in case.rejected if (row["file"], row["version"]) == (file.key, file.version)]
        assert landed == load["landed"]
        assert found == [tuple(row[name] for name in ("line", "position", "reason", "field", "encoding", "record")) for row in expected]


def _land(lake: Lake, run: int, files: list[CaseFile], prefix: str = "") -> list[dict[str, object]]:
    """The claim of a run: each file version stands as a copy, under the version that the case names."""
    claim = []
    for number, file in enumerate(files):
        name = f"input/{run}-{prefix}{number}/{Path(file.key).name}"
        path = lake.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        key = file.key.replace("/", f"/{prefix}", 1) if prefix else file.key
        claim.append({"table": file.table, "key": key, "version": file.version, "size": len(file.content), "input": name})
    return claim


def _stage(lake: Lake, claim: list[dict[str, object]], run: int) -> str:
    run_id = lake.plan(claim, f"run-{run}")
    landed = {file["table"] for file in claim}
    for table, step in STEP_OF.items():
        if table in landed or table == "customer_landing":
            lake.step(step, run_id)
    return run_id


def _rows(lake: Lake, table: str, run_id: str) -> list[dict[str, object]]:
    branch = run_id.replace("-", "_")
    return [row.asDict() for row in lake.spark.read.option("branch", f"run_{branch}").table(lake.full(table)).collect()]


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_a_case_in_a_lake_of_its_own(case: Case, spark: SparkSession, tmp_path: Path) -> None:
    lake = new_lake(spark, tmp_path)
    runs = sorted({file.run for file in case.files})
    for run in runs:
        claim = _land(lake, run, [file for file in case.files if file.run == run])
        run_id = _stage(lake, claim, run)
        if run != runs[-1]:
            for table in (*STAGED, "loads", "rejected"):
                branch = f"run_{run_id.replace('-', '_')}"
                spark.sql(f"CALL lake.system.fast_forward('{lake.namespace}.{table}', 'main', '{branch}')")
    for table in STAGED:
        assert sorted(row_text(table, row) for row in _rows(lake, table, run_id)) == sorted(
            row_text(table, row) for row in case.staged[table]
        )
    for table, expected in (("loads", case.loads), ("rejected", case.rejected)):
        assert sorted(row_text(table, row) for row in _rows(lake, table, run_id)) == sorted(row_text(table, row) for row in expected)
        assert {(row["file"], row["version"], row["run_id"]) for row in _rows(lake, table, run_id)} == {
            (row["file"], row["version"], row["run_id"]) for row in expected
        }


@pytest.fixture(scope="module")
def together(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    """All other cases in one lake and one run, each below a folder of its own, for staging them one by one would take minutes.

    Cases that hold equal records then take each other for duplicates; what became of each file is the same but for that.
    """
    assert all(file.run == 1 for case in TOGETHER for file in case.files)
    lake = new_lake(spark, tmp_path_factory.mktemp("together"))
    claim = [file for number, case in enumerate(TOGETHER) for file in _land(lake, 1, list(case.files), f"{number:03}/")]
    run_id = _stage(lake, claim, 1)
    return {table: _rows(lake, table, run_id) for table in (*STAGED, "loads", "rejected")}


@pytest.mark.parametrize("number", range(len(TOGETHER)), ids=lambda number: TOGETHER[number].name)
def test_loads_and_rejects_of_a_case(number: int, together: dict[str, list[dict[str, object]]]) -> None:
    case, prefix = TOGETHER[number], f"{number:03}/"
    own = [{**row, "file": str(row["file"]).replace(prefix, "", 1)} for row in together["rejected"] if f"/{prefix}" in str(row["file"])]
    assert sorted(row_text("rejected", row) for row in own) == sorted(row_text("rejected", row) for row in case.rejected)
    loads = [{**row, "file": str(row["file"]).replace(prefix, "", 1)} for row in together["loads"] if f"/{prefix}" in str(row["file"])]
    valid = [(row["file"], row["version"], row["landed"], row["staged"] + row["duplicate"], row["rejected"]) for row in loads]
    assert sorted(valid) == sorted(
        (row["file"], row["version"], row["landed"], row["staged"] + row["duplicate"], row["rejected"]) for row in case.loads
    )


@pytest.mark.parametrize("table", STAGED)
def test_what_all_cases_stage(table: str, together: dict[str, list[dict[str, object]]]) -> None:
    expected = {row_text(table, row) for case in TOGETHER for row in case.staged[table]}
    found = Counter(row_text(table, row) for row in together[table])
    assert set(found) == expected
    assert max(found.values()) == 1
    loads = [row for row in together["loads"] if row["landing_table"] == FED_BY[table]]
    assert sum(row["staged"] for row in loads) == len(expected)
