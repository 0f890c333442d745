"""One Spark session for all tests, because starting one takes seconds and warming it up takes more."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "glue"), str(Path(__file__).resolve().parent)]

from lakehouse import session  # noqa: E402

from lakes import Lake, new_lake  # noqa: E402

PROJECT = Path(__file__).resolve().parents[2]
# Tests run many small queries, and planning is what they cost. So Spark compiles and adapts nothing.
UNCOMPILED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
SMALL = {
    **UNCOMPILED,
    # One session for hundreds of runs: what they leave behind goes only with a full garbage collection.
    "spark.driver.memory": "2g",
    # By default each sort and each hash table would start with 32 MB, for a handful of rows.
    "spark.buffer.pageSize": "1m",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.maxPlanStringLength": "64",
    "spark.driver.extraJavaOptions": (
        f"{session.JAVA_OPTIONS} -XX:ReservedCodeCacheSize=256m -XX:MetaspaceSize=256m -XX:+UseSerialGC -Xmn800m"
    ),
}
AS_IN_A_JOB = {
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
    "spark.sql.adaptive.enabled": "true",
}


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="session")
def spark(warehouse: Path) -> Iterator[SparkSession]:
    found = session.start(str(warehouse), SMALL)
    found.sparkContext.setLogLevel("ERROR")
    yield found
    found.stop()


@contextmanager
def as_in_a_job(spark: SparkSession) -> Iterator[None]:
    """Lets Spark compile and adapt its plans, as it does in a job."""
    for name, value in AS_IN_A_JOB.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in AS_IN_A_JOB:
            spark.conf.set(name, SMALL[name])


def a_seed() -> int:
    """SPARK_SEED, or one drawn at random."""
    return int(os.environ.get("SPARK_SEED") or random.SystemRandom().randrange(2**31))


_LARGE = pytest.StashKey[tuple[Path, subprocess.Popen[str]]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts the run over 1 GB, which takes minutes, beside the other tests: it gets the processor time that they leave."""
    if session.config.option.collectonly or not any("large_run" in getattr(item, "fixturenames", []) for item in session.items):
        return
    folder = Path(tempfile.mkdtemp(prefix="stedi-large-"))
    command = ["nice", sys.executable, str(Path(__file__).with_name("large.py")), str(folder), str(a_seed())]
    process = subprocess.Popen(
        command, env={**os.environ, "STEDI_SPARK_MEMORY": "640m"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    session.config.stash[_LARGE] = (folder, process)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _LARGE in session.config.stash:
        folder, process = session.config.stash[_LARGE]
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def large_run(request: pytest.FixtureRequest) -> Callable[[], dict[str, Any]]:
    """Waits for the run over 1 GB, and returns what large.py prints about it."""

    def wait() -> dict[str, Any]:
        _, process = request.config.stash[_LARGE]
        output, _ = process.communicate()
        assert process.returncode == 0, f"{process.args!r}\n{output}"
        return json.loads(output.splitlines()[-1])

    return wait


@pytest.fixture
def make_lake(spark: SparkSession, tmp_path: Path) -> Callable[..., Lake]:
    """Makes lakes that share the session and nothing else."""
    made: list[Lake] = []

    def make(**options: Any) -> Lake:  # noqa: ANN401
        made.append(new_lake(spark, tmp_path / f"lake-{len(made)}", **options))
        return made[-1]

    return make


@pytest.fixture
def lake(make_lake: Callable[..., Lake]) -> Lake:
    return make_lake()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Drawn at random, or SPARK_SEED; pytest shows it when the test fails."""
    drawn = a_seed()
    print(f"SPARK_SEED={drawn} repeats this")
    return drawn


@pytest.fixture
def reference_data() -> Path:
    """The published reference data, if there is a copy at hand: beside the project, or where STEDI_REFERENCE_DATA says."""
    place = Path(os.environ.get("STEDI_REFERENCE_DATA", PROJECT.parent / "shared/data/stedi"))
    if not place.is_dir():
        pytest.skip(f"the reference data are missing ({place}): the published counts are not checked here")
    return place
