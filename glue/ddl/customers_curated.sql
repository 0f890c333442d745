-- Grain: one row per person in customer_trusted with at least one reading in accelerometer_trusted.
-- Athena DDL. Generated from glue/tables/customers_curated.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS customers_curated (
  `customername` string COMMENT 'the person’s name',
  `email` string COMMENT 'e-mail address, stripped and with A-Z in lower case; it identifies the person',
  `phone` string COMMENT 'telephone number',
  `birthday` string COMMENT 'day of birth as the person gave it',
  `serialnumber` string COMMENT 'serial number of the person’s step trainer; null while there is none',
  `registrationdate` bigint COMMENT 'when the person registered, milliseconds since 1970-01-01 UTC',
  `lastupdatedate` bigint COMMENT 'when the person last changed this record, milliseconds since 1970-01-01 UTC; the highest decides',
  `sharewithresearchasofdate` bigint COMMENT 'since when the person shares data for research, milliseconds since 1970-01-01 UTC; null is no consent',
  `sharewithpublicasofdate` bigint COMMENT 'since when the person shares data with the public, milliseconds since 1970-01-01 UTC; null is no consent',
  `sharewithfriendsasofdate` bigint COMMENT 'since when the person shares data with friends, milliseconds since 1970-01-01 UTC; null is no consent'
)
LOCATION 's3://${lake_bucket}/warehouse/${database}.db/customers_curated/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
