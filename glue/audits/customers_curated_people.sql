-- A row is a person in customers_curated who is not in customer_trusted or has no reading in accelerometer_trusted,
-- or a person with trusted readings who is missing from customers_curated.
with moving as (
  select accelerometer_trusted.user as email
  from accelerometer_trusted
  group by accelerometer_trusted.user
)

select customers_curated.email
from customers_curated
where not exists (select 1 from customer_trusted where customer_trusted.email = customers_curated.email)
  or not exists (select 1 from moving where moving.email = customers_curated.email)
union all
select moving.email
from moving
where not exists (select 1 from customers_curated where customers_curated.email = moving.email)
