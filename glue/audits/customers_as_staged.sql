-- A row is a record in customer_trusted that was never staged, or one in customers_curated that is not in customer_trusted.
(
  select
    customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
    sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate
  from customer_trusted
  except
  select
    customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
    sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate
  from customer_staging
)
union all
(
  select
    customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
    sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate
  from customers_curated
  except
  select
    customername, email, phone, birthday, serialnumber, registrationdate, lastupdatedate,
    sharewithresearchasofdate, sharewithpublicasofdate, sharewithfriendsasofdate
  from customer_trusted
)
