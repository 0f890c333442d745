-- Grain: one row per person in customer_trusted as it is published, with a device whose published rows may go: the person is not in
-- customer_trusted of this run, or somebody else holds the device by now too, so that its readings can't be attributed.
with ambiguous as (
  select serialnumber
  from current_customer
  where serialnumber is not null
  group by serialnumber
  having count(*) > 1
)

select previous_people.serialnumber
from previous_people
where previous_people.serialnumber is not null
  and (
    not exists (select 1 from customer_trusted where customer_trusted.email = previous_people.email)
    or exists (select 1 from ambiguous where ambiguous.serialnumber = previous_people.serialnumber)
  )
