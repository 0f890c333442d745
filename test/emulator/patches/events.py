"""Events.

- "Object Created" of a versioned bucket carries `object.version-id`; the emulator leaves it out.
- EventBridge calls a Lambda function asynchronously, as AWS does: retries, then the function's destination. The emulator calls it once.
"""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import Callable
from typing import Any

from ministack.services import eventbridge, lambda_svc, s3

_log = logging.getLogger("emulator.events")
_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version", default=None)


def _remember_version(fire: Callable[..., Any]) -> Callable[..., Any]:
    def fire_s3_event(*args: Any, version_id: str | None = None, **kwargs: Any) -> Any:
        token = _version.set(version_id)
        try:
            return fire(*args, version_id=version_id, **kwargs)
        finally:
            _version.reset(token)

    return fire_s3_event


def _add_version(dispatch: Callable[..., Any]) -> Callable[..., Any]:
    def dispatch_event(event: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if event.get("Source") == "aws.s3" and _version.get():
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = _version.get()
            event = {**event, "Detail": json.dumps(detail)}
        return dispatch(event, *args, **kwargs)

    return dispatch_event


def _to_function(arn: str, payload: str) -> None:
    function, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not function or not config:
        _log.error("no function %s for an event", name)
        return
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), json.loads(payload))


def apply() -> None:
    """Puts the patches in place."""
    s3._fire_s3_event = _remember_version(s3._fire_s3_event)
    eventbridge._dispatch_event = _add_version(eventbridge._dispatch_event)
    eventbridge._dispatch_to_lambda = _to_function
