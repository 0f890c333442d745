"""A run over a landing folder of 1 GB, a tenth of it dirty, in a process of its own with little memory: prints the outcome as JSON.

python large.py FOLDER SEED
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "glue"), str(Path(__file__).resolve().parent)]

from lakehouse import session  # noqa: E402
from lakehouse.contracts import LANDING_TABLES  # noqa: E402
from lakehouse.steps import STEPS  # noqa: E402

import duckdb  # noqa: E402
from lakes import new_lake, stages_of  # noqa: E402

CLEAN, DIRTY = 80_000, 8_000


def main(folder: Path, seed: int) -> None:
    spark = session.start(str(folder))
    spark.sparkContext.setLogLevel("ERROR")
    lake = new_lake(spark, folder / "lake")
    generated = [
        duckdb.generate(lake.landing, CLEAN, seed, dirty=False),
        duckdb.add_dirty(lake.landing, folder / "dirty", DIRTY, seed + 1),
    ]
    run_id = lake.plan()
    stages = stages_of(spark, lambda: lake.run_steps(run_id, *STEPS))
    found = {
        "bytes": sum(path.stat().st_size for path in lake.landing.rglob("*.*")),
        "generated": {
            name: {table: sum(each[name].get(table, 0) for each in generated) for table in LANDING_TABLES}
            for name in ("records", "rejected")
        },
        "loads": lake.read(run_id, "metrics/audits.json")["loads"],
        "memory": session.jvm(spark).java.lang.Runtime.getRuntime().maxMemory(),
        "sentToDriver": sum(stage.resultSize() for stage in stages),
    }
    print(json.dumps(found))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
