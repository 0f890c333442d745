"""Both engines make the same rows, rejects and counts from the same landing files."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lakehouse.contracts import MODEL_TABLES, PUBLISHED_TABLES

import duckdb
from conftest import as_in_a_job
from lakes import Lake
from people import AT, DAY, customer, lines, motion, reading

PERSON_AND_TIME = {"mlJoin": "person-and-time", "consentFrom": "any-time"}
SAME_TIME = {"mlJoin": "time", "consentFrom": "any-time"}
SINCE_CONSENT = {"mlJoin": "person-and-time", "consentFrom": "consent-date"}
SAME_TIME_SINCE_CONSENT = {"mlJoin": "time", "consentFrom": "consent-date"}


def run_both(lake: Lake, tables: tuple[str, ...] = PUBLISHED_TABLES) -> str:
    """One run of each engine over what is pending, side by side; compares tables and metrics, and lets the gate judge the run on Spark."""
    with ThreadPoolExecutor(2) as beside:
        other = beside.submit(duckdb.run, lake.folder / "duckdb", lake.landing, lake.policies, tables)
        run_id = lake.run()
        judging = beside.submit(duckdb.judge, lake.folder, run_id)
        found = lake.dump(tables)
        folder, expected = other.result()
        judgement = judging.result()
    for table, rows in expected.items():
        assert found[table] == rows, table
    for step in MODEL_TABLES:
        assert comparable(lake.read(run_id, f"metrics/{step}.json")) == comparable(
            json.loads((folder / f"metrics/{step}.json").read_text())
        )
    assert comparable(lake.read(run_id, "metrics/audits.json")) == comparable(json.loads((folder / "metrics/audits.json").read_text()))
    assert judgement["ok"], [expectation for expectation in judgement["expectations"] if not expectation["ok"]]
    return run_id


def comparable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Without what differs from run to run."""
    if isinstance(value, dict):
        return {
            name: sorted(inner) if name == "unknownFields" else comparable(inner)
            for name, inner in value.items()
            if name not in {"seconds", "runId"}
        }
    if isinstance(value, list):
        return sorted((comparable(inner) for inner in value), key=lambda inner: json.dumps(inner, sort_keys=True))
    return value


def test_reference_data_under_each_policy(lake: Lake, reference_data: Path) -> None:
    for table in ("customer", "accelerometer", "step_trainer"):
        shutil.copytree(reference_data / table / "landing", lake.landing / f"{table}_landing")
    with as_in_a_job(lake.spark):
        run_both(lake)
    counts = lake.counts()
    assert [counts[table] for table in MODEL_TABLES] == [482, 40_981, 482, 14_460, 40_981]
    assert lake.read("run-1", "metrics/audits.json")["identity"] == {"sameTime": 43_681, "samePerson": 40_981, "otherPerson": 2_700}
    lake.policies = SAME_TIME  # no new files: what is staged stays
    run_both(lake, MODEL_TABLES)
    assert lake.counts()["machine_learning_curated"] == 43_681
    lake.policies = SINCE_CONSENT
    run_both(lake, MODEL_TABLES)
    counts = lake.counts()
    assert [counts[table] for table in MODEL_TABLES] == [482, 32_025, 464, 11_297, 32_025]


@pytest.mark.parametrize("policies", [PERSON_AND_TIME, SAME_TIME_SINCE_CONSENT], ids=["the usual policies", "the other ones"])
def test_three_runs_with_withdrawals_and_agreements(make_lake: Callable[..., Lake], seed: int, policies: dict[str, str]) -> None:
    """People come, agree, withdraw, change devices and send what was there before; each run changes both lakes in the same way.

    Under one policy there are also generated data: clean in the first run, and with every defect in the second.
    """
    lake = make_lake(policies=policies)
    generated = policies == PERSON_AND_TIME
    if generated:
        duckdb.generate(lake.landing, customers=40, seed=seed, dirty=False)
    draw = random.Random(seed)
    land_a_round(lake, draw, 0)
    land_acquaintances(lake, 0)
    run_both(lake)
    expected = land_dirty(lake, seed + 1) if generated else None
    land_a_round(lake, draw, 1)
    land_acquaintances(lake, 1)
    run_id = run_both(lake)
    assert built_of_acquaintances(lake, run_id) == [{2, 3, 5, 6, 8}, {2, 4, 5, 6}, {2, 3, 4, 5, 6, 8}]
    if expected is not None:
        assert dirty_loads(lake) == {name: expected[name] for name in ("records", "rejected", "duplicates")}
    land_a_round(lake, draw, 2)
    land_acquaintances(lake, 2)
    run_id = run_both(lake)
    assert built_of_acquaintances(lake, run_id) == [{0, 1, 6, 7}, {0, 1, 4, 5, 6, 7}, {0, 1, 4, 5, 6, 7}]


def test_who_moves_for_the_first_time_brings_earlier_steps_in(lake: Lake) -> None:
    """In a run without customer files."""
    lake.land("customer_landing/people.json", lines(customer("ann@x.org"), customer("ben@x.org")))
    lake.land("accelerometer_landing/ann.json", lines(motion("ann@x.org")))
    lake.land("step_trainer_landing/ben.json", lines(reading("device-of-ben@x.org")))
    lake.run()
    assert lake.counts()["step_trainer_trusted"] == 0
    lake.land("accelerometer_landing/ben.json", lines(motion("ben@x.org", AT + 5 * DAY)))
    run_id = lake.plan()
    lake.run_steps(run_id, *MODEL_TABLES[:4])
    assert lake.of_run(run_id, "step_trainer_trusted").count() == 1


def test_files_to_whose_bytes_anything_has_happened(lake: Lake, seed: int) -> None:
    duckdb.damage(lake.landing, files=400, seed=seed)
    run_both(lake)
    counts = lake.counts()
    assert counts["loads"] == 400
    assert min(counts["customer_staging"], counts["rejected"]) > 20


def land_dirty(lake: Lake, seed: int) -> dict[str, Any]:
    """Adds generated files with every defect; returns what the generator says about them."""
    return duckdb.add_dirty(lake.landing, lake.folder / "dirty", customers=100, seed=seed)


def land_a_round(lake: Lake, draw: random.Random, number: int) -> None:
    """What 25 of 40 people say about themselves, and what some people and some devices send."""
    people = [f"p{number}@x.org" for number in range(40)]
    records = [
        customer(
            email,
            shares=draw.choice([None, AT - DAY, AT, AT + DAY]),
            serial=draw.choice([None, None, None, "shared-1", "shared-2", f"device-{draw.randrange(50)}"]),
            updated=AT + draw.randrange(3) * DAY,
        )
        for email in draw.sample(people, 25)
    ]
    lake.land(f"customer_landing/round-{number}.json", lines(*records))
    days = draw.sample(range(-3, 4), 3)  # the others are rebuilt only if somebody's standing has changed
    times = [AT + draw.choice(days) * DAY + draw.randrange(5) for _ in range(60)]
    motions = [motion(draw.choice(people), at, draw.choice([0.5, -1.0])) for at in times]
    lake.land(f"accelerometer_landing/round-{number}.json", lines(*motions))
    devices = [f"device-of-{email}" for email in people] + ["shared-1", "shared-2", *(f"device-{number}" for number in range(50))]
    lake.land(f"step_trainer_landing/round-{number}.json", lines(*(reading(draw.choice(devices), at, draw.randrange(3)) for at in times)))


FAR = AT + 100 * DAY


def land_acquaintances(lake: Lake, number: int) -> None:
    """People for whom it is known on which days they and nobody else were there, counted from FAR."""
    customers = [
        [customer("ann@x.org"), customer("ben@x.org"), customer("cem@x.org", shares=None), customer("gus@x.org"), customer("hal@x.org")],
        # Cem agrees to what was there before, Dan was unknown, and Hal agrees anew, but to what comes after the day on which he was there.
        [customer("cem@x.org", updated=AT), customer("dan@x.org"), customer("hal@x.org", shares=FAR + 9 * DAY, updated=AT)],
        # Ann takes another device, Eve makes Ben's device ambiguous, Gus withdraws; Cem has another phone and the same standing.
        [
            customer("ann@x.org", serial="new", updated=AT),
            customer("eve@x.org", shares=None, serial="device-of-ben@x.org"),
            customer("gus@x.org", shares=None, updated=AT),
            {**customer("cem@x.org", updated=AT + 1), "phone": "1"},
        ],
    ][number]
    # Ben's first motion makes his earlier steps count.
    motions = [[("ann", 0), ("ann", 1), ("cem", 2), ("dan", 3), ("gus", 7), ("hal", 8)], [("ann", 6), ("ben", 5)], []][number]
    steps = [[("ann", 0), ("ann", 1), ("ben", 4), ("ben", 5), ("cem", 2), ("gus", 7)], [("ann", 6)], []][number]
    lake.land(f"customer_landing/known-{number}.json", lines(*customers))
    lake.land(f"accelerometer_landing/known-{number}.json", lines(*(motion(f"{name}@x.org", FAR + day * DAY) for name, day in motions)))
    readings = (reading(f"device-of-{name}@x.org", FAR + day * DAY) for name, day in steps)
    lake.land(f"step_trainer_landing/known-{number}.json", lines(*readings))


def built_of_acquaintances(lake: Lake, run_id: str) -> list[set[int]]:
    """Which of their days a run has rebuilt, by table."""
    return [{day for day in range(9) if day + FAR // DAY in (days or ())} for days in lake.built_days(run_id).values()]


def dirty_loads(lake: Lake) -> dict[str, dict[str, int]]:
    """What became of the generated dirty files, as the generator counts it."""
    found: dict[str, dict[str, int]] = {"records": {}, "rejected": {}, "duplicates": {}}
    for row in lake.rows("loads"):
        if "/dirty-" in row["file"]:
            for name, column in (("records", "landed"), ("rejected", "rejected"), ("duplicates", "duplicate")):
                found[name][row["landing_table"]] = found[name].get(row["landing_table"], 0) + row[column]
    return found
