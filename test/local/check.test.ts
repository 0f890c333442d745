import { z } from 'zod';
import { check } from '../../local/commands/check.ts';
import { alter, PEOPLE } from '../support/commandLine.ts';
import { illnesses } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { call, landAll, runHere, stedi } from '../support/lake.ts';
import { AT, walk } from '../support/people.ts';

const newFolder = temporaryFolders();

test('check audits by the policy that the tables were built with, not by that of its settings', async () => {
  const audit = z.object({ checks: z.array(z.object({ name: z.string(), ok: z.boolean() })) });
  const failedAudits = async (lake: string, ...args: string[]) => {
    const { checks } = audit.parse(JSON.parse((await stedi('check', '--json', '--lake', lake, ...args)).stdout));
    return checks.filter(({ name, ok }) => !ok && name.startsWith('audit')).map(({ name }) => name);
  };
  const consentsLate = walk([{ email: 'ann@x.org', shares: AT + 1 }]);
  const [anyTime, consentDate] = [newFolder(), newFolder()];
  landAll(anyTime, consentsLate);
  await stedi('run', '--lake', anyTime);
  expect(await failedAudits(anyTime, '--set', 'consentFrom=consent-date')).toEqual([]);
  landAll(consentDate, consentsLate);
  await stedi('run', '--lake', consentDate, '--set', 'consentFrom=consent-date');
  await alter(newFolder(), consentDate, 'insert into accelerometer_trusted select * from accelerometer_staging');
  expect(await failedAudits(consentDate)).toContain('audit accelerometer_trusted_consents');
});

test('check takes tables that lack a column of their contract, which the next run adds, as they are', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  await alter(newFolder(), lake, 'alter table customer_staging drop column phone; drop table rejected');
  expect((await stedi('check', '--lake', lake)).stdout).toMatch(/This lake is healthy/);
  await expect(alter(newFolder(), lake, 'from rejected')).rejects.toThrow(/does not exist/);
});

describe('check finds what is wrong with the tables', () => {
  const adapted = "update loads set staged = staged + 1, landed = landed + 1 where landing_table = 'customer_landing'";

  test.each([
    ['conservation of customer_landing', 'delete from customer_staging'],
    ['conservation of customer_landing', "update loads set landed = landed + 1 where landing_table = 'customer_landing'"],
    ['each record once in customer_staging', `insert into customer_staging from customer_staging limit 1; ${adapted}`],
    ['audit customer_trusted_consents', 'update customer_trusted set sharewithresearchasofdate = null'],
    [
      'loaded files stand in loads',
      "update loads set landed = landed + 1, rejected = rejected + 1 where landing_table = 'customer_landing'",
    ],
    [
      'loads stand in the ledger',
      "insert into loads select * replace ('other' as version, 0 as landed, 0 as staged) from loads limit 1",
    ],
  ])('%s: %s', async (name, damage) => {
    const lake = newFolder();
    landAll(lake, walk(PEOPLE));
    expect(await runHere(lake)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await illnesses(lake)).toEqual([]);
    await alter(newFolder(), lake, damage);
    expect((await call({ lake }, check)).exitCode).toBe(1);
    expect(await illnesses(lake)).toContainEqual(expect.stringMatching(new RegExp(`^\\| ${name} +\\| NO `)));
  });
});
