"""Staging at scale: how files are read, which are opened, and what the driver holds."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lakehouse import branches, contracts, file_counts, landing, models, parsing, rejects, session, shapes, sources, staging, tables
from lakehouse.contracts import MODEL_TABLES, landing_contract
from lakehouse.errors import JobError
from lakehouse.rejects import Rejects
from lakehouse.run_files import ManifestFile
from pyspark.sql import DataFrame

from lakes import Lake, stages_of
from people import AT, DAY, customer, lines, motion, reading

PROJECT = Path(__file__).resolve().parents[2]


def watch_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In how many parts rejects come to the driver each time, if a part has 20,000 bytes."""
    monkeypatch.setattr(rejects, "_BYTES_PER_PART", 20_000)
    watched: list[int] = []
    fetched = DataFrame.toLocalIterator

    def in_parts(rows: DataFrame) -> Iterator[Any]:
        watched.append(rows.rdd.getNumPartitions())
        return fetched(rows)

    monkeypatch.setattr(DataFrame, "toLocalIterator", in_parts)
    return watched


def test_line_numbers_of_rejects_in_a_file_of_many_blocks(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some blocks have no line end, and some lines span blocks."""
    parts = watch_parts(monkeypatch)
    records = [lines(motion("ann@x.org", AT + number)) if number % 37 else f"oops {number}\n" for number in range(1, 800)]
    records[400] = "x" * 5000 + "\n"
    lake.land("accelerometer_landing/file.json", "".join(records))
    lake.land("accelerometer_landing/other.json", "\n\nfine not\n")
    lake.spark.conf.set("spark.sql.files.maxPartitionBytes", "1500")
    run_id = lake.plan()
    try:
        tried = stages_of(lake.spark, lambda: lake.run_steps(run_id, "customer_trusted", "accelerometer_trusted"))
    finally:
        lake.spark.conf.unset("spark.sql.files.maxPartitionBytes")
    found = lake.spark.read.option("branch", f"run_{run_id.replace('-', '_')}").table(lake.full("rejected")).collect()
    expected = {(number, f"oops {number}") for number in range(37, 800, 37)} | {(401, "x" * 5000)}
    assert {(row["line"], row["record"]) for row in found if row["file"].endswith("/file.json")} == expected
    assert [(row["line"], row["record"]) for row in found if row["file"].endswith("/other.json")] == [(3, "fine not")]
    assert len(lake.kept_rejects(run_id, "accelerometer_landing")) == len(found)
    # Many tasks find rejects; if each left its own, there would be as many jobs. And what is rejected is a small part of the file.
    assert len(tried) < 50
    assert parts == [1]


def test_line_numbers_hold_where_workers_join_meanwhile(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark cuts files by the number of cores that it has when it plans."""
    blocks = Rejects._blocks

    def with_more_cores(*arguments: Any) -> DataFrame:  # noqa: ANN401
        lake.spark.conf.set("spark.sql.leafNodeDefaultParallelism", "16")
        return blocks(*arguments)

    monkeypatch.setattr(Rejects, "_blocks", with_more_cores)
    lake.land(
        "customer_landing/file.json", "".join("oops\n" if number % 9 == 0 else lines(customer(f"{number}@x.org")) for number in range(400))
    )
    lake.spark.conf.set("spark.sql.files.openCostInBytes", "1")
    try:
        lake.step("customer_trusted", lake.plan())
    finally:
        lake.spark.conf.set("spark.sql.files.openCostInBytes", session.RUNTIME["spark.sql.files.openCostInBytes"])
        lake.spark.conf.unset("spark.sql.leafNodeDefaultParallelism")
    rejected = lake.of_run("run-1", "rejected").collect()
    assert sorted(row["line"] for row in rejected) == [number + 1 for number in range(0, 400, 9)]


def test_rejects_of_a_gzip_file_come_to_the_driver_in_parts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """One task has read the whole file, and the file's size says little about that of its rejects."""
    parts = watch_parts(monkeypatch)
    path = lake.landing / "customer_landing/wrong.json.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b'{"mail":"ann@x.org"}\n' * 1000))
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    assert parts == [11 + 1]  # 1,000 of 220 bytes
    assert len(lake.kept_rejects(run_id, "customer_landing")) == 1000


def test_rejects_of_earlier_runs_are_not_opened(lake: Lake) -> None:
    lake.land("customer_landing/old.json", "oops")
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    lake.show(run_id, "rejected")
    [old] = lake.files("rejected")
    Path(old.removeprefix("file:")).unlink()
    lake.land("customer_landing/new.json", "oops again")
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    assert [json.loads(line)["record"] for line in lake.kept_rejects(run_id, "customer_landing")] == ["oops again"]


def test_a_clean_line_may_hold_a_text_of_any_length(lake: Lake) -> None:
    """In a file that Spark reads as JSON, and in one that is read line by line because it has lines that are not clean."""
    for email, beside in {"ann@x.org": "", "ben@x.org": "oops\n"}.items():
        record = {**customer(email), "customerName": "n" * 20_000_001}
        lake.land(f"customer_landing/{email[:3]}.json", lines(customer(f"other-{email}")) + lines(record) + beside)
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    staged = lake.of_run(run_id, "customer_staging").selectExpr("email", "length(customername) as characters").collect()
    lengths = {"ann@x.org": 20_000_001, "ben@x.org": 20_000_001, "other-ann@x.org": 23, "other-ben@x.org": 23}
    assert {row["email"]: row["characters"] for row in staged} == lengths


@pytest.mark.parametrize("more", [(), ("ann@x.org",)], ids=["without duplicates", "with duplicates"])
def test_a_record_that_is_lost_on_its_way_is_no_duplicate(lake: Lake, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]) -> None:
    clean_records = parsing.clean_records
    monkeypatch.setattr(parsing, "clean_records", lambda *arguments: clean_records(*arguments).where("email <> 'ben@x.org'"))
    lake.land("customer_landing/people.json", lines(*(customer(email) for email in ("ann@x.org", "ben@x.org", *more))))
    expected = 2 + len(more)
    with pytest.raises(JobError, match=f"customer_landing: {expected} valid records were counted, but {expected - 1} were read"):
        lake.step("customer_trusted", lake.plan())


def test_staged_readings_are_ordered_as_the_table_wants_them_also_beside_others(lake: Lake) -> None:
    """And a day that gets new readings gets one more file."""
    before: set[str] = set()
    lake.spark.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")
    try:
        for run in range(2):
            before = lake.files("step_trainer_staging") if run else before
            readings = [reading(f"device-{number % 7}", AT + 1000 * number + run) for number in range(50)]
            lake.land(f"step_trainer_landing/{run}.json", lines(*readings))
            run_id = lake.plan()
            lake.run_steps(run_id, "customer_trusted", "step_trainer_trusted")
            lake.show(run_id, "step_trainer_staging")
    finally:
        lake.spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")
    [new] = lake.files("step_trainer_staging") - before
    found = [(row["serialnumber"], row["sensorreadingtime"]) for row in lake.spark.read.parquet(new).collect()]
    assert len(found) == 50
    assert found == sorted(found)


def test_of_records_that_differ_outside_the_identity_the_smallest_stays(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever came first, in one run or in two; the first file is not the duplicate."""
    gained = {"customer_landing": '{"name": "note", "rule": "text", "required": false, "spellings": ["note"]}'}
    gained["customer_staging"] = '{"name": "note", "type": "STRING", "comment": "a later column"}'
    texts = dict(sources.read_folder("tables", ".json"))
    for table, column in gained.items():
        value = json.loads(texts[table])
        texts[table] = json.dumps({**value, "columns": [*value["columns"], json.loads(column)]})
    monkeypatch.setattr(contracts, "read_folder", lambda *_: texts)

    def people(*noted: tuple[str, str | None]) -> str:
        return lines(*({**customer(f"{name}@x.org"), **({} if note is None else {"note": note})} for name, note in noted))

    def stage() -> str:
        run_id = lake.plan()
        lake.step("customer_trusted", run_id)
        lake.show(run_id, "customer_staging")
        return run_id

    for cached in (contracts.landing_contract, contracts.table_contract):
        cached.cache_clear()
    try:
        lake.land("customer_landing/0.json", people(("ann", "b"), ("bob", "b"), ("cat", "b"), ("dan", "b")))
        lake.land("customer_landing/1.json", people(("ann", "a"), ("eve", "x")))
        first = stage()
        lake.land("customer_landing/2.json", people(("bob", "a"), ("cat", "c"), ("fay", "x")))
        lake.land("customer_landing/3.json", people(("dan", None), ("fay", "w"), ("bob", "b")))
        second = stage()
        staged = {row["email"][:3]: row["note"] for row in lake.rows("customer_staging")}
    finally:
        for cached in (contracts.landing_contract, contracts.table_contract):
            cached.cache_clear()
    assert staged == {"ann": "a", "bob": "a", "cat": "b", "dan": None, "eve": "x", "fay": "w"}
    loads = [file for run in (first, second) for file in lake.read(run, "metrics/customer_trusted.json")["staging"]["files"]]
    assert [(file["staged"], file["duplicate"]) for file in loads] == [(4, 0), (1, 1), (1, 2), (0, 3)]


def test_a_staged_table_whose_writer_told_no_total_is_not_taken_for_empty(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land("customer_landing/old.json", lines(customer("ann@x.org")))
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    lake.show(run_id, "customer_staging")
    entry = tables.summary_entry
    monkeypatch.setattr(branches, "summary_entry", lambda snapshot, name: None if name == "total-records" else entry(snapshot, name))
    lake.land("customer_landing/new.json", lines(customer("ann@x.org")))
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    [file] = lake.read(run_id, "metrics/customer_trusted.json")["staging"]["files"]
    assert (file["staged"], file["duplicate"]) == (0, 1)


def test_only_so_many_names_of_unknown_fields_are_kept_of_a_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_MOST_UNKNOWN_FIELDS", 3)
    odd = [{"x": [number], f"field-{number}": 1, **customer("ann@x.org")} for number in range(9)]
    lake.land("customer_landing/odd.json", lines(*odd))
    lake.land("customer_landing/with-clean-ones.json", lines({**customer("ann@x.org"), "z": 1}, *odd))
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    files = lake.read(run_id, "metrics/customer_trusted.json")["staging"]["files"]
    found = [(file["landed"], file["unknownFields"]) for file in files]
    assert found == [(9, ["field-0", "field-1", "field-2"]), (10, ["z", "field-0", "field-1"])]


def test_files_of_days_that_did_not_arrive_are_not_opened(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land("accelerometer_landing/old.json", lines(motion("ann@x.org", AT), motion("ann@x.org", AT + 9 * DAY)))
    run_id = lake.plan()
    lake.run_steps(run_id, *MODEL_TABLES[:2])
    lake.show(run_id, "accelerometer_staging")
    files = [row["file_path"] for row in lake.spark.table(f"{lake.full('accelerometer_staging')}.files").collect()]
    [old] = [path for path in files if "2022-06-18" in path]
    Path(old).unlink()
    lake.land("accelerometer_landing/new.json", lines(motion("ann@x.org", AT + 9 * DAY), motion("ann@x.org", AT + 9 * DAY, 2.0)))
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    monkeypatch.setattr(models, "build", lambda *_: (_ for _ in ()).throw(RuntimeError("the model would read all days")))
    with pytest.raises(RuntimeError, match="the model would read all days"):
        lake.step("accelerometer_trusted", run_id)
    [load] = lake.spark.read.option("branch", "run_run_2").table(lake.full("loads")).where("run_id = 'run-2'").collect()
    assert (load["landed"], load["staged"], load["duplicate"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("limits", "asks"),
    [
        pytest.param({}, False, id="counted while they are written"),
        pytest.param({"MOST_FILES": 5}, True, id="too many files for that"),
        pytest.param({"_COUNTERS_PER_FILE": 0.01}, True, id="files that share their counters"),
        pytest.param({"_PATIENCE_SECONDS": 0.0}, True, id="counts that do not come"),
    ],
)
def test_each_file_is_told_its_duplicates(
    lake: Lake, seed: int, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], asks: bool
) -> None:
    """A record is staged from the first file that has it."""
    for name, limit in limits.items():
        monkeypatch.setattr(file_counts, name, limit)
    asked: list[bool] = []
    ask = staging._Staging._ask_staged

    def ask_and_tell(*arguments: Any) -> Any:  # noqa: ANN401
        asked.append(True)
        return ask(*arguments)

    monkeypatch.setattr(staging._Staging, "_ask_staged", ask_and_tell)
    chance = random.Random(seed)
    seen: set[int] = set()
    expected = {}
    for number in range(12):
        people = chance.choices(range(100), k=chance.randrange(1, 60))
        lake.land(f"customer_landing/{number:02}.json", lines(*(customer(f"{person}@x.org") for person in people)))
        expected[f"customer_landing/{number:02}.json"] = (len(people), len(set(people) - seen))
        seen |= set(people)
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    staging_metrics = lake.read(run_id, "metrics/customer_trusted.json")["staging"]
    assert {file["key"]: (file["landed"], file["staged"]) for file in staging_metrics["files"]} == expected
    assert bool(asked) == asks


def test_many_small_files_are_few_tasks(lake: Lake) -> None:
    """Both to find them and to read them, in whatever way."""
    for number in range(600):
        text = lines(customer(f"{number}@x.org")) + "oops\n" * (number % 2)
        lake.land(f"customer_landing/{number}.json", gzip.compress(text.encode()) if number % 3 == 0 else text)
    run_id = lake.plan()
    tasks = [stage.numTasks() for stage in stages_of(lake.spark, lambda: lake.run_steps(run_id, "customer_trusted"))]
    assert max(tasks) <= 32  # which check whether the files exist
    assert max(number for number in tasks if number != 32) <= 10


def test_how_a_file_is_read(tmp_path: Path) -> None:
    """What is not read natively is what Spark's reader would skip, decompress or take for a pattern."""
    native = {}
    for name in ("a.json", "a", "_a.json", ".a.json", "a.gz", "a[1].json", "a*b", "é.json", "a b.json", "a=1.json", "a.json.zst"):
        (tmp_path / name).write_text(lines(customer("ann@x.org")))
        size = (tmp_path / name).stat()
        file = ManifestFile("customer_landing", name, f"{size.st_size}-{size.st_mtime_ns}", size.st_size, None)
        [looked] = landing.look([file], landing_contract("customer_landing"), str(tmp_path), str(tmp_path))
        native[name] = looked.native
    assert {name for name, found in native.items() if found} == {"a.json", "a", "a=1.json"}
    places = ("s3://lake/a/../b.json", "s3://lake/a/./b.json", "s3://lake/a/.../b.json", "s3://lake/a..b/c.json")
    assert [landing._reads_natively(place) for place in places] == [False, False, True, True]


def test_names_that_spark_reads_natively_are_read(lake: Lake) -> None:
    for name in ("a+b.json", "date=2022~1/a.b-c_d.json", "UPPER"):
        lake.land(f"customer_landing/{name}", lines(customer(f"{name.lower().replace('/', '-')}@x.org")))
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    assert lake.read(run_id, "metrics/customer_trusted.json")["rows"] == 3


def test_large_files_that_one_task_reads_are_reported_as_slow(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_SLOW_BYTES", 200)
    lake.land("customer_landing/large.json", gzip.compress(lines(*(customer(f"{random.random()}@x.org") for _ in range(99))).encode()))
    lake.land("customer_landing/small.json", gzip.compress(lines(customer("ann@x.org")).encode(), mtime=0))
    lake.land("customer_landing/plain.json", lines(*(customer(f"{number}@x.org") for number in range(99))))
    lake.land("customer_landing/odd name.json", lines(*(customer(f"{number}@y.org") for number in range(99))))
    slow = ["customer_landing/large.json", "customer_landing/odd name.json"]
    run_id = lake.plan()
    lake.step("customer_trusted", run_id)
    assert lake.read(run_id, "metrics/customer_trusted.json")["staging"]["slow"] == slow
    [logged] = [fields for event, fields in lake.logged if event == "slow_files"]
    assert logged["keys"] == slow


def test_fields_in_another_order_and_unknown_ones_are_clean_all_the_same() -> None:
    contract = landing_contract("accelerometer_landing")
    shape = shapes.shape_of(("Z", "y", "x", "firmware", "timeStamp", "USER"), contract)
    assert shape is not None
    assert shape.unknown_fields == ("firmware",)
    assert dict(shape.spelling)["user"] == "USER"


def test_what_the_driver_is_sent_does_not_grow_with_the_data(make_lake: Callable[..., Lake]) -> None:
    """All that tasks return to the driver in a run's first two jobs: the same for fifty times as many readings."""

    def sent(readings: int) -> int:
        lake = make_lake()
        lake.land("customer_landing/file.json", lines(customer("ann@x.org")))
        day = "".join(lines(motion("ann@x.org", AT + number)) for number in range(readings))
        lake.land("accelerometer_landing/file.json", day + "oops\n" + day[: len(day) // 2])
        run_id = lake.plan()
        jobs = stages_of(lake.spark, lambda: lake.run_steps(run_id, *MODEL_TABLES[:2]))
        [load] = lake.read(run_id, "metrics/accelerometer_trusted.json")["staging"]["files"]
        assert load["staged"] == readings
        return sum(stage.resultSize() for stage in jobs)

    small, large = sent(1_000), sent(50_000)
    assert 0 < large < 1.25 * small, f"{small} bytes for 1,000 readings, {large} for 50,000"


def test_a_landing_folder_of_one_gigabyte_in_flat_driver_memory(large_run: Callable[[], dict[str, Any]]) -> None:
    """Driver and tasks together have less memory than the landing folder has bytes; the driver is sent the people that joins broadcast."""
    found = large_run()
    generated, loads = found["generated"], found["loads"]
    assert found["bytes"] > 980_000_000 > found["memory"]
    assert found["sentToDriver"] < found["bytes"] / 20
    assert {table: load["landed"] for table, load in loads.items()} == generated["records"]
    assert {table: load["rejected"] for table, load in loads.items()} == generated["rejected"]
    assert all(load["landed"] == load["staged"] + load["duplicate"] + load["rejected"] for load in loads.values())
