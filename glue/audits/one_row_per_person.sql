-- A row is a person who occurs more than once in customer_trusted or in customers_curated.
select 'customer_trusted' as table_name, email, count(*) as places
from customer_trusted
group by email
having count(*) > 1
union all
select 'customers_curated' as table_name, email, count(*) as places
from customers_curated
group by email
having count(*) > 1
