-- Grain: one row per person: the record that decides. A view for the models, not a published table.
-- The highest lastupdatedate decides, null lowest. A tie goes to the record without consent to research, then to a fixed
-- order of values, so that the outcome never depends on the order in which files arrived.
with ranked as (
  select
    customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
    sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate,
    row_number() over (
      partition by email
      order by
        lastupdatedate desc nulls last,
        sharewithresearchasofdate asc nulls first,
        sharewithpublicasofdate asc nulls first,
        sharewithfriendsasofdate asc nulls first,
        registrationdate asc nulls first,
        serialnumber asc nulls first,
        customername asc nulls first,
        phone asc nulls first,
        birthday asc nulls first
    ) as place
  from customer_staging
)

select
  customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
  sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate
from ranked
where place = 1
