-- Grain: one row per step trainer reading of a device held by exactly one person, who is in customers_curated.
-- A device that two or more current customers hold, consenting or not, is nobody's: its readings can't be attributed.
-- Under the policy consent_from = consent-date, only readings made at or after the consent.
with devices as (
  select serialnumber, min(email) as email
  from current_customer
  where serialnumber is not null
  group by serialnumber
  having count(*) = 1
),

holders as (
  select
    devices.serialnumber,
    devices.email,
    case when policy.consent_from = 'consent-date' then customers_curated.sharewithresearchasofdate else 0 end as readings_from
  from devices
  join customers_curated on customers_curated.email = devices.email
  cross join policy
)

select
  step_trainer_staging.sensorreadingtime, step_trainer_staging.serialnumber, step_trainer_staging.distancefromobject,
  holders.email,
  step_trainer_staging.reading_date
from step_trainer_staging
join holders on holders.serialnumber = step_trainer_staging.serialnumber
where step_trainer_staging.sensorreadingtime >= holders.readings_from
