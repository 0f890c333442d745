"""Writes the zip that carries modules, contracts and SQL to a job: `python -m lakehouse.bundle FOLDER`, run in `glue/`.

Its name is the hash of its content, and the same content gives the same bytes: nothing is compressed, for that may differ between versions
of zlib. Settings are not in it: a job learns the policies of its run from the manifest, and what else it may know from its arguments.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

_FILES = ("lakehouse/*.py", "tables/*.json", "models/*.sql", "audits/*.sql", "counts/*.sql", "excepted/*.sql")


def bundle(root: Path) -> tuple[str, bytes]:
    """The name and the bytes of the bundle of a `glue/` folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for pattern in _FILES:
            for path in sorted(root.glob(pattern)):
                entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3  # Unix, wherever it is packed
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    content = buffer.getvalue()
    return f"lakehouse-{hashlib.sha256(content).hexdigest()[:16]}.zip", content


def main(folder: str) -> None:
    """Writes the bundle into a folder and prints its path."""
    name, content = bundle(Path(__file__).resolve().parents[1])
    place = Path(folder) / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    print(place)


if __name__ == "__main__":
    main(sys.argv[1])
