-- Grain: one row per customer record as the web site sent it.
-- Athena DDL. Generated from glue/tables/customer_landing.json by "npm run docs"; change it there.
CREATE EXTERNAL TABLE IF NOT EXISTS customer_landing (
  `customername` string COMMENT 'the person’s name',
  `email` string COMMENT 'e-mail address as sent; it identifies the person',
  `phone` string COMMENT 'telephone number',
  `birthday` string COMMENT 'day of birth as the person gave it',
  `serialnumber` string COMMENT 'serial number of the person’s step trainer, as sent; absent while there is none',
  `registrationdate` string COMMENT 'when the person registered, as sent, meant as milliseconds since 1970-01-01 UTC',
  `lastupdatedate` string COMMENT 'when the person last changed this record, as sent, meant as milliseconds since 1970-01-01 UTC; the highest decides',
  `sharewithresearchasofdate` string COMMENT 'since when the person shares data for research, as sent, meant as milliseconds since 1970-01-01 UTC; absent, empty or 0 is no consent',
  `sharewithpublicasofdate` string COMMENT 'since when the person shares data with the public, as sent, meant as milliseconds since 1970-01-01 UTC; absent, empty or 0 is no consent',
  `sharewithfriendsasofdate` string COMMENT 'since when the person shares data with friends, as sent, meant as milliseconds since 1970-01-01 UTC; absent, empty or 0 is no consent'
)
COMMENT 'one row per customer record as the web site sent it'
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES (
  'case.insensitive' = 'TRUE',
  'ignore.malformed.json' = 'TRUE'
)
LOCATION 's3://${landing_bucket}/customer_landing/'
