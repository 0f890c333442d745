-- Grain: one row per accelerometer reading as the phone app sent it.
-- Athena DDL. Generated from glue/tables/accelerometer_landing.json by "npm run docs"; change it there.
CREATE EXTERNAL TABLE IF NOT EXISTS accelerometer_landing (
  `user` string COMMENT 'e-mail address of the person who made the motion, as sent',
  `timestamp` string COMMENT 'when the motion was measured, as sent, meant as milliseconds since 1970-01-01 UTC',
  `x` string COMMENT 'acceleration along the x axis, as sent',
  `y` string COMMENT 'acceleration along the y axis, as sent',
  `z` string COMMENT 'acceleration along the z axis, as sent'
)
COMMENT 'one row per accelerometer reading as the phone app sent it'
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES (
  'case.insensitive' = 'TRUE',
  'ignore.malformed.json' = 'TRUE'
)
LOCATION 's3://${landing_bucket}/accelerometer_landing/'
