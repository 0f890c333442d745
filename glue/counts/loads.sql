-- Grain: one row per landing table that has loaded files: its records by what became of them.
select
  landing_table,
  cast(sum(landed) as BIGINT) as landed,
  cast(sum(staged) as BIGINT) as staged,
  cast(sum(duplicate) as BIGINT) as duplicate,
  cast(sum(rejected) as BIGINT) as rejected
from loads
group by landing_table
