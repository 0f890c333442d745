-- A row is a file version that was loaded more than once.
select landing_table, file, version, count(*) as times
from loads
group by landing_table, file, version
having count(*) > 1
