-- Grain: one row per accelerometer reading of a person in customer_trusted.
-- Under the policy consent_from = consent-date, only readings made at or after the consent.
with people as (
  select
    customer_trusted.email,
    case when policy.consent_from = 'consent-date' then customer_trusted.sharewithresearchasofdate else 0 end as readings_from
  from customer_trusted
  cross join policy
)

select
  accelerometer_staging.user, accelerometer_staging.timestamp,
  accelerometer_staging.x, accelerometer_staging.y, accelerometer_staging.z,
  accelerometer_staging.reading_date
from accelerometer_staging
join people on people.email = accelerometer_staging.user
where accelerometer_staging.timestamp >= people.readings_from
