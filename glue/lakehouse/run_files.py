"""`<lake>/runs/<runId>/`: the claim that a job reads and the metrics that it leaves, in the shapes of functions/core/runFiles.ts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lakehouse import storage
from lakehouse.errors import LakeUnusableError, LockLostError


@dataclass(frozen=True)
class ManifestFile:
    """One claimed file version."""

    table: str
    key: str
    version: str
    size: int
    input: str | None


@dataclass(frozen=True)
class Manifest:
    """The claim of a run, and the policies it runs under."""

    definition: str
    # Whether the last published run had another one.
    definition_changed: bool
    ml_join: str
    consent_from: str
    files: tuple[ManifestFile, ...]


class RunFiles:
    """What one run leaves behind, below the lake."""

    def __init__(self, lake: str, run_id: str) -> None:
        self._lake = lake
        self.run_id = run_id
        self.folder = storage.join(lake, "runs", run_id)

    def manifest(self) -> Manifest:
        """The claim.

        Raises LockLostError when there is none.
        """
        value = self.read("manifest.json")
        if value is None:
            raise LockLostError(f"runs/{self.run_id}/manifest.json is missing: Plan did not finish; start a new run")
        policies = value["policies"]
        return Manifest(
            definition=value["definition"],
            definition_changed=value["definitionChanged"],
            ml_join=policies["mlJoin"],
            consent_from=policies["consentFrom"],
            files=tuple(ManifestFile(file["table"], file["key"], file["version"], file["size"], file["input"]) for file in value["files"]),
        )

    def of(self, run_id: str) -> RunFiles:
        """The files of another run."""
        return RunFiles(self._lake, run_id)

    def read(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """A JSON file of the run; None when there is none."""
        text = storage.read_text(storage.join(self.folder, name))
        return None if text is None else json.loads(text)

    def expect(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """A JSON file that an earlier job of the run has left.

        Raises LakeUnusableError when it is missing.
        """
        found = self.read(name)
        if found is None:
            raise LakeUnusableError(f"runs/{self.run_id}/{name} is missing: an earlier step did not run; start a new run")
        return found

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Writes a JSON file, in the same form as on one machine."""
        storage.write_text(storage.join(self.folder, name), json.dumps(value, indent=2, ensure_ascii=False) + "\n")
