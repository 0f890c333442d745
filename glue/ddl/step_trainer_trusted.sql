-- Grain: one row per step trainer reading of a device that exactly one current customer record names, whose person is in customers_curated (under consentFrom consent-date: made at or after the consent).
-- Athena DDL. Generated from glue/tables/step_trainer_trusted.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS step_trainer_trusted (
  `sensorreadingtime` bigint COMMENT 'when the device measured, milliseconds since 1970-01-01 UTC',
  `serialnumber` string COMMENT 'serial number of the step trainer',
  `distancefromobject` bigint COMMENT 'distance between the device and the person',
  `email` string COMMENT 'e-mail address of the person whose current record alone names the device, whoever used it when it measured',
  `reading_date` date COMMENT 'day of the reading, UTC; the partition column'
)
PARTITIONED BY (`reading_date`)
LOCATION 's3://${lake_bucket}/warehouse/${database}.db/step_trainer_trusted/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
