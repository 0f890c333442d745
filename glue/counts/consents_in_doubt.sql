-- Grain: one row per person in customer_trusted of whose records one does not share for research, and nobody can say whether it is the later:
-- it has no lastupdatedate, or one of the two has one that can't be in milliseconds (before March 1973, or after the year 9999).
select distinct customer_trusted.email
from customer_trusted
join customer_staging on customer_staging.email = customer_trusted.email
where customer_staging.sharewithresearchasofdate is null
  and (
    coalesce(customer_staging.lastupdatedate, 0) < 100000000000
    or customer_trusted.lastupdatedate > 253402300799999
  )
