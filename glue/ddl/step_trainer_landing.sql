-- Grain: one row per step trainer reading as the device sent it.
-- Athena DDL. Generated from glue/tables/step_trainer_landing.json by "npm run docs"; change it there.
CREATE EXTERNAL TABLE IF NOT EXISTS step_trainer_landing (
  `sensorreadingtime` string COMMENT 'when the device measured, as sent, meant as milliseconds since 1970-01-01 UTC',
  `serialnumber` string COMMENT 'serial number of the step trainer, as sent',
  `distancefromobject` string COMMENT 'distance between the device and the person, as sent'
)
COMMENT 'one row per step trainer reading as the device sent it'
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES (
  'case.insensitive' = 'TRUE',
  'ignore.malformed.json' = 'TRUE'
)
LOCATION 's3://${landing_bucket}/step_trainer_landing/'
