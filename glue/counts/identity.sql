-- Grain: one row: pairs of trusted step trainer and accelerometer readings at the same time, in all and of the same person.
-- Counted from counts by time; the pairs are never built, because with many people their number explodes.
with readings as (
  select email, sensorreadingtime as reading_time, 1 as steps, 0 as motions
  from step_trainer_trusted
  union all
  select accelerometer_trusted.user as email, timestamp as reading_time, 0 as steps, 1 as motions
  from accelerometer_trusted
),

of_person_at_time as (
  select email, reading_time, sum(steps) as steps, sum(motions) as motions
  from readings
  group by email, reading_time
),

at_time as (
  select sum(steps) as steps, sum(motions) as motions, sum(steps * motions) as pairs_of_person
  from of_person_at_time
  group by reading_time
)

select
  cast(coalesce(sum(steps * motions), 0) as BIGINT) as same_time,
  cast(coalesce(sum(pairs_of_person), 0) as BIGINT) as same_person
from at_time
