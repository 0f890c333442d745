"""The AWS emulator (MiniStack), with what it lacks for this service or does differently from AWS.

Each module of `patches` mends one service and says why. What is patched here is not proven by tests on the emulator: docs/testing.md
lists it. Environment, besides MiniStack's own: GLUE_RUNNER and the others of patches/glue.py; STEDI_EMULATOR_PARENT, the id of a
process with which the emulator ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from importlib.metadata import version

from ministack.app import main

import patches.events
import patches.functions
import patches.glue
import patches.roles
import patches.state_machines

KNOWN = "1.5.33"


def _end_with(parent: int) -> None:
    """Ends this process, as a signal would, when the one that started it is gone: a killed test must not leave an emulator behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    patches.glue.kill_all()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)
    os._exit(1)


def launch() -> None:
    """Patches the emulator and runs it until it is stopped."""
    found = version("ministack")
    if found != KNOWN:
        sys.exit(f"ministack {found}: the patches lean on the insides of {KNOWN}; check each of them, then change KNOWN")
    for patch in (patches.glue, patches.state_machines, patches.events, patches.functions, patches.roles):
        patch.apply()
    if parent := os.environ.get("STEDI_EMULATOR_PARENT"):
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    try:
        main()
    finally:
        patches.glue.kill_all()


if __name__ == "__main__":
    launch()
