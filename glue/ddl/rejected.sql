-- Grain: one row per landed record that broke its contract.
-- Athena DDL. Generated from glue/tables/rejected.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS rejected (
  `landing_table` string COMMENT 'landing table the file belongs to',
  `file` string COMMENT 'key of the file in the landing zone',
  `version` string COMMENT 'version of the file',
  `line` bigint COMMENT 'line of the file, from 1',
  `position` bigint COMMENT 'place of the record among those of its line, from 1',
  `reason` string COMMENT 'which rule it broke',
  `field` string COMMENT 'column the rule is about; null when it is about the whole record',
  `encoding` string COMMENT 'how record is written: utf-8, or base64 where the bytes are not UTF-8',
  `record` string COMMENT 'the record as it came',
  `run_id` string COMMENT 'run that read it'
)
LOCATION 's3://${lake_bucket}/warehouse/${database}.db/rejected/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
