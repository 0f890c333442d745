-- Grain: one row per reason for which staged step trainer readings do not reach step_trainer_trusted; the first reason counts.
with devices as (
  select
    serialnumber,
    count(*) as holders,
    min(email) as email,
    min(sharewithresearchasofdate) as consent
  from current_customer
  where serialnumber is not null
  group by serialnumber
),

moving as (
  select user as email
  from accelerometer_trusted
  group by user
),

judged as (
  select
    case
      when devices.serialnumber is null then 'unknown_device'
      when devices.holders > 1 then 'ambiguous_device'
      when devices.consent is null then 'no_consent'
      when policy.consent_from = 'consent-date' and step_trainer_staging.sensorreadingtime < devices.consent then 'before_consent'
      when moving.email is null then 'no_motion'
    end as reason
  from step_trainer_staging
  left join devices on devices.serialnumber = step_trainer_staging.serialnumber
  left join moving on moving.email = devices.email
  cross join policy
)

select reason, count(*) as readings
from judged
where reason is not null
group by reason
