-- A row is a device in step_trainer_trusted that its person does not hold alone, whose person is not in customers_curated,
-- or with a reading from before the consent although the policy consent_from asks for consent-date.
with devices as (
  select serialnumber, email, min(sensorreadingtime) as earliest
  from step_trainer_trusted
  group by serialnumber, email
)

select devices.serialnumber, devices.email
from devices
left join customers_curated on customers_curated.email = devices.email
cross join policy
where customers_curated.email is null
  or exists (
    select 1
    from current_customer
    where current_customer.serialnumber = devices.serialnumber
      and current_customer.email <> devices.email
  )
  or not exists (
    select 1
    from current_customer
    where current_customer.serialnumber = devices.serialnumber
      and current_customer.email = devices.email
  )
  or (policy.consent_from = 'consent-date' and devices.earliest < customers_curated.sharewithresearchasofdate)
