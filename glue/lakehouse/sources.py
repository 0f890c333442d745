"""The files that jobs are made of besides Python: contracts and SQL, in a checkout or inside the bundle."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

# The folder `glue/`, or the bundle.
SOURCES = Path(__file__).resolve().parents[1]


@cache
def read_folder(folder: str, suffix: str) -> dict[str, str]:
    """The texts of all files with this suffix in a folder below `glue/`, by name without the suffix, sorted by name.

    Inside a job the folder is in the bundle: a zip on `sys.path` that contains `__file__`.
    """
    if SOURCES.is_dir():
        found = {path.stem: path.read_text(encoding="utf-8") for path in (SOURCES / folder).glob(f"*{suffix}")}
    else:
        with zipfile.ZipFile(SOURCES) as bundle:
            names = [name for name in bundle.namelist() if name.startswith(f"{folder}/") and name.endswith(suffix)]
            found = {Path(name).stem: bundle.read(name).decode("utf-8") for name in names}
    if not found:
        raise FileNotFoundError(f"{folder}/*{suffix} is missing beside the job's modules")
    return dict(sorted(found.items()))


def sql_files(folder: str) -> dict[str, str]:
    """The SQL texts of `models`, `audits`, `counts` or `excepted`, by name."""
    return read_folder(folder, ".sql")
