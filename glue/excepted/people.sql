-- Grain: one row per person in customer_trusted as published whose rows may go: the person is not in this run's version, or has agreed
-- anew and only readings since the consent count. The gate's shrink limit is for rows that nobody has taken back.
select previous_people.email
from previous_people
left join customer_trusted on customer_trusted.email = previous_people.email
cross join policy
where customer_trusted.email is null
  or (
    policy.consent_from = 'consent-date'
    and customer_trusted.sharewithresearchasofdate > previous_people.sharewithresearchasofdate
  )
