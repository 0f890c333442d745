-- Grain: one row per accelerometer reading of a person in customer_trusted (under consentFrom consent-date: made at or after the consent).
-- Athena DDL. Generated from glue/tables/accelerometer_trusted.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS accelerometer_trusted (
  `user` string COMMENT 'e-mail address of the person who made the motion, stripped and with A-Z in lower case',
  `timestamp` bigint COMMENT 'when the motion was measured, milliseconds since 1970-01-01 UTC',
  `x` double COMMENT 'acceleration along the x axis',
  `y` double COMMENT 'acceleration along the y axis',
  `z` double COMMENT 'acceleration along the z axis',
  `reading_date` date COMMENT 'day of the reading, UTC; the partition column'
)
PARTITIONED BY (`reading_date`)
LOCATION 's3://${lake_bucket}/warehouse/${database}.db/accelerometer_trusted/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
