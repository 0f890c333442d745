"""Why a job failed, in one line that says nothing about the people in the data: it goes into logs and into alerts.

Our own errors name keys, tables and runs, and are passed on in full. Others quote what they stumbled over, which may be a record.
"""

from __future__ import annotations

import re
from typing import Any

from lakehouse.errors import JobError

# An apostrophe inside a word neither opens nor closes a quotation; one that is never closed goes to the end.
_QUOTED = re.compile(r"""(?P<quote>(?<!\w)'|["`]).*?(?:(?P=quote)(?!\w)|$)""")
# Not every message uses quotes. The pattern tries each word once, from its start: a record may be one word of any length.
_ADDRESS = re.compile(r"(?<!\S)\S+@\S+")
_TRACEBACK = "Traceback (most recent call last):"
# Some messages begin on the line below the name of their class.
_BREAK = re.compile(r":\s*\n\s*")


def reason(error: Exception) -> str:
    """One line that says what went wrong, and what its deepest cause was if Spark or Iceberg names one."""
    if isinstance(error, JobError):
        return str(error) if type(error) is JobError else f"{type(error).__name__}: {error}"
    java = getattr(error, "java_exception", None)
    own = [] if java is not None else [f"{type(error).__name__}: {str(error).strip() or 'no message'}"]
    # PySpark has names of its own for the Java errors that it knows.
    below = _chain(java) if java is not None else _chain(getattr(error, "_origin", None))[1:]
    lines = [_line(text) for text in (*own, *below)]
    return " - caused by ".join(dict.fromkeys([lines[0], lines[-1]]))


def _chain(java: Any) -> list[str]:  # noqa: ANN401 - Java's Throwable
    """The text of each error in a chain of causes."""
    found = []
    while java is not None:
        found.append(str(java.toString()))
        java = java.getCause()
    return found


def _line(text: str) -> str:
    """The first line of `<class>: <message>`, without what it quotes."""
    start, found, trace = text.partition(_TRACEBACK)
    if found:  # an error in a Python worker: the first line that is not indented is the error itself
        own = [line for line in trace.splitlines() if line and not line[0].isspace()]
        text = f"{start.partition(':')[0]}: {own[0] if own else 'no message'}"
    line = _BREAK.sub(": ", text.strip(), count=1).splitlines()[0]
    return _ADDRESS.sub("…", _QUOTED.sub("…", line))
