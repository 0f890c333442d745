"""Times this engine against the plain script on generated data, and prints ratios.

In a warm session, as in a job that has started: a first run over everything, then a second one that adds a hundredth.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / name) for name in ("glue", "test/spark", "bench/spark")]

from lakehouse import session, steps  # noqa: E402
from lakes import Lake, new_lake  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import floor  # noqa: E402
import plain  # noqa: E402

# Bytes of generated landing files for each customer.
BYTES_PER_CUSTOMER = 11_500
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and seconds of all cores together, which can still be compared if other work shares the machine."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


def timed(spark: SparkSession, work: Callable[[], object]) -> Cost:
    """What a piece of work costs."""
    wall, cpu = time.monotonic(), cpu_seconds(spark)
    work()
    return Cost(time.monotonic() - wall, cpu_seconds(spark) - cpu)


def cpu_seconds(spark: SparkSession) -> float:
    """What Spark has used so far, without its Python workers, which clean data do not need."""
    return session.jvm(spark).java.lang.ProcessHandle.current().info().totalCpuDuration().get().toMillis() / 1000


def generate(folder: Path, megabytes: float, seed: int) -> int:
    """Clean landing files of about this size; returns how many bytes they are."""
    customers = max(2, round(megabytes * MEGABYTE / BYTES_PER_CUSTOMER))
    node = PROJECT / "node_modules/.bin/node"
    command = [
        str(node),
        "--no-warnings",
        str(PROJECT / "test/spark/onDuckdb.ts"),
        "generate",
        str(folder),
        str(customers),
        str(seed),
        "clean",
    ]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["bytes"])


def add(folder: Path, more: Path) -> None:
    """Puts the files of one landing folder into another, under names that are not taken."""
    for path in more.rglob("*.json"):
        shutil.copy(path, folder / path.parent.name / f"more-{path.name}")


def run_steps(lake: Lake) -> dict[str, Cost]:
    """What a run costs, by step."""
    run_id = lake.plan()
    return {step: timed(lake.spark, partial(lake.step, step, run_id)) for step in steps.STEPS}


def compared(spark: SparkSession, lake: Lake, infer: bool, start: float) -> dict[str, object]:
    """The plain script and a run over the same landing folder, one after the other."""
    script = timed(spark, lambda: plain.run(spark, str(lake.landing), f"plain_{lake.namespace}", infer))
    by_step = run_steps(lake)
    own = sum(by_step.values(), Cost(0, 0))
    return {
        "plain": script.wall,
        "lakehouse": own.wall,
        "ratio": own.wall / script.wall,
        # The plain script is one process; here each step is a job with a start of its own.
        "ratioWithStart": (own.wall + start * len(by_step)) / (script.wall + start),
        "ratioOfCpu": own.cpu / script.cpu,
        "steps": {step: cost.wall for step, cost in by_step.items()},
        "stepsCpu": {step: cost.cpu for step, cost in by_step.items()},
        "plainCpu": script.cpu,
    }


def measure(spark: SparkSession, folder: Path, megabytes: float, infer: bool, with_floor: bool, start: float) -> dict[str, object]:
    """One size."""
    lake = new_lake(spark, folder / f"{megabytes}")
    size = generate(lake.landing, megabytes, 1)
    generate(lake.folder / "more", megabytes / 100, 2)
    first = compared(spark, lake, infer, start)
    if with_floor:
        first["floor"] = timed(spark, lambda: floor.first(spark, str(lake.landing), f"floor_{lake.namespace}")).wall
    add(lake.landing, lake.folder / "more")
    second = compared(spark, lake, infer, start)
    if with_floor:
        second["floor"] = timed(spark, lambda: floor.second(spark, str(lake.folder / "more"), f"floor_{lake.namespace}")).wall
    shutil.rmtree(lake.folder)
    return {"megabytes": round(size / MEGABYTE, 1), "first": first, "second": second}


def rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 2)
    return {name: rounded(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10,100,1000", help="megabytes of landing files, separated by commas")
    parser.add_argument("--folder", type=Path, default=PROJECT / ".cache/spark/bench")
    parser.add_argument("--infer", action="store_true", help="let the plain script infer its schemas")
    parser.add_argument("--floor", action="store_true", help="time the least that runs can be in Spark as well")
    arguments = parser.parse_args()
    os.environ.setdefault("STEDI_SPARK_MEMORY", "2g")
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    started = time.monotonic()
    spark = session.start(str(arguments.folder), {"spark.sql.shuffle.partitions": "8"})
    spark.sparkContext.setLogLevel("ERROR")
    start = time.monotonic() - started
    print(json.dumps({"cores": os.environ.get("STEDI_SPARK_CORES", "2"), "start": round(start, 2)}), flush=True)
    measure(spark, arguments.folder, 1, arguments.infer, arguments.floor, start)  # warms both up
    for size in arguments.sizes.split(","):
        print(json.dumps(rounded(measure(spark, arguments.folder, float(size), arguments.infer, arguments.floor, start))), flush=True)
    spark.stop()
    shutil.rmtree(arguments.folder)


if __name__ == "__main__":
    main()
