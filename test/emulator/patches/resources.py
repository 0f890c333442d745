"""Resources that CloudFormation makes.

An alarm on an expression over several metrics, which the emulator refuses together with its whole stack, is taken and never made: the
emulator rings no alarm anyway.
"""

from __future__ import annotations

from typing import Any

from ministack.services.cloudformation import provisioners


def apply() -> None:
    """Puts the patch in place."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"]
    create, delete = handlers["create"], handlers["delete"]

    def create_known(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        if "Metrics" not in properties:
            return create(logical_id, properties, stack)
        name = properties["AlarmName"]
        return name, {"Arn": f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}"}

    def delete_known(physical_id: str, properties: dict[str, Any]) -> Any:
        return None if "Metrics" in properties else delete(physical_id, properties)

    handlers["create"], handlers["delete"] = create_known, delete_known
