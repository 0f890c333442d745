-- Grain: one row per pair of a step trainer reading and an accelerometer reading at the same time, of the same person (under mlJoin time: of anybody); a step stands once for each motion at its time, so keep the rows of a device and time together when you split.
-- Athena DDL. Generated from glue/tables/machine_learning_curated.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS machine_learning_curated (
  `serialnumber` string COMMENT 'serial number of the step trainer; a pseudonym only for those who can’t read the customer tables',
  `sensorreadingtime` bigint COMMENT 'when both devices measured, milliseconds since 1970-01-01 UTC',
  `reading_date` date COMMENT 'day of the reading, UTC; the partition column',
  `distancefromobject` bigint COMMENT 'distance between the device and the person, in the unit of the device, which its files do not state',
  `x` double COMMENT 'acceleration along the x axis, in the unit of the app, which its files do not state',
  `y` double COMMENT 'acceleration along the y axis, in the unit of the app, which its files do not state',
  `z` double COMMENT 'acceleration along the z axis, in the unit of the app, which its files do not state'
)
PARTITIONED BY (`reading_date`)
LOCATION 's3://${lake_bucket}/warehouse/${database}.db/machine_learning_curated/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
