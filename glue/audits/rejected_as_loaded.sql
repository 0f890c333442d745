-- A row is a file version whose rejected records are not those that its load counted.
with kept as (
  select landing_table, file, version, count(*) as records
  from rejected
  group by landing_table, file, version
),

counted as (
  select landing_table, file, version, rejected as records
  from loads
  where rejected > 0
)

select
  coalesce(kept.landing_table, counted.landing_table) as landing_table,
  coalesce(kept.file, counted.file) as file,
  coalesce(kept.version, counted.version) as version,
  kept.records as kept,
  counted.records as counted
from kept
full outer join counted
  on counted.landing_table = kept.landing_table
  and counted.file = kept.file
  and counted.version = kept.version
where kept.records is null
  or counted.records is null
  or kept.records <> counted.records
