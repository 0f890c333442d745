-- Grain: one row per person in customer_trusted as it is published, with a device whose published rows may go: the person takes them back
-- (people.sql), somebody holds it by now who does not share, or somebody else holds it too, so that its readings can't be attributed.
with ambiguous as (
  select serialnumber
  from current_customer
  where serialnumber is not null
  group by serialnumber
  having count(*) > 1
)

select previous_people.serialnumber
from previous_people
left join customer_trusted on customer_trusted.email = previous_people.email
cross join policy
where previous_people.serialnumber is not null
  and (
    customer_trusted.email is null
    or (
      policy.consent_from = 'consent-date'
      and customer_trusted.sharewithresearchasofdate > previous_people.sharewithresearchasofdate
    )
    or exists (
      select 1
      from current_customer
      where current_customer.serialnumber = previous_people.serialnumber
        and current_customer.sharewithresearchasofdate is null
    )
    or exists (select 1 from ambiguous where ambiguous.serialnumber = previous_people.serialnumber)
  )
