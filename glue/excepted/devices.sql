-- Grain: one row per person in customer_trusted as published, with a device whose published rows may go: the person takes them back
-- (people.sql), its present holder does not share, or several people hold it, so that its readings can't be attributed.
with holders as (
  select serialnumber, count(*) as people, count(sharewithresearchasofdate) as sharing
  from current_customer
  where serialnumber is not null
  group by serialnumber
)

select previous_people.serialnumber
from previous_people
left join customer_trusted on customer_trusted.email = previous_people.email
left join holders on holders.serialnumber = previous_people.serialnumber
cross join policy
where previous_people.serialnumber is not null
  and (
    customer_trusted.email is null
    or (
      policy.consent_from = 'consent-date'
      and customer_trusted.sharewithresearchasofdate > previous_people.sharewithresearchasofdate
    )
    or holders.people > 1
    or holders.sharing = 0
  )
