"""The Spark session: which settings it needs, and which of them must be set before it starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from lakehouse import storage
from lakehouse.sources import SOURCES

CATALOG = "lake"
NAMESPACE = "stedi"

# Outside Glue. From a disk, reading manifests one by one is faster than a pool of threads, because Iceberg checks only every 10 ms whether
# the pool is done; from S3 the pool is worth it.
JAVA_OPTIONS = "-Duser.timezone=UTC -Diceberg.scan.plan-in-worker-pool=false"

# What a job can still set once its session exists.
RUNTIME: dict[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    # In dynamic mode a withdrawn person's day would survive, and an empty result would change nothing.
    "spark.sql.sources.partitionOverwriteMode": "static",
    # Small pieces of a shuffle are combined for one task up to this size. It is their compressed size in the shuffle; in memory they take
    # several times as much.
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",
    # One task reads up to 128 small files (by default 32), and 32 tasks check whether the files exist (by default one for each file).
    "spark.sql.files.openCostInBytes": "1m",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "32",
}

# In Glue besides: into how many pieces a shuffle is cut before small ones are combined. Pieces to be sorted are not split, so beyond 32 GB
# a task sorts more than the size above. Glue itself would cut into as many as its workers have cores, 36 for ten G.1X. Of more than 2,000
# Spark would only keep rough sizes. Two cores need few, and small runs are quicker with few.
IN_GLUE = {"spark.sql.adaptive.coalescePartitions.initialPartitionNum": "2000"}


def static_settings(lake: str) -> dict[str, str]:
    """The settings that must be set before the session starts: in a Glue job by `--conf`, elsewhere by `start`.

    A lake on S3 is catalogued in the Glue Data Catalog, one in a folder by its folders.
    """
    catalog = f"spark.sql.catalog.{CATALOG}"
    settings = {
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.warehouse": storage.join(lake, "warehouse"),
        "spark.sql.defaultCatalog": CATALOG,
    }
    if not storage.is_s3(lake):
        return {**settings, f"{catalog}.type": "hadoop"}
    return {
        **settings,
        f"{catalog}.catalog-impl": "org.apache.iceberg.aws.glue.GlueCatalog",
        f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
    }


def endpoint_settings(endpoint: str) -> dict[str, str]:
    """Settings for a service that stands in for AWS at another endpoint; credentials come from the usual environment variables."""
    catalog, s3a = f"spark.sql.catalog.{CATALOG}", "spark.hadoop.fs.s3a"
    return {
        f"{catalog}.glue.endpoint": endpoint,
        f"{catalog}.s3.endpoint": endpoint,
        f"{catalog}.s3.path-style-access": "true",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        f"{s3a}.endpoint": endpoint,
        f"{s3a}.path.style.access": "true",
        f"{s3a}.connection.ssl.enabled": str(endpoint.startswith("https")).lower(),
    }


def start(lake: str, extra: dict[str, str] | None = None) -> SparkSession:
    """A session on this lake's tables.

    Under spark-submit, as in a Glue job, the static settings are those of `--conf`. Elsewhere they are set here; then the environment says
    where the jars are (`STEDI_SPARK_JARS`, a folder), how many cores to take (`STEDI_SPARK_CORES`) and how much memory
    (`STEDI_SPARK_MEMORY`).
    """
    builder = SparkSession.builder.appName("stedi")
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not is_submitted:
        for name, value in {**_local_settings(), **static_settings(lake), **_endpoint(lake), **(extra or {})}.items():
            builder = builder.config(name, value)
    spark = builder.getOrCreate()
    _give_to_workers(spark)
    for name, value in {**RUNTIME, **(IN_GLUE if is_submitted else {})}.items():
        spark.conf.set(name, value)
    return spark


def _give_to_workers(spark: SparkSession) -> None:
    """Ships the bundle to Spark's Python workers, which import modules from it.

    About `--extra-py-files` AWS promises only that the driver finds them
    (https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html).
    """
    if SOURCES.is_file() and not Path(SparkFiles.get(SOURCES.name)).exists():
        spark.sparkContext.addPyFile(str(SOURCES))


def use_namespace(spark: SparkSession, namespace: str = NAMESPACE) -> None:
    """Makes bare table names mean the lake's tables."""
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {CATALOG}.{namespace}")
    spark.sql(f"USE {CATALOG}.{namespace}")


def jvm(spark: SparkSession) -> Any:  # noqa: ANN401 - whatever is on the class path
    """Java's packages, for what Spark and Iceberg offer only there."""
    return spark._jvm


def _endpoint(lake: str) -> dict[str, str]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return endpoint_settings(endpoint) if endpoint and storage.is_s3(lake) else {}


def _local_settings() -> dict[str, str]:
    cores = os.environ.get("STEDI_SPARK_CORES", "2")
    if SOURCES.is_dir():
        # The JVM starts Python workers with the environment that it was started with itself.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCES), os.environ.get("PYTHONPATH")]))
    return {
        "spark.master": f"local[{cores}]",
        # On the class path, as in Glue. A class from `spark.jars` would be looked for in all of Spark's jars first, each time.
        "spark.driver.extraClassPath": os.path.join(os.environ.get("STEDI_SPARK_JARS", "jars"), "*"),
        "spark.driver.memory": os.environ.get("STEDI_SPARK_MEMORY", "1g"),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": cores,
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": os.path.join(tempfile.gettempdir(), "stedi-spark-warehouse"),
        "spark.driver.extraJavaOptions": f"{JAVA_OPTIONS} -XX:+UseParallelGC",
    }
