-- Grain: one row per person in customer_trusted who has a record that does not share for research and yet may be the later one: it has no
-- lastupdatedate, or is not the earlier one once dates are read in the units that they seem to be in: seconds (before March 1973),
-- milliseconds, microseconds (after the year 9999) or nanoseconds.
with records as (
  select
    email, sharewithresearchasofdate, lastupdatedate,
    case
      when lastupdatedate < 100000000000 then cast(lastupdatedate + 1 as DOUBLE) * 1000 - 1
      when lastupdatedate > 253402300799999000 then floor(cast(lastupdatedate as DOUBLE) / 1000000)
      when lastupdatedate > 253402300799999 then floor(cast(lastupdatedate as DOUBLE) / 1000)
      else cast(lastupdatedate as DOUBLE)
    end as updated
  from customer_staging
)

select distinct customer_trusted.email
from customer_trusted
join records as deciding
  on deciding.email = customer_trusted.email
  and deciding.lastupdatedate = customer_trusted.lastupdatedate
join records as other on other.email = customer_trusted.email
where other.sharewithresearchasofdate is null
  and (coalesce(other.lastupdatedate, 0) <= 0 or other.updated >= deciding.updated)
