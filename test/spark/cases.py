"""The staging cases of test/cases, read as its load.ts reads them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lakehouse.contracts import table_contract

FOLDER = Path(__file__).resolve().parents[1] / "cases"
STAGED = ("customer_staging", "accelerometer_staging", "step_trainer_staging")


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as far as the cases go: only true and false are booleans, and 5e-324 is a number; dates stay text."""


_Loader.yaml_implicit_resolvers = {
    char: [(tag, pattern) for tag, pattern in resolvers if tag in {"tag:yaml.org,2002:null", "tag:yaml.org,2002:int"}]
    for char, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _resolver(tag: str, pattern: str, first: str) -> None:
    import re

    _Loader.add_implicit_resolver(tag, re.compile(pattern), list(first))


_resolver("tag:yaml.org,2002:bool", r"^(?:true|false)$", "tf")
_resolver("tag:yaml.org,2002:float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")


@dataclass(frozen=True)
class CaseFile:
    table: str
    key: str
    version: str
    run: int
    content: bytes


@dataclass(frozen=True)
class Case:
    name: str
    files: tuple[CaseFile, ...]
    loads: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    staged: dict[str, list[dict[str, Any]]]


def load_cases() -> list[Case]:
    """All cases, named `<theme>: <name>`."""
    cases = []
    for path in sorted(FOLDER.glob("*.yaml")):
        written = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        cases += [_case(path.stem, one) for one in written]
    return cases


def _case(theme: str, written: dict[str, Any]) -> Case:
    files = tuple(
        CaseFile(
            table=file["table"],
            key=file.get("key", f"{file['table']}/file.json"),
            version=file.get("version", "v1"),
            run=file.get("run", 1),
            content=file["text"].encode() if "text" in file else b"".join(map(_bytes, file["bytes"])),
        )
        for file in written["files"]
    )
    expect = written["expect"]
    staged = expect.get("staged", {})
    return Case(
        name=f"{theme}: {written['name']}",
        files=files,
        loads=[{**_place(files, load), **load} for load in expect["loads"]],
        rejected=[{"field": None, "encoding": "utf-8", **_place(files, row), **row} for row in expect.get("rejected", [])],
        staged={table: [_complete(table, row) for row in staged.get(table, [])] for table in STAGED},
    )


def _bytes(piece: dict[str, Any]) -> bytes:
    match piece:
        case {"text": text}:
            return text.encode()
        case {"hex": digits}:
            return bytes.fromhex(str(digits))
        case {"repeat": text, "times": times}:
            return str(text).encode() * times
        case _:
            packed = gzip.compress(piece["gzip"].encode())
            return packed[: len(packed) - piece.get("cut", 0)]


def _place(files: tuple[CaseFile, ...], row: dict[str, Any]) -> dict[str, Any]:
    version = row.get("version", "v1")
    meant = [file for file in files if file.version == version and row.get("file", file.key) == file.key]
    first = min(meant, key=lambda file: file.run)
    return {"landing_table": first.table, "file": first.key, "version": first.version, "run_id": f"run-{first.run}"}


def _complete(table: str, row: dict[str, Any]) -> dict[str, Any]:
    return {column.name: row.get(column.name) for column in table_contract(table).columns}
