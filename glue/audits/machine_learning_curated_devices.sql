-- A row is a device in machine_learning_curated that is not in step_trainer_trusted: its person may not have agreed.
with devices as (
  select serialnumber
  from machine_learning_curated
  group by serialnumber
),

trusted as (
  select serialnumber
  from step_trainer_trusted
  group by serialnumber
)

select devices.serialnumber
from devices
where not exists (select 1 from trusted where trusted.serialnumber = devices.serialnumber)
