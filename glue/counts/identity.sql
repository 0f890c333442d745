-- Grain: one row: pairs of a trusted step trainer reading and a trusted accelerometer reading at the same time, all and of the same person.
-- Counted from counts by time; the pairs are never built, for with many people they explode.
with steps_at_time as (
  select sensorreadingtime, count(*) as steps
  from step_trainer_trusted
  group by sensorreadingtime
),

steps_of_person_at_time as (
  select email, sensorreadingtime, count(*) as steps
  from step_trainer_trusted
  group by email, sensorreadingtime
),

same_time as (
  select coalesce(sum(steps_at_time.steps), 0) as pairs
  from accelerometer_trusted
  join steps_at_time on steps_at_time.sensorreadingtime = accelerometer_trusted.timestamp
),

same_person as (
  select coalesce(sum(steps_of_person_at_time.steps), 0) as pairs
  from accelerometer_trusted
  join steps_of_person_at_time
    on steps_of_person_at_time.sensorreadingtime = accelerometer_trusted.timestamp
    and steps_of_person_at_time.email = accelerometer_trusted.user
)

select
  cast(same_time.pairs as BIGINT) as same_time,
  cast(same_person.pairs as BIGINT) as same_person
from same_time
cross join same_person
