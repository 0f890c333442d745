"""Lakes for tests: a landing folder, its claims as Plan would make them, and the jobs in their order, all in the tests' session."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from lakehouse import steps
from lakehouse.branches import branch_of
from lakehouse.contracts import LANDING_TABLES, MODEL_TABLES, PUBLISHED_TABLES, table_contract
from lakehouse.days import INPUTS
from lakehouse.lock import FileLock
from lakehouse.session import jvm
from lakehouse.tables import for_each
from pyspark.sql import DataFrame, SparkSession

Tables = dict[str, list[str]]


@dataclass
class Lake:
    """One lake: a folder, and a namespace of the session's catalog."""

    spark: SparkSession
    folder: Path
    namespace: str
    policies: dict[str, str] = field(default_factory=lambda: {"mlJoin": "person-and-time", "consentFrom": "any-time"})
    runs: int = 0
    claimed: set[tuple[str, str]] = field(default_factory=set)
    previous: str | None = None
    landing_folder: Path | None = None
    # What the jobs have logged.
    logged: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def landing(self) -> Path:
        return self.landing_folder or self.folder / "landing"

    @property
    def tables_folder(self) -> Path:
        """Where its tables are."""
        return Path(str(self.spark.conf.get("spark.sql.catalog.lake.warehouse"))) / self.namespace

    @property
    def definition(self) -> str:
        """Stands for the hash of policies, models, counts and contracts, of which only the policies change here."""
        return " ".join(self.policies.values())

    def land(self, key: str, content: str | bytes) -> None:
        """Puts a file into landing."""
        path = self.landing / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def pending(self) -> list[dict[str, Any]]:
        """File versions in landing that no run has claimed."""
        found = []
        for table in LANDING_TABLES:
            for path in sorted(path for path in (self.landing / table).rglob("*") if path.is_file()):
                stat = path.stat()
                key, version = str(path.relative_to(self.landing)), f"{stat.st_size}-{stat.st_mtime_ns}"
                if (key, version) not in self.claimed:
                    found.append({"table": table, "key": key, "version": version, "size": stat.st_size, "input": None})
        return found

    def plan(self, files: list[dict[str, Any]] | None = None, run_id: str | None = None) -> str:
        """Takes the lock for a new run and claims files: what is pending, if none are given."""
        self.runs += 1
        run_id = run_id or f"run-{self.runs}"
        files = self.pending() if files is None else files
        self.claimed |= {(file["key"], file["version"]) for file in files}
        manifest = {
            "runId": run_id,
            "fence": self.runs,
            "plannedAt": "2026-01-01T00:00:00.000Z",
            "reason": "files" if files else "definition",
            "definition": self.definition,
            "definitionChanged": self.previous is not None and self.read(self.previous, "manifest.json")["definition"] != self.definition,
            "previous": self.previous,
            "policies": self.policies,
            "files": files,
        }
        self.write(run_id, "manifest.json", manifest)
        self.take_lock(run_id, self.runs)
        return run_id

    def take_lock(self, run_id: str, fence: int) -> None:
        self.folder.joinpath("lock.json").write_text(json.dumps({"runId": run_id, "fence": fence, "publishing": False}))

    def job(self, step: str, run_id: str, fence: int | None = None) -> steps.Job:
        lake = str(self.folder)
        lock = FileLock(lake)
        held = lock.read()
        return steps.Job(step, run_id, fence or (held.fence if held else 1), lake, str(self.landing), lock, self.namespace)

    def step(self, step: str, run_id: str, **changed: Any) -> None:  # noqa: ANN401
        """Runs one job."""
        steps.run(self.spark, replace(self.job(step, run_id), **changed), lambda event, fields: self.logged.append((event, fields)))

    def run_steps(self, run_id: str, *names: str) -> None:
        """Runs these jobs."""
        for name in names:
            self.step(name, run_id)

    def build(self, run_id: str) -> None:
        """All jobs before Publish."""
        self.run_steps(run_id, *MODEL_TABLES)

    def run(self, files: list[dict[str, Any]] | None = None) -> str:
        """A whole run."""
        run_id = self.plan(files)
        self.run_steps(run_id, *steps.STEPS)
        self.previous = run_id
        return run_id

    def show(self, run_id: str, *tables: str) -> None:
        """Publishes some tables of a run, without the jobs that would come before."""
        for table in tables:
            self.spark.sql(f"CALL lake.system.fast_forward('{self.namespace}.{table}', 'main', '{branch_of(run_id)}')")

    def read(self, run_id: str, name: str) -> Any:  # noqa: ANN401
        return json.loads((self.folder / "runs" / run_id / name).read_text())

    def kept_rejects(self, run_id: str, landing_table: str) -> list[str]:
        """The lines that a run has left for a landing table's rejects."""
        file = self.folder / "runs" / run_id / f"rejects/{landing_table}.ndjson.gz"
        return gzip.decompress(file.read_bytes()).decode().removesuffix("\n").split("\n")

    def write(self, run_id: str, name: str, value: Any) -> None:  # noqa: ANN401
        path = self.folder / "runs" / run_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def built_days(self, run_id: str) -> dict[str, set[int] | None]:
        """The days that a run has rebuilt of each readings table, counted from 1970-01-01; None for all."""
        found: dict[str, set[int] | None] = {}
        for table in INPUTS:
            days = self.read(run_id, f"days/{table}.json")["days"]
            found[table] = None if days is None else {(date.fromisoformat(day) - date(1970, 1, 1)).days for day in days}
        return found

    def files(self, table: str) -> set[str]:
        """The data files of a table's published version."""
        return {row.file_path for row in self.spark.sql(f"select file_path from {self.full(table)}.files").collect()}

    def refresh(self) -> None:
        """Makes the session's catalog forget what it knows about tables that were changed without it."""
        for table in PUBLISHED_TABLES:
            self.spark.sql(f"refresh table {self.full(table)}")

    def full(self, table: str) -> str:
        return f"lake.{self.namespace}.{table}"

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table's published version."""
        return [row.asDict() for row in self.spark.table(self.full(table)).collect()]

    def of_run(self, run_id: str, table: str) -> DataFrame:
        """A run's version of a table."""
        return self.spark.read.option("branch", branch_of(run_id)).table(self.full(table))

    def counts(self) -> dict[str, int]:
        return for_each(PUBLISHED_TABLES, lambda table: self.spark.table(self.full(table)).count())

    def dump(self, tables: Sequence[str] = PUBLISHED_TABLES) -> Tables:
        """Published tables as sorted row texts, without run ids."""
        return for_each(tables, lambda table: sorted(row_text(table, row) for row in self.rows(table)))


def row_text(table: str, row: dict[str, Any]) -> str:
    """A row as text in the order of the contract: the same for both engines. Doubles are written as Python writes them."""
    return json.dumps([None if row[name] is None else write(row[name]) for name, write in _columns(table)], ensure_ascii=True)


@cache
def _columns(table: str) -> list[tuple[str, Callable[[Any], Any]]]:
    """A table's columns, and how each is written."""
    columns = table_contract(table).columns
    return [(column.name, _WRITTEN.get(column.type, str)) for column in columns if column.name != "run_id"]


_WRITTEN: dict[str, Callable[[Any], Any]] = {"DOUBLE": lambda value: repr(float(value)), "BIGINT": int}


class Snapshot:
    """A copy of a lake's folders: a test may do what it likes to the lake, and the next one finds it as it was."""

    def __init__(self, lake: Lake, place: Path) -> None:
        self._lake = lake
        self._place = place
        self._folders = {"lake": lake.folder, "tables": lake.tables_folder}
        for name, folder in self._folders.items():
            shutil.copytree(folder, place / name)

    def restore(self) -> Lake:
        """The lake as it was."""
        for name, folder in self._folders.items():
            shutil.rmtree(folder)
            shutil.copytree(self._place / name, folder)
        self._lake.refresh()
        return replace(self._lake, claimed=set(self._lake.claimed), logged=[])


def new_lake(spark: SparkSession, folder: Path, **options: Any) -> Lake:  # noqa: ANN401
    """A lake with a namespace of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    return Lake(spark, folder, f"lake_{os.urandom(6).hex()}", **options)


def stages_of(spark: SparkSession, work: Callable[[], object]) -> list[Any]:
    """What Spark reports about the stages of some work."""
    last = max(_stages(spark), default=-1)
    work()
    return [stage for number, stage in _stages(spark).items() if number > last]


def _stages(spark: SparkSession) -> dict[int, Any]:
    """All stages by their numbers, except old ones, which Spark forgets."""
    spark._jsc.sc().listenerBus().waitUntilEmpty()
    none = jvm(spark).java.util.ArrayList()
    no_quantiles = jvm(spark).java.lang.reflect.Array.newInstance(jvm(spark).java.lang.Double.TYPE, 0)
    found = spark._jsc.sc().statusStore().stageList(none, False, False, no_quantiles, none)
    return {one.stageId(): one for one in (found.apply(at) for at in range(found.size()))}
