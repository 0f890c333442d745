-- Grain: one row per pair of a step trainer reading and an accelerometer reading of the same person at the same time.
-- Athena DDL. Generated from glue/tables/machine_learning_curated.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS machine_learning_curated (
  `serialnumber` string COMMENT 'serial number of the step trainer; a pseudonym, for no table within a data scientist’s reach leads from it to a person',
  `sensorreadingtime` bigint COMMENT 'when both devices measured, milliseconds since 1970-01-01 UTC',
  `reading_date` date COMMENT 'day of the reading, UTC; the partition column',
  `distancefromobject` bigint COMMENT 'distance between the device and the person',
  `x` double COMMENT 'acceleration along the x axis',
  `y` double COMMENT 'acceleration along the y axis',
  `z` double COMMENT 'acceleration along the z axis'
)
PARTITIONED BY (`reading_date`)
LOCATION 's3://${lake_bucket}/warehouse/${database}.db/machine_learning_curated/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
