import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { lakePaths } from '../../local/lakePaths.ts';
import { check } from '../../local/commands/check.ts';
import { fileChecks, loadChecks, oneRunCheck } from '../../local/views/checks.ts';
import { alter, PEOPLE } from '../support/commandLine.ts';
import { illnesses, killedAt } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { call, landAll, runHere, stedi } from '../support/lake.ts';
import { AT, walk } from '../support/people.ts';
import { temporaryWorlds } from '../support/world.ts';

const newFolder = temporaryFolders();
const newWorld = temporaryWorlds();

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
  const settings = path.join(newFolder(), 'settings.json');
  writeFileSync(settings, '{"consentFrom": "consent-date"}');
  expect(await failedAudits(anyTime, '--settings', settings)).toEqual([]);
  landAll(consentDate, consentsLate);
  await stedi('run', '--lake', consentDate, '--set', 'consentFrom=consent-date');
  await alter(newFolder(), consentDate, 'insert into accelerometer_trusted select * from accelerometer_staging');
  expect(await failedAudits(consentDate)).toContain('audit accelerometer_trusted_consents');
});

test('check takes what contracts have gained since the last run, a column or a table, as the next run will find it', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  const customers = ['customer_staging', 'customer_trusted', 'customers_curated'];
  await alter(
    newFolder(),
    lake,
    `${customers.map((table) => `alter table ${table} drop column phone; `).join('')}drop table rejected`,
  );
  for (const run of readdirSync(lakePaths(lake).runs)) {
    const file = path.join(lakePaths(lake).runs, run, 'metrics', 'audits.json');
    const audits = z.looseObject({ counts: z.record(z.string(), z.number()) }).parse(JSON.parse(readFileSync(file, 'utf8')));
    writeFileSync(file, JSON.stringify({ ...audits, counts: { ...audits.counts, rejected: undefined } }));
  }
  expect((await stedi('check', '--lake', lake)).stdout).toMatch(/This lake is healthy/);
  await expect(alter(newFolder(), lake, 'from rejected')).rejects.toThrow(/does not exist/);
});

test('check finds a run that is half done, and what it has claimed', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await killedAt(lake, 'log table_staged customer_landing');
  const { code, stdout } = await stedi('check', '--lake', lake);
  expect(code).toBe(1);
  expect(stdout).toMatch(/no run is half done +\| NO/);
  expect(stdout).toMatch(/no file is claimed +\| NO/);
});

test('a claimed file is wrong where no run goes on, and right where one does', () => {
  const counts = { pending: 0, claimed: 1, loaded: 0, held: 0 };
  expect(fileChecks(counts, false)).toContainEqual({ name: 'no file is claimed', ok: false, found: '1 claimed' });
  expect(fileChecks(counts, true)).toContainEqual({ name: 'no file is claimed', ok: true, found: '1 claimed' });
});

test('ledger and lake must show one run', () => {
  const name = 'ledger and lake show one run';
  expect(oneRunCheck('run-1', 'run-1')).toEqual({ name, ok: true, found: 'run-1' });
  expect(oneRunCheck('run-1', 'run-2')).toEqual({ name, ok: false, found: 'lake run-1, ledger run-2' });
  expect(oneRunCheck('run-1', null)).toEqual({ name, ok: false, found: 'lake run-1, ledger none' });
});

test('loads of a file that the ledger does not call loaded do not stand in the ledger', async () => {
  const world = newWorld();
  const loads = (await world.register('customer_landing/pending')).map(({ key, version }) => ({
    file: key,
    version,
    landed: 1,
    staged: 1,
    duplicate: 0,
    rejected: 0,
    run_id: 'run-1',
  }));
  expect(await loadChecks(world.ledger, loads)).toMatchObject([
    { name: 'loaded files stand in loads', ok: true, found: '0 files' },
    { name: 'loads stand in the ledger', ok: false, found: expect.stringContaining('customer_landing/pending') as unknown },
  ]);
});

describe('loads of a file that the ledger has never heard of', () => {
  const counts = { landed: 1, staged: 1, duplicate: 0, rejected: 0 };
  const gone = { file: 'customer_landing/gone', version: 'v1', ...counts };
  /** What is found if the ledger knows a file of run-2. */
  async function found(run_id: string) {
    const world = newWorld();
    const [known] = await world.register('customer_landing/known');
    if (known === undefined) throw new Error('one file');
    const { key, version } = known;
    const lock = await world.ledger.takeLock('run-2');
    await world.ledger.claim('run-2', lock?.fence ?? 0, [known]);
    const loaded = { state: 'loaded', attempts: 0, why: null, counts, unknownFields: null } as const;
    await world.ledger.settle('run-2', [{ key, version, ...loaded }]);
    const [, check] = await loadChecks(world.ledger, [
      { file: key, version, ...counts, run_id: 'run-2' },
      { ...gone, run_id },
    ]);
    return check;
  }

  test('are of before it was lost, where their run is', async () => {
    const [, check] = await loadChecks(newWorld().ledger, [{ ...gone, run_id: 'run-1' }]);
    const earlier = /, 1 of them from runs before this ledger/;
    expect(check).toMatchObject({ ok: true, found: expect.stringMatching(earlier) as unknown });
    expect(await found('run-1')).toMatchObject({ ok: true, found: expect.stringMatching(earlier) as unknown });
  });

  test.each(['run-2', 'run-3'])('are missing from it, where their run, %s, is one of its time', async (run) => {
    expect(await found(run)).toMatchObject({ ok: false, found: expect.stringContaining('customer_landing/gone') as unknown });
  });
});

describe('check finds what is wrong with the tables', () => {
  const adapted = "update loads set staged = staged + 1, landed = landed + 1 where landing_table = 'customer_landing'";

  test.each([
    ['tables hold what was audited', 'delete from machine_learning_curated'],
    ['conservation of customer_landing', 'delete from customer_staging'],
    ['conservation of customer_landing', "update loads set landed = landed + 1 where landing_table = 'customer_landing'"],
    ['each record once in customer_staging', `insert into customer_staging from customer_staging limit 1; ${adapted}`],
    ['audit customer_trusted_consents', 'update customer_trusted set sharewithresearchasofdate = null'],
    [
      'tables hold what was audited',
      "insert into loads select * replace ('other' as version, 0 as landed, 0 as staged) from loads limit 1",
    ],
    [
      'loaded files stand in loads',
      "update loads set landed = landed + 1, rejected = rejected + 1 where landing_table = 'customer_landing'",
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
