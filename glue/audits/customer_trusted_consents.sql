-- A row is a person whom customer_trusted holds although a record of the latest date does not share, whom it lacks although all of
-- these share, or whom it holds with another date or consent than theirs. Read from customer_staging, since current_customer may be
-- what is wrong.
with latest as (
  select email, max(lastupdatedate) as lastupdatedate
  from customer_staging
  group by email
),

sharing as (
  select latest.email, latest.lastupdatedate, min(customer_staging.sharewithresearchasofdate) as consent
  from latest
  join customer_staging
    on customer_staging.email = latest.email
    and customer_staging.lastupdatedate is not distinct from latest.lastupdatedate
  group by latest.email, latest.lastupdatedate
  having min(coalesce(customer_staging.sharewithresearchasofdate, 0)) > 0
)

select coalesce(sharing.email, customer_trusted.email) as email
from sharing
full outer join customer_trusted on customer_trusted.email = sharing.email
where sharing.email is null
  or customer_trusted.email is null
  or customer_trusted.lastupdatedate is distinct from sharing.lastupdatedate
  or customer_trusted.sharewithresearchasofdate is distinct from sharing.consent
