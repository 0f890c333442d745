"""What runs in Spark's Python workers calls this first."""

from __future__ import annotations

import functools
import sys
from zipimport import zipimporter


def forget_archives() -> None:
    """Makes the import system forget the archives that it has looked through; an import that needs one opens it again.

    Before each task Spark has Python check everything it remembers. For an archive, Python 3.11 then reads the whole list of contents
    (https://github.com/python/cpython/issues/103200), and one of Spark's, a jar, holds five thousand names: 0.2 s for each task.
    """
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimporter):
            del sys.path_importer_cache[path]


@functools.cache
def forget_archives_once() -> None:
    """The same, for functions that are called for every row."""
    forget_archives()
