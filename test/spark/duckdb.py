"""The engine on one machine, as the tests call it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lakehouse.contracts import PUBLISHED_TABLES

from lakes import Tables, row_text

PROJECT = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).with_name("onDuckdb.ts")


def _call(*arguments: str) -> list[Any]:
    node = PROJECT / "node_modules" / ".bin" / "node"
    ended = subprocess.run([str(node), "--no-warnings", str(_SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    # Not splitlines, which would also split at a U+2028 in a text.
    return [json.loads(line) for line in ended.stdout.split("\n")[:-1]]


def run(folder: Path, landing: Path, policies: dict[str, str], wanted: Iterable[str] = PUBLISHED_TABLES) -> tuple[Path, Tables]:
    """One run of the engine on one machine over what is pending; returns the run's folder and the wanted tables."""
    settings = [f"{name}={value}" for name, value in policies.items()]
    first, *rows = _call("run", str(folder), str(landing), ",".join(wanted), *settings)
    tables: Tables = {table: [] for table in wanted}
    for row in rows:
        tables[row["table"]].append(row_text(row["table"], row["row"]))
    return folder / "runs" / first["run"], {table: sorted(texts) for table, texts in tables.items()}


def judge(lake: Path, run_id: str) -> dict[str, Any]:
    """The gate's judgement of a run on Spark, once its files have been parsed."""
    [judgement] = _call("judge", str(lake), run_id)
    return judgement


def generate(out: Path, customers: int, seed: int, dirty: bool) -> dict[str, Any]:
    """Sample landing files."""
    [generated] = _call("generate", str(out), str(customers), str(seed), "dirty" if dirty else "clean")
    return generated


def add_dirty(landing: Path, aside: Path, customers: int, seed: int) -> dict[str, Any]:
    """Adds sample landing files with every defect to those that are there; returns what the generator says about them."""
    generated = generate(aside, customers, seed, dirty=True)
    for path in [path for path in aside.rglob("*") if path.is_file()]:
        place = landing / path.parent.name / f"dirty-{path.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    return generated


def damage(out: Path, files: int, seed: int) -> None:
    """Landing files with all kinds of damage to their bytes."""
    _call("damage", str(out), str(files), str(seed))


def bundle(folder: Path) -> Path:
    """Puts the jobs' bundle, as it is deployed, into a folder."""
    [place] = _call("bundle", str(folder))
    return Path(place)
