"""Lambda functions.

An error of a Node handler keeps its own name as errorType, by which Catch and Retry of a state machine tell errors apart; the emulator
calls all of them Runtime.HandlerError.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

_ANSWER = 'status: "error", error: String(err.message || err), trace: err.stack || ""'
_last = threading.local()


def _keep_type(invoke: Callable[..., Any]) -> Callable[..., Any]:
    def worker_invoke(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = invoke(self, *args, **kwargs)
        _last.error_type = result.get("errorType")
        return result

    return worker_invoke


def _tell_type(execute: Callable[..., Any]) -> Callable[..., Any]:
    def execute_function_warm(*args: Any, **kwargs: Any) -> Any:
        _last.error_type = None
        result = execute(*args, **kwargs)
        if result.get("error") and _last.error_type and isinstance(result.get("body"), dict):
            result["body"]["errorType"] = _last.error_type
        return result

    return execute_function_warm


def apply() -> None:
    """Puts the patches in place."""
    script = lambda_runtime._NODEJS_WORKER_SCRIPT
    if _ANSWER not in script:
        raise RuntimeError("the emulator's Node worker answers in another way than expected; check patches/functions.py")
    lambda_runtime._NODEJS_WORKER_SCRIPT = script.replace(_ANSWER, _ANSWER + ', errorType: err.name || "Error"')
    lambda_runtime.Worker.invoke = _keep_type(lambda_runtime.Worker.invoke)
    lambda_svc._execute_function_warm = _tell_type(lambda_svc._execute_function_warm)
