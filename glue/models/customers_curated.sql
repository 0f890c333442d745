-- Grain: one row per person in customer_trusted with at least one reading in accelerometer_trusted.
select
  customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
  sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate
from customer_trusted
where exists (select 1 from accelerometer_trusted where accelerometer_trusted.user = customer_trusted.email)
