-- A row is a person with readings in accelerometer_trusted who is not in customer_trusted, or whose earliest one is from
-- before the consent although the policy consent_from asks for consent-date.
with people as (
  select accelerometer_trusted.user as email, min(timestamp) as earliest
  from accelerometer_trusted
  group by accelerometer_trusted.user
)

select people.email
from people
left join customer_trusted on customer_trusted.email = people.email
cross join policy
where customer_trusted.email is null
  or (policy.consent_from = 'consent-date' and people.earliest < customer_trusted.sharewithresearchasofdate)
