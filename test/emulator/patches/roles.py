"""Roles, where the emulator enforces them.

- Requests to it come without TLS, from this machine to itself. To the policies they count as encrypted: the buckets refuse all others.
- The resource of a call about a Glue table is that table. The emulator takes only the database for the resource, and a database's name
  for that of a table.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions, iam_evaluator


def _glue_name(action: str, request: dict[str, Any]) -> str | None:
    """`database/…` or `table/…/…`; None for what the emulator knows by itself."""
    if action == "GetDatabase":
        return f"database/{request['Name']}"
    table = request.get("Name") or request.get("TableInput", {}).get("Name")
    return f"table/{request['DatabaseName']}/{table}" if "DatabaseName" in request and table else None


def apply() -> None:
    """Puts the patches in place."""
    resolve, resource_of = iam_evaluator._resolve_condition_key, iam_actions.extract_resource_arn

    def resolve_as_encrypted(key: str, context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    def glue_resource_of(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], region: str, account: str
    ) -> str:
        name = None
        if service == "glue":
            name = _glue_name(headers.get("x-amz-target", "").rsplit(".", 1)[-1], json.loads(body or b"{}"))
        if name is not None:
            return f"arn:aws:glue:{region}:{account}:{name}"
        return resource_of(service, method, path, headers, body, query, region, account)

    iam_evaluator._resolve_condition_key = resolve_as_encrypted
    iam_actions.extract_resource_arn = glue_resource_of
