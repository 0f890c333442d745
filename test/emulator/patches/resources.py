"""Resources that CloudFormation makes.

TimeToLiveSpecification of a table and ReservedConcurrentExecutions of a function, which the emulator takes and forgets, are applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import dynamodb, lambda_svc
from ministack.services.cloudformation import provisioners


def _time_to_live(table: str, properties: dict[str, Any]) -> None:
    if specification := properties.get("TimeToLiveSpecification"):
        enabled = str(specification.get("Enabled")).lower() == "true"
        dynamodb._update_ttl({"TableName": table, "TimeToLiveSpecification": {**specification, "Enabled": enabled}})


def _reserved_concurrency(function: str, properties: dict[str, Any]) -> None:
    if "ReservedConcurrentExecutions" in properties:
        lambda_svc._put_function_concurrency(function, {"ReservedConcurrentExecutions": int(properties["ReservedConcurrentExecutions"])})


def _after_create(kind: str, action: Callable[[str, dict[str, Any]], None]) -> None:
    create = provisioners._RESOURCE_HANDLERS[kind]["create"]

    def create_and_act(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        result = create(logical_id, properties, stack)
        action(result[0], properties)
        return result

    provisioners._RESOURCE_HANDLERS[kind]["create"] = create_and_act


def apply() -> None:
    """Puts the patches in place."""
    _after_create("AWS::DynamoDB::Table", _time_to_live)
    _after_create("AWS::Lambda::Function", _reserved_concurrency)
