-- Grain: one row per person in customer_trusted with at least one reading in accelerometer_trusted.
with moving as (
  select accelerometer_trusted.user as email
  from accelerometer_trusted
  group by accelerometer_trusted.user
)

select
  customer_trusted.customername, customer_trusted.email, customer_trusted.phone, customer_trusted.birthday,
  customer_trusted.serialnumber, customer_trusted.registrationdate, customer_trusted.lastupdatedate,
  customer_trusted.sharewithresearchasofdate, customer_trusted.sharewithpublicasofdate, customer_trusted.sharewithfriendsasofdate
from customer_trusted
join moving on moving.email = customer_trusted.email
