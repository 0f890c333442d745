-- Grain: one row per pair of a step trainer reading and an accelerometer reading of the same person at the same time.
-- Under the policy ml_join = time: at the same time, no matter whose they are (the published reference; pairs strangers).
-- Two joins instead of one with OR, which would compare every step with every motion of the day.
-- No e-mail, no name, no phone, nothing about the run.
with same_person as (
  select
    step_trainer_trusted.serialnumber, step_trainer_trusted.sensorreadingtime, step_trainer_trusted.reading_date,
    step_trainer_trusted.distancefromobject,
    accelerometer_trusted.x, accelerometer_trusted.y, accelerometer_trusted.z
  from accelerometer_trusted
  join step_trainer_trusted
    on step_trainer_trusted.email = accelerometer_trusted.user
    and step_trainer_trusted.sensorreadingtime = accelerometer_trusted.timestamp
    and step_trainer_trusted.reading_date = accelerometer_trusted.reading_date
  cross join policy
  where policy.ml_join = 'person-and-time'
),

same_time as (
  select
    step_trainer_trusted.serialnumber, step_trainer_trusted.sensorreadingtime, step_trainer_trusted.reading_date,
    step_trainer_trusted.distancefromobject,
    accelerometer_trusted.x, accelerometer_trusted.y, accelerometer_trusted.z
  from accelerometer_trusted
  join step_trainer_trusted
    on step_trainer_trusted.sensorreadingtime = accelerometer_trusted.timestamp
    and step_trainer_trusted.reading_date = accelerometer_trusted.reading_date
  cross join policy
  where policy.ml_join = 'time'
)

select serialnumber, sensorreadingtime, reading_date, distancefromobject, x, y, z from same_person
union all
select serialnumber, sensorreadingtime, reading_date, distancefromobject, x, y, z from same_time
