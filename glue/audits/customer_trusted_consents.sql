-- A row is a person in customer_trusted without consent, or who has a record without consent that is at least as new as the trusted one.
select customer_trusted.email
from customer_trusted
where customer_trusted.sharewithresearchasofdate is null
  or exists (
    select 1
    from customer_staging
    where customer_staging.email = customer_trusted.email
      and customer_staging.sharewithresearchasofdate is null
      and (customer_trusted.lastupdatedate is null or customer_staging.lastupdatedate >= customer_trusted.lastupdatedate)
  )
