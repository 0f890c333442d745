"""The Iceberg tables, made from their contracts, and what Iceberg knows of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lakehouse.contracts import PUBLISHED_TABLES, TableContract, table_contract
from lakehouse.errors import LakeUnusableError
from lakehouse.session import CATALOG, jvm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyspark.sql import SparkSession

# Iceberg's own Java objects.
IcebergTable: TypeAlias = Any
Snapshot: TypeAlias = Any

Found = TypeVar("Found")

TARGET_FILE_BYTES = 128 * 1024 * 1024


def ensure_tables(spark: SparkSession, namespace: str, tables: Sequence[str] = PUBLISHED_TABLES) -> None:
    """Creates missing tables and adds the columns that contracts have gained.

    Raises LakeUnusableError when a contract has lost or retyped a column that the table has.
    """
    existing = {row.tableName for row in spark.sql(f"SHOW TABLES IN {CATALOG}.{namespace}").collect()}

    def ensure(table: str) -> None:
        create_or_evolve = _evolve if table in existing else _create
        create_or_evolve(spark, namespace, table_contract(table))

    for_each(tables, ensure)


def for_each(tables: Sequence[str], work: Callable[[str], Found]) -> dict[str, Found]:
    """What the work finds for each table, all at the same time: most of it is waiting for the catalog and a table's metadata files."""
    with ThreadPoolExecutor() as threads:
        return dict(zip(tables, threads.map(work, tables), strict=True))


def iceberg_table(spark: SparkSession, namespace: str, table: str) -> IcebergTable:
    """The table as Iceberg knows it at this moment.

    Its collections are best read with `toArray()`: py4j ends a loop over one with a Java exception, which takes 20 ms.
    """
    iceberg = jvm(spark).org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, full_name(namespace, table))
    iceberg.refresh()
    return iceberg


def snapshot_id(snapshot: Snapshot | None) -> int | None:
    """Its number; None for None."""
    return None if snapshot is None else snapshot.snapshotId()


def versions(iceberg: IcebergTable, snapshot: Snapshot | None) -> Iterator[Snapshot]:
    """A snapshot and its ancestors, the latest first; nothing for None."""
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parentId()
        snapshot = None if parent is None else iceberg.snapshot(parent)


def summary_entry(snapshot: Snapshot | None, name: str) -> str | None:
    """The entry of this name in a snapshot's summary; None if it has none, or if there is no snapshot."""
    return None if snapshot is None else snapshot.summary().get(name)


def full_name(namespace: str, table: str) -> str:
    """The name under which a table's metadata tables and branches are found."""
    return f"{CATALOG}.{namespace}.{table}"


def _create(spark: SparkSession, namespace: str, contract: TableContract) -> None:
    name = full_name(namespace, contract.table)
    # Iceberg keeps the format version apart from a table's properties: if `_evolve` compared it, it would always look changed.
    properties = {"format-version": "2", **_properties(contract)}
    columns = ", ".join(f"`{column.name}` {column.type} COMMENT {_literal(column.comment)}" for column in contract.columns)
    partitioned = f"PARTITIONED BY (`{contract.partition}`)" if contract.partition else ""
    spark.sql(
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) USING iceberg {partitioned} "
        f"COMMENT {_literal(contract.grain)} TBLPROPERTIES ({_listed(properties)})"
    )
    _order(spark, name, contract)


def _order(spark: SparkSession, name: str, contract: TableContract) -> None:
    if not contract.sort:
        return
    distributed = "DISTRIBUTED BY PARTITION " if contract.partition else ""
    sort = ", ".join(f"`{column}`" for column in contract.sort)
    spark.sql(f"ALTER TABLE {name} WRITE {distributed}LOCALLY ORDERED BY {sort}")


def _listed(properties: dict[str, str]) -> str:
    return ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())


def _properties(contract: TableContract) -> dict[str, str]:
    measured = dict.fromkeys((*contract.sort, *([contract.partition] if contract.partition else [])))
    return {
        "write.wap.enabled": "true",
        "write.delete.mode": "copy-on-write",
        "write.update.mode": "copy-on-write",
        "write.merge.mode": "copy-on-write",
        "write.target-file-size-bytes": str(TARGET_FILE_BYTES),
        "write.parquet.compression-codec": "zstd",
        # Lower and upper bounds where joins and the reading date use them; elsewhere they would be a copy of people's data.
        "write.metadata.metrics.default": "counts",
        **{f"write.metadata.metrics.column.{column}": "full" for column in measured},
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "20",
    }


def _evolve(spark: SparkSession, namespace: str, contract: TableContract) -> None:
    name = full_name(namespace, contract.table)
    existing = {field.name: field.dataType.simpleString().upper() for field in spark.table(name).schema.fields}
    wanted = {column.name: column.type for column in contract.columns}
    for there, type_ in existing.items():
        _check_column(contract.table, there, type_, wanted.get(there))
    for column in contract.columns:
        if column.name not in existing:
            spark.sql(f"ALTER TABLE {name} ADD COLUMNS (`{column.name}` {column.type} COMMENT {_literal(column.comment)})")
    # A job killed between making a table and setting its order leaves one without an order; a later version may want other settings.
    iceberg = iceberg_table(spark, namespace, contract.table)
    found = iceberg.properties()
    changed = {key: value for key, value in _properties(contract).items() if found.get(key) != value}
    if changed:
        spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ({_listed(changed)})")
    ordered = [iceberg.schema().findColumnName(field.sourceId()) for field in iceberg.sortOrder().fields().toArray()]
    if ordered != list(contract.sort):
        _order(spark, name, contract)


def _check_column(table: str, column: str, found: str, wanted: str | None) -> None:
    if wanted is None:
        raise LakeUnusableError(
            f"glue/tables/{table}.json no longer has the column {column} that the table has; keep it, or rebuild the lake elsewhere"
        )
    if wanted != found:
        raise LakeUnusableError(
            f"glue/tables/{table}.json: {column} is {wanted}, but the table has {found}; a column can't change its type, so add a new one"
        )


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
