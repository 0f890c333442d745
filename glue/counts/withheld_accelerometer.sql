-- Grain: one row per reason for which staged accelerometer readings do not reach accelerometer_trusted; the first reason counts.
with readings_of_person as (
  select accelerometer_staging.user as email, count(*) as readings
  from accelerometer_staging
  group by accelerometer_staging.user
),

consents as (
  select current_customer.email, current_customer.sharewithresearchasofdate as consent
  from current_customer
  cross join policy
  where policy.consent_from = 'consent-date'
    and current_customer.sharewithresearchasofdate is not null
),

judged as (
  select
    case
      when current_customer.email is null then 'unknown_customer'
      when current_customer.sharewithresearchasofdate is null then 'no_consent'
    end as reason,
    readings_of_person.readings
  from readings_of_person
  left join current_customer on current_customer.email = readings_of_person.email
  union all
  select 'before_consent' as reason, 1 as readings
  from accelerometer_staging
  join consents on consents.email = accelerometer_staging.user
  where accelerometer_staging.timestamp < consents.consent
)

select reason, cast(sum(readings) as BIGINT) as readings
from judged
where reason is not null
group by reason
