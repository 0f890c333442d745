-- Grain: one row per loaded file version.
-- Athena DDL. Generated from glue/tables/loads.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS loads (
  `landing_table` string COMMENT 'landing table the file belongs to',
  `file` string COMMENT 'key of the file in the landing zone',
  `version` string COMMENT 'version of the file: S3 version id, or size and modification time on one machine',
  `landed` bigint COMMENT 'records the reader found, counted before any was judged',
  `staged` bigint COMMENT 'records that were new and valid',
  `duplicate` bigint COMMENT 'valid records already staged, or earlier in the same run',
  `rejected` bigint COMMENT 'records that broke the contract',
  `run_id` string COMMENT 'run that loaded it'
)
LOCATION 's3://${lake_bucket}/warehouse/${database}.db/loads/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
