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

readings_of_device as (
  select serialnumber, count(*) as readings
  from step_trainer_staging
  group by serialnumber
),

early_readings_of_device as (
  select step_trainer_staging.serialnumber, count(*) as readings
  from step_trainer_staging
  join devices on devices.serialnumber = step_trainer_staging.serialnumber
  cross join policy
  where policy.consent_from = 'consent-date'
    and devices.holders = 1
    and step_trainer_staging.sensorreadingtime < devices.consent
  group by step_trainer_staging.serialnumber
),

judged as (
  select
    case
      when devices.serialnumber is null then 'unknown_device'
      when devices.holders > 1 then 'ambiguous_device'
      when devices.consent is null then 'no_consent'
      when customers_curated.email is null then 'no_motion'
    end as reason,
    readings_of_device.readings - coalesce(early_readings_of_device.readings, 0) as readings
  from readings_of_device
  left join devices on devices.serialnumber = readings_of_device.serialnumber
  left join customers_curated on customers_curated.email = devices.email
  left join early_readings_of_device on early_readings_of_device.serialnumber = readings_of_device.serialnumber
  union all
  select 'before_consent' as reason, readings
  from early_readings_of_device
)

select reason, cast(sum(readings) as BIGINT) as readings
from judged
where reason is not null and readings > 0
group by reason
