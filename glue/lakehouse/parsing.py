"""From lines to typed records: clean lines by Spark's own functions, all others by records.py, which also says what is rejected."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses
from pyspark.sql import types as T  # noqa: N812

from lakehouse.lines import ANY_LENGTH, has_shape
from lakehouse.records import LONGEST_LINE, judge_line
from lakehouse.workers import forget_archives_once

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

    from lakehouse.contracts import LandingContract
    from lakehouse.landing import LandingFile
    from lakehouse.lines import Lines
    from lakehouse.shapes import Shape

_TYPE: dict[str, T.DataType] = {
    "text": T.StringType(),
    "email": T.StringType(),
    "integer": T.LongType(),
    "time": T.LongType(),
    "consent": T.LongType(),
    "double": T.DoubleType(),
}


def clean_records(
    spark: SparkSession, contract: LandingContract, lines: Lines, files: list[LandingFile], dirty: list[LandingFile]
) -> DataFrame:
    """Clean lines as typed records with the number of their file. Files that are not dirty are known to have clean lines only."""
    records = []
    by_line = {file.number for file in dirty} | {file.number for file in files if not file.native}
    for shape in lines.shapes:
        schema = _schema_of(contract, shape)
        alike = [file for file in files if lines.shape(file) == shape]
        as_json = [file for file in alike if file.number not in by_line]
        as_text = [file for file in alike if file.number in by_line]
        if as_json:
            records.append(_typed(contract, lines.native_records(as_json, schema), shape))
        if as_text:
            clean = lines.of(as_text).where(has_shape(shape))
            fields = clean.select("file", F.from_json("value", schema, ANY_LENGTH).alias("record")).select("file", "record.*")
            records.append(_typed(contract, fields, shape))
    return reduce(DataFrame.unionByName, records) if records else _none(spark, contract)


def judged_values(contract: LandingContract, lines: Lines, files: list[LandingFile]) -> DataFrame:
    """Every value of the lines that are not clean: a record, or a rejected one with its reason."""
    outcome = _judge_udf(contract)
    limited = F.when(F.octet_length("value") <= LONGEST_LINE, F.col("value").cast("binary"))
    return (
        lines.of(files)
        .where(~lines.is_clean())
        .select("file", "block", "row", F.explode(outcome(limited)).alias("outcome"))
        .select("file", "block", "row", "outcome.*")
    )


def judged_records(judged: DataFrame) -> DataFrame:
    """The records among judged values."""
    return judged.where(F.col("reason").isNull()).select("values.*", "file")


def _rules(contract: LandingContract) -> dict[str, str]:
    return {column.name: column.rule for column in contract.columns}


def _schema_of(contract: LandingContract, shape: Shape) -> T.StructType:
    rules = _rules(contract)
    return T.StructType([T.StructField(name, _TYPE[rules[column]]) for column, name in shape.spelling])


def _typed(contract: LandingContract, fields: DataFrame, shape: Shape) -> DataFrame:
    """From the fields of clean lines, as they are spelled there, to columns."""
    rules = _rules(contract)
    return fields.select(*[_clean_value(rules[column], F.col(f"`{name}`")).alias(column) for column, name in shape.spelling], "file")


def _none(spark: SparkSession, contract: LandingContract) -> DataFrame:
    fields = [T.StructField(column.name, _TYPE[column.rule]) for column in contract.columns]
    return spark.createDataFrame([], T.StructType([*fields, T.StructField("file", T.IntegerType())]))


def _clean_value(rule: str, field: Column) -> Column:
    """From a field of a clean line to the column's value."""
    match rule:
        case "email":
            return F.lower(field)  # in a clean line it is ASCII, where lower() only maps A–Z to a–z
        case "consent":
            return F.when(field != 0, field)
        case "double":
            return field + F.lit(0.0)  # -0 becomes 0
        case _:
            return field


def _judge_udf(contract: LandingContract) -> Any:  # noqa: ANN401 - a Spark user-defined function
    values = T.StructType([T.StructField(column.name, _TYPE[column.rule]) for column in contract.columns])
    outcome = T.StructType(
        [
            T.StructField("position", T.IntegerType()),
            T.StructField("reason", T.StringType()),
            T.StructField("field", T.StringType()),
            T.StructField("encoding", T.StringType()),
            T.StructField("record", T.StringType()),
            T.StructField("values", values),
            T.StructField("unknown_fields", T.ArrayType(T.StringType())),
        ]
    )

    def judge(line: bytearray | None) -> list[tuple[Any, ...]]:
        forget_archives_once()
        if line is None:
            return [(1, "line_too_long", None, "utf-8", "", None, [])]
        return [
            (found.position, found.reason, found.field, found.encoding, found.record, found.values or None, list(found.unknown_fields))
            for found in judge_line(bytes(line), contract)
        ]

    return F.udf(judge, T.ArrayType(outcome))
