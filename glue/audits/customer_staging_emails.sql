-- A row is a person whose address was not staged with A-Z in lower case and without blanks around it: a withdrawal under another
-- spelling would not meet its consent.
select email
from customer_staging
where email <> translate(trim(both ' ' from email), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
