"""Runs a script with a bundle on the path of this process alone: `driver.py BUNDLE SCRIPT …`.

This is the least that Glue does with `--extra-py-files`: Spark's Python workers find none of it unless the job sees to that.
"""

from __future__ import annotations

import os
import runpy
import sys

if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)  # or the workers would inherit it
    sys.path.insert(0, sys.argv[1])
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
