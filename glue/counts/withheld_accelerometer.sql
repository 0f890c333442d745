-- Grain: one row per reason for which staged accelerometer readings do not reach accelerometer_trusted; the first reason counts.
with judged as (
  select
    case
      when current_customer.email is null then 'unknown_customer'
      when current_customer.sharewithresearchasofdate is null then 'no_consent'
      when policy.consent_from = 'consent-date'
        and accelerometer_staging.timestamp < current_customer.sharewithresearchasofdate then 'before_consent'
    end as reason
  from accelerometer_staging
  left join current_customer on current_customer.email = accelerometer_staging.user
  cross join policy
)

select reason, count(*) as readings
from judged
where reason is not null
group by reason
