-- Grain: one row per person whose current record shares data for research.
select
  customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
  sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate
from current_customer
where sharewithresearchasofdate is not null
