"""The run lock, as far as a job needs it: to check that the run still holds it, and to mark that the run is publishing.

On AWS it is an item of the ledger table: `{pk: "lock", run_id: S, fence: N, publishing: BOOL}`. For jobs over a folder it
is `<lake>/lock.json`: `{"runId", "fence", "publishing"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from lakehouse import storage
from lakehouse.errors import LockLostError


@dataclass(frozen=True)
class Holder:
    """Who holds the lock."""

    run_id: str
    fence: int
    publishing: bool


class RunLock(Protocol):
    """What a job needs of the lock."""

    def read(self) -> Holder | None:
        """Who holds it; None when it is free."""

    def mark_publishing(self, run_id: str, fence: int) -> None:
        """Marks that publish begins, in one conditional write.

        Raises LockLostError if another run, or none, holds the lock, or if the run was settled because its execution has ended.
        """


def check(lock: RunLock, run_id: str, fence: int) -> Holder:
    """Makes sure that the run holds the lock.

    Raises LockLostError when it does not.
    """
    holder = lock.read()
    if holder is None or (holder.run_id, holder.fence) != (run_id, fence):
        raise _lost(holder, run_id, fence)
    return holder


def _lost(holder: Holder | None, run_id: str, fence: int) -> LockLostError:
    if holder is not None and (holder.run_id, holder.fence) == (run_id, fence):
        return LockLostError(f"{run_id} (fence {fence}) may no longer publish, because its execution has ended; start a new run")
    where = "free" if holder is None else f"with {holder.run_id} (fence {holder.fence})"
    return LockLostError(f"{run_id} (fence {fence}) does not hold the run lock: it is {where}; start a new run")


class FileLock:
    """The lock as a file of a lake in a folder."""

    def __init__(self, lake: str) -> None:
        self._place = storage.join(lake, "lock.json")

    def read(self) -> Holder | None:
        text = storage.read_text(self._place)
        if text is None:
            return None
        value = json.loads(text)
        return Holder(value["runId"], value["fence"], value["publishing"])

    def mark_publishing(self, run_id: str, fence: int) -> None:
        check(self, run_id, fence)
        storage.write_text(self._place, json.dumps({"runId": run_id, "fence": fence, "publishing": True}))


class TableLock:
    """The lock as an item of the ledger table; AWS."""

    def __init__(self, table: str) -> None:
        self._table = table

    def read(self) -> Holder | None:
        found = self._client().get_item(TableName=self._table, Key={"pk": {"S": "lock"}}, ConsistentRead=True).get("Item")
        if found is None or "run_id" not in found:
            return None
        return Holder(found["run_id"]["S"], int(found["fence"]["N"]), found.get("publishing", {}).get("BOOL", False))

    def mark_publishing(self, run_id: str, fence: int) -> None:
        client = self._client()
        try:
            client.update_item(
                TableName=self._table,
                Key={"pk": {"S": "lock"}},
                UpdateExpression="SET publishing = :true",
                ConditionExpression="run_id = :run AND fence = :fence AND (attribute_not_exists(settled) OR publishing = :true)",
                ExpressionAttributeValues={":true": {"BOOL": True}, ":run": {"S": run_id}, ":fence": {"N": str(fence)}},
            )
        except client.exceptions.ConditionalCheckFailedException:
            raise _lost(self.read(), run_id, fence) from None

    def _client(self) -> Any:  # noqa: ANN401 - boto3 has no types of its own
        import boto3

        return boto3.client("dynamodb")
